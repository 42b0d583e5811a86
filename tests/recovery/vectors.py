"""The rows about cursors that every implementation is held to."""

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent.parent / "vectors"

CURSORS: dict[str, Any] = json.loads((_FOLDER / "cursors.json").read_text(encoding="utf-8"))
