"""Development settings with a lossy channel layer; see tests/lossy.py."""

from config.settings.development import *

CHANNEL_LAYERS["default"]["BACKEND"] = (
    "tests.lossy.LossyRedisLayer" if REDIS_URLS else "tests.lossy.LossyInMemoryLayer"
)
