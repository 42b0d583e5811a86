"""A trickle of believable notifications."""

import itertools
import json
import time
from collections.abc import Iterator
from random import Random
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.errors import NotificationError
from notifications.log.records import Appended
from notifications.management.demo_stories import Story, stories
from notifications.management.holders import user_named
from notifications.management.refusals import refusals_as_command_errors
from notifications.services import publish
from notifications.services.writer import writer

FLUSH_SECONDS = 5.0


class Command(BaseCommand):
    """Publish to a user's topics until interrupted."""

    help = "Publish orders, deliveries, mentions and builds to a user's topics."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add for whom, how fast and how many."""
        parser.add_argument("--user", default="demo", help="default: %(default)s")
        parser.add_argument("--rate", type=float, default=1.0, help="messages a second (default 1)")
        parser.add_argument("--count", type=int, metavar="N", help="end after N messages")
        parser.add_argument("--seed", type=int, help="tell the same stories again")

    def handle(self, *args: Any, **options: Any) -> None:
        """Publish, and show what was published."""
        if options["rate"] <= 0:
            raise CommandError("--rate is more than 0.")
        with refusals_as_command_errors():
            user = user_named(options["user"])
        told = stories(Random(options["seed"]), user_id=user.pk)  # noqa: S311  # a demonstration
        paced = _paced(itertools.islice(told, options["count"]), options["rate"])
        try:
            with refusals_as_command_errors():
                if self.stdout.isatty():
                    self._show(paced, options["count"])
                else:
                    for story, message in self._publish(paced):
                        self.stdout.write(_line(story, message))
                        self.stdout.flush()
        except KeyboardInterrupt:
            pass
        writer().flush(FLUSH_SECONDS)

    def _publish(self, told: Iterator[Story]) -> Iterator[tuple[Story, Appended]]:
        for story in told:
            metadata = {} if story.priority == "normal" else {"priority": story.priority}
            try:
                yield story, publish(story.topic, story.payload, metadata=metadata)
            except NotificationError as error:
                if not error.temporary:
                    raise
                self.stderr.write(f"{error.code}: {error.message}")

    def _show(self, told: Iterator[Story], count: int | None) -> None:
        from rich.progress import Progress, TextColumn  # only where there is a terminal

        columns = (*Progress.get_default_columns(), TextColumn("{task.completed} messages"))
        with Progress(*columns) as progress:
            task = progress.add_task("publishing", total=count)
            for story, message in self._publish(told):
                progress.console.print(_line(story, message), markup=False, highlight=True)
                progress.advance(task)


def _paced(told: Iterator[Story], rate: float) -> Iterator[Story]:
    """Give out stories at a rate, without catching up on what publishing cost."""
    for number, story in enumerate(told):
        if number:
            time.sleep(1 / rate)
        yield story


def _line(story: Story, message: Appended) -> str:
    return json.dumps(
        {
            "topic": story.topic,
            "payload": story.payload,
            "seq": message.seq,
            "position": [message.partition, message.offset],
        }
    )
