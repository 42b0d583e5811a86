"""Servers that break a promise on purpose, to see that the fault runs notice.

SABOTAGE selects how; tests/settings_sabotage.py installs it. Nothing in production code knows.
"""

import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

from django.apps import AppConfig
from django.db import transaction

COMMIT_LOST_EVERY = 20
"""Every so many commits one is answered and then not made."""


class SabotageConfig(AppConfig):
    """An app that has no models, and replaces parts of the server when it is ready."""

    name = "tests"
    label = "sabotage"
    verbose_name = "Sabotage"

    def ready(self) -> None:
        """Install what SABOTAGE selects."""
        SABOTAGES[os.environ["SABOTAGE"]]()


def replace(owner: object, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a function by one made of it; an error when it is not there to be replaced."""
    setattr(owner, name, make(getattr(owner, name)))


def ack_before_commit() -> None:
    """Answer publishers although the commit is still to be made, and lose some of the commits.

    What was answered and then rolled back is what a crash between the two would leave behind.
    """
    from notifications.log import group_commit

    def make(honest: Callable[..., Any]) -> Callable[..., Any]:
        commits = itertools.count(1)

        def append(publications: Sequence[Any], *, before_commit: Callable[[], None]) -> Any:
            if next(commits) % COMMIT_LOST_EVERY:
                return honest(publications, before_commit=before_commit)
            lost = transaction.atomic()
            vars(lost)["_from_testcase"] = True  # else the log refuses to run inside of it
            with lost:
                outcome = honest(publications, before_commit=before_commit)
                transaction.set_rollback(True)
            return outcome

        return append

    replace(group_commit, "append", make)


def no_repair() -> None:
    """Believe the bus: take what comes after what is known, never look for what is between.

    The channel layer that loses hints is in the settings.
    """
    from notifications.hub.hub import Hub
    from notifications.hub.place import Place

    def offer(place: Place, records: Sequence[Any]) -> list[Any]:
        if not place.is_open:
            return []
        due = [record for record in records if record.offset > place.offset]
        if due:
            place.offset = due[-1].offset
        return due

    def fill_soon(hub: Hub, partition: int) -> None:
        pass

    replace(Place, "offer", lambda _: offer)
    replace(Hub, "_fill_soon", lambda _: fill_soon)


def no_dedup() -> None:
    """Take every message of a hint twice, and let the repeats through."""
    from notifications.hub.place import Place

    def offer(place: Place, records: Sequence[Any]) -> list[Any]:
        if not place.is_open:
            return []
        place.offset = max(place.offset, records[-1].offset)
        return [record for record in records for _ in range(2)]

    replace(Place, "offer", lambda _: offer)


SABOTAGES: dict[str, Callable[[], None]] = {
    "ack-before-commit": ack_before_commit,
    "no-repair": no_repair,
    "no-dedup": no_dedup,
}
