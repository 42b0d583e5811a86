"""Pages and probes: the dashboard and its token, health, readiness, metrics."""

import asyncio
from hmac import compare_digest
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotFound,
    JsonResponse,
)
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from accounts.tokens import issue_access_token
from notifications.conf import conf
from notifications.database import in_database
from notifications.errors import Unavailable
from notifications.process import running_process
from notifications.selectors.readiness import NotMigratedError, require_database

PROBE_TIMEOUT = 1.0
"""Seconds that the database, and then the channel layer, has to answer a readiness probe."""

PROBE_GROUP = "bellwether.probe"
"""A group that nobody is in."""


@require_safe
@login_required
def dashboard(request: HttpRequest) -> HttpResponse:
    """Show what happens on the topics of whoever is logged in."""
    return render(request, "notifications/dashboard.html")


@require_POST
@never_cache
def dashboard_token(request: HttpRequest) -> HttpResponse:
    """Give the logged-in user an access token for the dashboard's socket. CSRF is enforced."""
    if not request.user.is_authenticated:
        return JsonResponse({"detail": "Log in first."}, status=401)
    token = issue_access_token(request.user)
    return JsonResponse({"access": token.access, "expiresIn": token.expires_in_ms})


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer as long as the process lives. Asks nobody."""
    return JsonResponse({"status": "ok"})


@never_cache
async def readyz(request: HttpRequest) -> HttpResponse:
    """Tell whether to send this process traffic: 200, or 503 with the reasons.

    Without the channel layer everything works, a little later, so that is no reason.
    """
    process = running_process()
    reasons = [] if process is None or not process.draining else ["draining"]
    reasons += await _database_faults()
    body: dict[str, Any] = {"status": "not ready" if reasons else "ready", "reasons": reasons}
    layer = get_channel_layer()
    if layer is not None and not isinstance(layer, InMemoryChannelLayer):
        body["redis"] = "ok" if await _answers(layer) else "away"
    if not reasons:
        return JsonResponse(body)
    return JsonResponse(body, status=503, headers={"Retry-After": "1"})


async def _database_faults() -> list[str]:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            await in_database(require_database)
    except NotMigratedError:
        return ["database not migrated"]
    except (Unavailable, TimeoutError):
        return ["database unreachable"]
    return []


async def _answers(layer: Any) -> bool:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            await layer.group_send(PROBE_GROUP, {"type": "probe"})
    except Exception:  # whatever a layer raises, it does not work
        return False
    return True


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Show the metrics of this process to whoever has the token."""
    token = conf().metrics_token
    if not token and not settings.DEBUG:
        return HttpResponseNotFound(
            "Set NOTIFICATIONS_METRICS_TOKEN to have metrics.\n", content_type="text/plain"
        )
    if token and not _is_bearer(request, token):
        return HttpResponse(
            "Send Authorization: Bearer with NOTIFICATIONS_METRICS_TOKEN.\n",
            content_type="text/plain",
            status=401,
            headers={"WWW-Authenticate": 'Bearer realm="metrics"'},
        )
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)


def _is_bearer(request: HttpRequest, token: str) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # Bytes, because compare_digest refuses text that is not ASCII.
    return scheme.lower() == "bearer" and compare_digest(given.strip().encode(), token.encode())


@csrf_exempt
def upgrade_required(request: HttpRequest) -> HttpResponseBase:
    """Answer whoever comes to the WebSocket's path with a plain request."""
    return HttpResponse(
        "This is a WebSocket endpoint: upgrade the connection.\n",
        content_type="text/plain",
        status=426,
        headers={"Upgrade": "websocket", "Connection": "Upgrade"},
    )
