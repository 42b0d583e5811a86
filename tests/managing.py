"""Run several commands of manage.py in one process: `python -m tests.managing COMMANDS`.

COMMANDS is a JSON array of arrays of text. Prints a JSON array with what each wrote on stdout.
"""

import io
import json
import sys

import django
from django.core.management import call_command

from config.env import use_default_settings


def main() -> None:
    """Run them in their order, up to the first that fails."""
    use_default_settings()
    django.setup()
    printed: list[str] = []
    for name, *arguments in json.loads(sys.argv[1]):
        out = io.StringIO()
        call_command(name, *arguments, stdout=out)
        printed.append(out.getvalue().strip())
    print(json.dumps(printed))


if __name__ == "__main__":
    main()
