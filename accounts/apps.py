"""The Django app: its checks, its receivers and its part of the OpenAPI schema."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Who you are and what you may do."""

    name = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        """Import the modules that register themselves; they need the models loaded."""
        from accounts import checks, receivers, schema  # noqa: F401
