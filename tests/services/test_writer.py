"""What a process without a server tells the servers of what it published."""

from typing import Any

import pytest

from notifications.models import Log
from notifications.services import writer as writer_module
from tests.records import record

pytestmark = pytest.mark.django_db


class Layer:
    """A layer that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.sent.append(message)


def test_its_hints_name_the_epoch_that_the_log_has_by_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = Layer()
    monkeypatch.setattr(writer_module, "get_channel_layer", lambda: layer)
    relay = writer_module._OwnLoopRelay()
    first = Log.objects.get().epoch
    relay([record(1)])
    Log.objects.update(epoch="xnew")
    relay([record(2)])
    monkeypatch.setattr(writer_module, "EPOCH_KEPT", -1.0)
    relay([record(3)])
    relay.close()
    assert [envelope["epoch"] for envelope in layer.sent] == [first, first, "xnew"]
