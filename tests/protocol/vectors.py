"""The rows that every implementation of the protocol is held to."""

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent.parent / "vectors"

CODES: dict[str, Any] = json.loads((_FOLDER / "codes.json").read_text(encoding="utf-8"))
_ROWS = json.loads((_FOLDER / "frames.json").read_text(encoding="utf-8"))["rows"]

CLIENT_ROWS: list[dict[str, Any]] = [row for row in _ROWS if row["direction"] == "client"]
SERVER_ROWS: list[dict[str, Any]] = [row for row in _ROWS if row["direction"] == "server"]


def text_of(row: dict[str, Any]) -> str:
    """Return a row's WebSocket message, put together from its parts."""
    parts = row["json"] if isinstance(row["json"], list) else [row["json"]]
    return "".join(
        part if isinstance(part, str) else part["repeat"] * part["times"] for part in parts
    )
