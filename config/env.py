"""The one reader of the environment; every variable is documented in docs/settings.md."""

import os
from pathlib import Path

import environ

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()


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
