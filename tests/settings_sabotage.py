"""Development settings of a server that breaks a promise; see tests/sabotage.py."""

import os

from config.settings.development import *

INSTALLED_APPS = [*INSTALLED_APPS, "tests.sabotage.SabotageConfig"]
if os.environ["SABOTAGE"] == "no-repair":
    os.environ.setdefault("LOSE_EVERY", "5")
    CHANNEL_LAYERS["default"]["BACKEND"] = "tests.lossy.LossyRedisLayer"
