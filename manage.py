#!/usr/bin/env python
"""Run Django's commands with this project's settings."""

import sys

from django.core.management import execute_from_command_line

from config.env import use_default_settings


def main() -> None:
    use_default_settings()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
