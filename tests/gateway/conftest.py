"""The hub of a process, over the real log, without timers of its own."""

from collections.abc import AsyncIterator

import pytest

from notifications.database import in_database
from notifications.hub import Hub
from notifications.hub import follower as follower_module
from notifications.log.creation import read_identity
from tests.hub.test_hub import Net


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    monkeypatch.setattr(follower_module, "GRACE", 0.001)
    hub = Hub(
        Net(capacity=10_000),
        await in_database(read_identity),
        on_control=lambda _: None,
        poll_interval=1e6,
    )
    await hub.start()
    yield hub
    await hub.stop()
