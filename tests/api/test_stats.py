import pytest

from notifications.models import Server
from tests.api.conftest import Api
from tests.selectors import rows

pytestmark = pytest.mark.django_db(transaction=True)


def test_figures(api: Api) -> None:
    server = Server.objects.create(id="s1", host="h", pid=1, started_at=rows.NOW, seen_at=rows.NOW)
    rows.session("user:1", server=server)
    rows.session("user:2", state="reconnecting")
    api.publish("a.b", 1)
    api.publish("a.b", 2)
    stats = api.get("stats").json()
    assert stats.pop("serverTime").endswith("Z")
    assert stats == {
        "connections": 1,
        "sessions": {"connecting": 0, "connected": 1, "reconnecting": 1, "disconnected": 0},
        "subscriptions": 0,
        "topics": 1,
        "messages": 2,
        "pending": 0,
        "servers": [
            {
                "id": "s1",
                "connections": 1,
                "startedAt": "2026-03-01T12:00:00.000Z",
                "seenAt": "2026-03-01T12:00:00.000Z",
            }
        ],
    }
