"""Development settings for a server that dies right after a commit; see tests/dying.py."""

from config.settings.development import *

INSTALLED_APPS += ["tests.dying.DyingConfig"]
