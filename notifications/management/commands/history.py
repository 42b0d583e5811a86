"""Print what was published to a topic."""

import os
import sys
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from notifications.management.refusals import refusals_as_command_errors
from notifications.selectors.messages import in_history, list_messages
from notifications.topics.grammar import parse_topic

DEFAULT_LIMIT = 100
PAGE = 1_000


class Command(BaseCommand):
    """Print the kept messages of a topic: one JSON line each, as the REST history has them."""

    help = "Print the kept messages of a topic that have not expired, one JSON line each."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the topic, the range and the order."""
        parser.add_argument("topic", help="a topic, not a pattern")
        parser.add_argument("--after", type=int, metavar="SEQ", help="only with a greater seq")
        parser.add_argument("--before", type=int, metavar="SEQ", help="only with a smaller seq")
        parser.add_argument(
            "--limit",
            type=int,
            metavar="N",
            default=DEFAULT_LIMIT,
            help="print N at most (default %(default)s)",
        )
        parser.add_argument(
            "--order",
            choices=("asc", "desc"),
            default="asc",
            help="by seq; desc begins with the newest (default %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Read page by page, and print."""
        for name, least in (("after", 0), ("before", 0), ("limit", 1)):
            if options[name] is not None and options[name] < least:
                raise CommandError(f"--{name} is {least} or more.")
        try:
            with refusals_as_command_errors():
                self._print(parse_topic(options["topic"]), options)
        except BrokenPipeError:
            # Whoever read our lines has gone; let nothing be flushed to it at exit either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _print(self, topic: str, options: dict[str, Any]) -> None:
        newest_first = options["order"] == "desc"
        moves = "before" if newest_first else "after"
        place = {"after": options["after"], "before": options["before"]}
        left, now = options["limit"], timezone.now()
        while left:
            rows, following = list_messages(
                topic=topic, limit=min(left, PAGE), newest_first=newest_first, now=now, **place
            )
            for row in rows:
                self.stdout.write(msgspec.json.encode(in_history(topic, row)).decode())
            left -= len(rows)
            if following is None:
                return
            place[moves] = following
