"""Pages and probes, with Django's test clients: no server process is running here."""

import asyncio
import time
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.db import OperationalError
from django.test import AsyncClient, Client

from accounts.authentication import authenticate_credentials
from accounts.models import User
from notifications import views
from notifications.conf import conf
from notifications.selectors.readiness import NotMigratedError
from tests.services.test_disconnecting import LAYERS


@pytest.fixture
def ann(db: None) -> User:
    return User.objects.create_user("ann", password="pw")


# --- The dashboard ------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_dashboard_asks_for_a_login(client: Client) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer["Location"]) == (302, "/account/login/?next=/")


def test_the_dashboard_is_a_page_for_whoever_logged_in(client: Client, ann: User) -> None:
    client.force_login(ann)
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/html")
    assert b"ann" in answer.content
    assert "default-src 'self'" in answer["Content-Security-Policy"]
    assert "unsafe-inline" not in answer["Content-Security-Policy"]


def test_a_token_for_the_dashboard(client: Client, ann: User) -> None:
    client.force_login(ann)
    answer = client.post("/dashboard/token")
    assert answer.status_code == 200
    assert set(answer.json()) == {"access", "expiresIn"}
    assert authenticate_credentials(answer.json()["access"]).user_id == ann.pk
    assert answer.json()["expiresIn"] == 900_000
    assert "no-store" in answer["Cache-Control"]


def test_a_token_needs_the_page_and_not_only_the_cookie(ann: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ann)
    assert client.post("/dashboard/token").status_code == 403
    client.get("/")
    csrf = client.cookies["csrftoken"].value
    assert client.post("/dashboard/token", headers={"X-CSRFToken": csrf}).status_code == 200


@pytest.mark.django_db
def test_nobody_gets_no_token(client: Client) -> None:
    answer = client.post("/dashboard/token")
    assert answer.status_code == 401
    assert "access" not in answer.json()


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/dashboard/token"), ("POST", "/"), ("POST", "/healthz"), ("POST", "/metrics")],
)
def test_other_methods_are_405(client: Client, method: str, path: str) -> None:
    assert client.generic(method, path).status_code == 405


# --- Health -------------------------------------------------------------------------------------


def test_health_asks_no_database(client: Client) -> None:
    # Without the django_db mark, a query would fail this test.
    assert client.get("/healthz").status_code == 200


@pytest.fixture
def database(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> list[BaseException | float]:
    """What the database does when it is asked: nothing, an error, or seconds of silence."""
    does: list[BaseException | float] = []

    def require() -> None:
        for one in does:
            if isinstance(one, BaseException):
                raise one
            time.sleep(one)

    monkeypatch.setattr(views, "require_database", require)
    return does


@pytest.mark.django_db(transaction=True)
def test_ready_with_the_real_database(client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        (OperationalError("no route to db.internal"), "database unreachable"),
        (NotMigratedError("secret"), "database not migrated"),
    ],
)
async def test_not_ready(
    database: list[BaseException | float], does: BaseException, reason: str
) -> None:
    database.append(does)
    answer = await AsyncClient().get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "not ready"
    assert answer.json()["reasons"] == [reason]
    assert answer["Retry-After"] == "1"


async def test_a_database_that_is_silent_is_not_waited_for(
    database: list[BaseException | float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "PROBE_TIMEOUT", 0.01)
    database.append(0.5)
    answer = await AsyncClient().get("/readyz")
    assert answer.json()["reasons"] == ["database unreachable"]


async def test_a_draining_process_is_not_ready(
    database: list[BaseException | float], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Draining:
        draining = True

    monkeypatch.setattr(views, "running_process", Draining)
    database.append(OperationalError())
    answer = await AsyncClient().get("/readyz")
    assert answer.json()["reasons"] == ["draining", "database unreachable"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("memory", None),
        pytest.param("redis", "ok", marks=pytest.mark.redis),
        ("away", "away"),
    ],
)
async def test_redis_is_no_reason(
    database: list[BaseException | float], settings: Any, name: str, said: str | None
) -> None:
    settings.CHANNEL_LAYERS = {"default": LAYERS[name]}
    answer = await AsyncClient().get("/readyz")
    assert answer.status_code == 200
    assert answer.json().get("redis") == said
    if name == "redis":
        await get_channel_layer().flush()


def test_readiness_in_a_process_that_is_no_server(
    client: Client, database: list[BaseException | float]
) -> None:
    assert client.get("/readyz").json()["status"] == "ready"
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


# --- Metrics ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "debug", "header", "status"),
    [
        ("", False, None, 404),
        ("", False, "Bearer ", 404),
        ("", True, None, 200),
        ("secret", False, None, 401),
        ("secret", True, None, 401),
        ("secret", False, "Bearer wrong", 401),
        ("secret", False, "Bearer ", 401),
        ("secret", False, "Basic secret", 401),
        ("secret", False, "Bearer sécret", 401),
        ("secret", False, "Bearer secret", 200),
        ("secret", False, "bearer secret", 200),
        ("sécret", False, "Bearer sécret", 200),
    ],
)
def test_who_may_read_metrics(
    settings: Any, token: str, debug: bool, header: str | None, status: int
) -> None:
    settings.NOTIFICATIONS = settings.NOTIFICATIONS | {"METRICS_TOKEN": token}
    settings.DEBUG = debug
    assert conf().metrics_token == token
    answer = Client(headers={"Authorization": header} if header else None).get("/metrics")
    assert answer.status_code == status
    assert answer.has_header("WWW-Authenticate") == (status == 401)
    assert (b"bellwether_connections " in answer.content) == (status == 200)


# --- The socket's path --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_plain_request_for_the_socket_is_told_to_upgrade(method: str) -> None:
    answer = Client(enforce_csrf_checks=True).generic(method, "/ws")
    assert (answer.status_code, answer["Upgrade"]) == (426, "websocket")
