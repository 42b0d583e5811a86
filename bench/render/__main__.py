"""Render docs/performance.md and its plots anew from docs/performance.jsonl; measure nothing."""

import json
import sys

from bench.render import STORED, write

if __name__ == "__main__":
    if not STORED.exists():
        sys.exit(f"{STORED} is not there; `make bench` measures and writes it.")
    write([json.loads(line) for line in STORED.read_text().splitlines()])
