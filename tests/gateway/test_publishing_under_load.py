"""Publishers over a socket are told when the log has no room for them, and are not cut off."""

from typing import Any, cast

import msgspec
import pytest

from accounts.principal import Principal
from notifications.database import in_database
from notifications.errors import NotificationError
from notifications.gateway.connection import Connection
from notifications.gateway.requests import Requests
from notifications.log.append_queue import AppendQueue, Ticket
from notifications.log.identity import log_identity
from notifications.models import Message
from notifications.protocol.conversation import Request
from notifications.protocol.frames import Publish, Published
from notifications.services.writer import writer
from tests.records import publication

pytestmark = pytest.mark.django_db(transaction=True)

SOMEBODY = Principal(
    id="user:1", user_id=1, name="somebody", is_admin=False, publish=("a.*",), subscribe=()
)


class Told:
    """Stands in for a connection; notes what its client is told."""

    principal = SOMEBODY

    def __init__(self) -> None:
        self.errors: list[tuple[Any, str, int | None]] = []
        self.published: list[Any] = []

    def send_error(self, error: NotificationError, request_id: Any) -> None:
        self.errors.append((request_id, error.code, error.retry_after))

    def send(self, frame: Published) -> None:
        self.published.append(frame.id)


@pytest.mark.parametrize(
    ("waiting", "publisher", "code"),
    [(3, "user:2", "OVERLOADED"), (2, "user:1", "RATE_LIMITED")],
)
async def test_a_publisher_is_told_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, waiting: int, publisher: str, code: str
) -> None:
    await in_database(log_identity)
    told = Told()
    requests = Requests(cast(Connection, told))
    action = [
        Request(Publish(id=number, topic="a.b", payload=msgspec.Raw(b"1"))) for number in (1, 2)
    ]
    queue = AppendQueue(bound=3)
    queue.open()
    queue.put(Ticket([publication("x", publisher=publisher)] * waiting))
    with monkeypatch.context() as patched:
        patched.setattr(writer(), "queue", queue)
        await requests.carry_out([action[0]])
        await requests.settle()
    await requests.carry_out([action[1]])
    await requests.settle()
    assert told.errors == [(1, code, 1000)]
    assert told.published == [2]
    assert await in_database(Message.objects.count) == 1
