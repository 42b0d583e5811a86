"""Settings for the tests. DATABASE_URL and REDIS_URL choose the backends, as everywhere."""

import os

from config.env import BASE_DIR
from config.settings.base import *

SECRET_KEY = "test-only-key-that-is-long-enough-to-sign-a-token-with-hs256"
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
# Argon2 is slow by design; the tests are about what comes after it.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file: the log writer's thread has a connection of its own, which memory would not share.
    DATABASES["default"]["TEST"] = {"NAME": str(BASE_DIR / "var" / f"test-{os.getpid()}.sqlite3")}
CELERY_TASK_ALWAYS_EAGER = True
