"""The history of a topic is stable while others publish to it and purge it."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection
from django.utils import timezone

from notifications.log.append import append
from notifications.log.purge import purge, stored_up_to
from notifications.models import Topic
from notifications.selectors.messages import list_messages
from tests.records import publication

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT = 7
PUBLISHED, PURGED = 3, 9
"""Messages a page is read beside: so the purge overtakes who reads from the oldest on."""

KEPT = 20
WAIT = 20.0


class Beside:
    """A thread that does something once while each page is read, and has done it afterwards."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.failures: list[BaseException] = []
        self._work = work
        self._may, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._is_over = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def begin(self) -> None:
        self._may.release()

    def finish(self) -> None:
        assert self._done.acquire(timeout=WAIT)
        assert not self.failures

    def stop(self) -> None:
        self._is_over = True
        self._may.release()
        self._thread.join(WAIT)

    def _run(self) -> None:
        try:
            while self._may.acquire() and not self._is_over:
                try:
                    self._work()
                except BaseException as failure:
                    self.failures.append(failure)
                self._done.release()
        finally:
            connection.close()


def published() -> int:
    return Topic.objects.get().seq


def purged() -> int:
    return Topic.objects.get().purged_seq


def publish(count: int = PUBLISHED) -> None:
    append([publication("a.b", "x") for _ in range(count)])


def take_out() -> None:
    topic = Topic.objects.get()
    up_to = min(topic.purged_seq + PURGED, topic.seq - KEPT)
    purge(stored_up_to(topic.pk, up_to, after=topic.purged_seq), now=timezone.now())


def pages(*, newest_first: bool) -> list[tuple[list[int], int, int]]:
    """Read all pages; with each, what was published before it and purged after it."""
    found = []
    others = [Beside(publish), Beside(take_out)]
    following: int | None = None
    try:
        while True:
            before = published()
            for other in others:
                other.begin()
            page, following = list_messages(
                topic="a.b",
                after=None if newest_first else following,
                before=following if newest_first else None,
                limit=LIMIT,
                newest_first=newest_first,
                now=timezone.now(),
            )
            for other in others:
                other.finish()
            found.append(([row.seq for row in page], before, purged()))
            if following is None:
                return found
    finally:
        for other in others:
            other.stop()


def test_from_the_oldest_on_nothing_is_left_out_but_what_was_purged() -> None:
    publish(60)
    found = pages(newest_first=False)
    last, jumps = 0, 0
    for page, _, gone in found:
        for seq in page:
            assert seq > last, "nothing comes twice"
            assert seq == last + 1 or seq - 1 <= gone, "only what was purged is left out"
            jumps += seq > last + 1
            last = seq
    assert jumps, "the purge has overtaken"
    _, before, _ = found[-1]
    assert last >= before, "it ends at the end"


def test_from_the_newest_on_what_is_published_meanwhile_moves_nothing() -> None:
    publish(60)
    found = pages(newest_first=True)
    seqs = [seq for page, _, _ in found for seq in page]
    assert len(found) > 2
    assert seqs == list(range(seqs[0], seqs[-1] - 1, -1)), "each once, and none left out"
    assert seqs[0] >= 60
    assert seqs[-1] - 1 <= found[-1][2], "it ends where the purge has come to"
    assert published() > seqs[0]
