"""docs/performance.md from the stored lines of the suite: `python -m bench.render`."""

from bench.render.page import STORED, write

__all__ = ["STORED", "write"]
