"""The rows that every implementation of topics is held to."""

import json
from pathlib import Path
from typing import Any

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "topics.json").read_text(encoding="utf-8")
)
