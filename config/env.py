"""The one reader of the environment; every variable is documented in docs/settings.md."""

import os
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


class Env(environ.Env):  # type: ignore[misc]  # django-environ has no types
    """Values from the environment; what cannot be read is named."""

    def get_value(self, var: str, *args: Any, **kwargs: Any) -> Any:
        """Return a value; raises ImproperlyConfigured, which says what to do."""
        try:
            return super().get_value(var, *args, **kwargs)
        except ValueError as error:
            # Without the value, which may be a secret in the wrong place.
            raise ImproperlyConfigured(
                f"{var} cannot be read. Set it as docs/settings.md says: {type(error).__name__}, "
                "most likely text where a number is wanted."
            ) from None


env = Env()


def use_default_settings() -> None:
    """Choose the settings module when DJANGO_SETTINGS_MODULE does not name one.

    Development when DEBUG is on, production otherwise: whoever forgets to choose gets the
    settings that refuse to start unsafely.
    """
    module = "development" if env.bool("DEBUG", default=False) else "production"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", f"config.settings.{module}")


def seconds(name: str, default: float) -> float:
    """Read NOTIFICATIONS_<name>_SECONDS."""
    return float(env.float(f"NOTIFICATIONS_{name}_SECONDS", default=default))
