"""Make a user."""

import getpass
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.services import create_user
from notifications.management.refusals import refusals_as_command_errors


class Command(BaseCommand):
    """Make a user with a password and grants."""

    help = "Make a user that may log in, publish and subscribe."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add name, password and grants."""
        parser.add_argument("name", help="the user name")
        parser.add_argument("--password", help="asked for on a terminal when left out")
        parser.add_argument(
            "--grant-subscribe",
            metavar="PATTERN",
            action="append",
            default=[],
            help="allow subscribing within a pattern such as news.** (repeatable)",
        )
        parser.add_argument(
            "--grant-publish",
            metavar="PATTERN",
            action="append",
            default=[],
            help="allow publishing to the topics of a pattern (repeatable)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it, and say which topics are its own."""
        password = options["password"] or self._ask()
        with refusals_as_command_errors():
            user = create_user(
                username=options["name"],
                password=password,
                publish=options["grant_publish"],
                subscribe=options["grant_subscribe"],
            )
        self.stdout.write(
            f"User {user.username} has the id {user.pk}; user.{user.pk}.** is its own."
        )

    def _ask(self) -> str:
        if not sys.stdin.isatty():
            raise CommandError("Give a --password; there is no terminal to ask for one.")
        password = getpass.getpass("Password: ")
        if not password:
            raise CommandError("The password is empty; nothing was made.")
        if getpass.getpass("Password (again): ") != password:
            raise CommandError("The passwords differ; nothing was made.")
        return password
