"""Settings for a developer's own machine: `make run` and `runserver` with DEBUG=1."""

from config.settings.base import *

DEBUG = True
SECRET_KEY = SECRET_KEY or "development-only-this-key-is-public-and-signs-nothing-that-matters"
ALLOWED_HOSTS = ALLOWED_HOSTS or ["localhost", "127.0.0.1", "[::1]"]
