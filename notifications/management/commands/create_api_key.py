"""Make an API key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from accounts.services import create_api_key
from notifications.management.refusals import refusals_as_command_errors


class Command(BaseCommand):
    """Make an API key and print it, alone and this once."""

    help = "Make an API key for a program and print it. It cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add name, grants and scope."""
        parser.add_argument("name", help="what operators call it")
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
        parser.add_argument("--admin", action="store_true", help="give it the admin scope")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it."""
        with refusals_as_command_errors():
            _, text = create_api_key(
                name=options["name"],
                publish=options["grant_publish"],
                subscribe=options["grant_subscribe"],
                is_admin=options["admin"],
            )
        self.stdout.write(text)
