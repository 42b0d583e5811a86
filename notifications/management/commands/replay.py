"""Have messages given once more."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from notifications.management.refusals import refusals_as_command_errors
from notifications.services.redelivery import request_redelivery


class Command(BaseCommand):
    """Give the kept messages of a topic once more to all who are connected and subscribe."""

    help = (
        "Have servers give the kept messages of a topic once more to all who are connected and "
        "subscribe to it, within seconds. Prints how many were asked for."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the topic and the range."""
        parser.add_argument("topic", help="a topic, not a pattern")
        parser.add_argument("--after", type=int, metavar="SEQ", help="only with a greater seq")
        parser.add_argument("--before", type=int, metavar="SEQ", help="only with a smaller seq")
        parser.add_argument("--last", type=int, metavar="N", help="of these, the newest N")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask for it, and print how many messages that are."""
        with refusals_as_command_errors():
            count = request_redelivery(
                options["topic"],
                options["after"],
                options["before"],
                last=options["last"],
                now=timezone.now(),
            )
        self.stdout.write(str(count))
