"""The admin site: its names, and its index in the order in which an operator looks."""

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig
from django.http import HttpRequest

APPS = ("notifications", "accounts", "auth")
MODELS = (
    "Session",
    "Subscription",
    "Server",
    "Topic",
    "Message",
    "Delivery",
    "Redelivery",
    "TopicPolicy",
    "PendingPublication",
    "IdempotencyKey",
    "Partition",
    "Log",
    "User",
    "ApiKey",
    "TopicGrant",
    "TokenFamily",
)
"""From what is live to what lies below; those that are not named follow by name."""


class BellwetherSite(AdminSite):
    """Django's admin site under our name."""

    site_title = "Bellwether"
    site_header = "Bellwether operations"
    index_title = "What is connected, what was published, who may do what"

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the apps and models in our order."""
        apps = super().get_app_list(request, app_label)
        apps.sort(key=lambda app: _place(app["app_label"], APPS))
        for app in apps:
            app["models"].sort(key=lambda model: _place(model["object_name"], MODELS))
        return apps


class BellwetherAdminConfig(AdminConfig):
    """Django's admin app with our site."""

    default_site = "config.admin.BellwetherSite"


def _place(name: str, order: tuple[str, ...]) -> int:
    return order.index(name) if name in order else len(order)
