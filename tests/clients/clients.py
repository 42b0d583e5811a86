"""The clients that tests are parametrized with; without Node the one in TypeScript is skipped."""

import os
import shutil
from typing import Final

import pytest

from tests.clients.driver_process import WS

_HAS_NODE: Final = shutil.which("node") is not None and WS.exists()

NEEDS_NODE: Final = pytest.mark.skipif(
    not _HAS_NODE and os.environ.get("CI") != "true",  # in CI it is a failure
    reason="no Node, or no `npm ci` in notifications/browser",
)

CLIENTS: Final = ("python", pytest.param("typescript", marks=NEEDS_NODE))
