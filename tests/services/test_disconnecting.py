"""Ending sessions from the server's side, and telling the servers."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import channel_layers, get_channel_layer
from django.utils import timezone

from notifications.bus.bus import CONTROL_GROUP
from notifications.models import Session
from notifications.services import disconnecting
from notifications.services.disconnecting import disconnect_session, tell_servers
from tests.backends import REDIS
from tests.selectors import rows

LAYERS = {
    "memory": {"BACKEND": "channels.layers.InMemoryChannelLayer"},
    "redis": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS], "prefix": f"test-{uuid.uuid4().hex}"},
    },
    "away": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": ["redis://127.0.0.1:1"]},
    },
}
MESSAGE = {"close": "x", "code": 4503, "reason": "Good night."}


@pytest.fixture
def layer(request: pytest.FixtureRequest, settings: Any) -> Iterator[Any]:
    settings.CHANNEL_LAYERS = {"default": LAYERS[request.param]}
    yield get_channel_layer()
    channel_layers.backends.clear()


@pytest.mark.parametrize(
    "layer", ["memory", pytest.param("redis", marks=pytest.mark.redis)], indirect=True
)
async def test_a_server_hears_it_from_a_request_of_its_own(layer: Any) -> None:
    channel = await layer.new_channel("server")
    await layer.group_add(CONTROL_GROUP, channel)
    await sync_to_async(tell_servers)(MESSAGE)
    assert await layer.receive(channel) == {"type": "control", "control": MESSAGE}
    await layer.group_discard(CONTROL_GROUP, channel)
    await layer.flush()


@pytest.mark.parametrize("layer", ["away", "memory"], indirect=True)
def test_a_process_without_servers_to_hear_it_goes_on(layer: Any) -> None:
    tell_servers(MESSAGE)


def test_without_a_layer_there_is_nobody_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disconnecting, "get_channel_layer", lambda: None)
    tell_servers(MESSAGE)


@pytest.mark.django_db
def test_the_row_has_ended_before_anybody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    session = rows.session("user:1")
    seen: list[Any] = []

    def tell(message: dict[str, Any]) -> None:
        seen.append((message, Session.objects.get(pk=session.pk).ended_at))

    monkeypatch.setattr(disconnecting, "tell_servers", tell)
    now = timezone.now()
    assert disconnect_session(handle=session.pk, words="Bye.", now=now)
    assert seen == [({"close": str(session.pk), "code": 4503, "reason": "Bye."}, now)]
    session.refresh_from_db()
    assert (session.state, session.reason, session.since) == (
        "disconnected",
        "server_initiated",
        now,
    )


@pytest.mark.django_db
@pytest.mark.parametrize("exists", [True, False])
def test_what_is_not_open_is_left_alone(monkeypatch: pytest.MonkeyPatch, exists: bool) -> None:
    monkeypatch.setattr(disconnecting, "tell_servers", None)
    handle = rows.session("user:1", ended=True, reason="expired").pk if exists else uuid.uuid4()
    assert not disconnect_session(handle=handle, words=None, now=timezone.now())
    assert not Session.objects.exclude(reason="expired").exists()
