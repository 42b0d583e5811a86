"""Where ASGI traffic goes: HTTP to Django, /ws to the gateway, lifespan to the process."""

from collections.abc import Awaitable, Callable
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path, re_path

from notifications.api.lean import LeanPublish
from notifications.gateway.consumer import NotificationConsumer, refuse_unknown_path
from notifications.gateway.lifespan import lifespan

Application = Callable[..., Awaitable[Any]]


def build_application(django_application: Application) -> Application:
    """Return the whole site as one ASGI application."""
    router: Application = ProtocolTypeRouter(
        {
            "http": LeanPublish(django_application),
            "websocket": URLRouter(
                [
                    path("ws", NotificationConsumer.as_asgi()),
                    re_path(r"", refuse_unknown_path),  # type: ignore[arg-type]
                ]
            ),
            "lifespan": lifespan,
        }
    )
    return router
