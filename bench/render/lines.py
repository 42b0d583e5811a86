"""The stored lines, asked for figures. A figure that was not measured is None, never an error."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

NAMES: Final[Mapping[str, str]] = {
    "ours": "Bellwether",
    "baseline": "Channels `group_send`",
    "nats": "NATS",
    "nchan": "nchan (nginx)",
    "socketio": "Socket.IO (Node)",
    "picows": "picows, bare broadcast",
    "floor": "C, bare broadcast",
}
_ABOUT: Final = ("settings", "machine", "ratios")


class Lines:
    """What the suite stored, one object for each line."""

    def __init__(self, stored: Iterable[Mapping[str, Any]]) -> None:
        self.all = list(stored)

    def line(self, entry: str, benchmark: str = "", **matching: Any) -> Mapping[str, Any] | None:
        """Return an entry's line, of a benchmark where it has several."""
        for line in self.all:
            wanted = {"entry": entry, **({"benchmark": benchmark} if benchmark else {}), **matching}
            if all(line.get(name) == value for name, value in wanted.items()):
                return line
        return None

    def sides(self, entry: str, benchmark: str = "") -> list[str]:
        """Return who was measured in a line: ours first, then the baseline, then peers."""
        line = self.line(entry, benchmark) or {}
        there = [name for name in line if name not in _ABOUT and isinstance(line[name], Mapping)]
        order = list(NAMES)
        return sorted(there, key=lambda name: order.index(name) if name in order else len(order))

    def figure(self, entry: str, side: str, name: str, benchmark: str = "") -> float | None:
        """Return one side's figure out of complete rounds."""
        line = self.line(entry, benchmark) or {}
        figures = line.get(side) or {}
        value = figures.get(name)
        return value if figures.get("complete") and isinstance(value, int | float) else None

    def spread(self, entry: str, side: str, name: str) -> tuple[float, float] | None:
        """Return a figure's least and most of a line's complete rounds; None of a single one."""
        if self.figure(entry, side, name) is None:
            return None
        rounds = (self.line(entry) or {})[side].get("rounds", [])
        values = [each[name] for each in rounds if isinstance(each.get(name), int | float)]
        return (min(values), max(values)) if len(values) > 1 else None

    def quotient(
        self, entry: str, side: str, by: str, name: str, benchmark: str = ""
    ) -> float | None:
        """Divide a side's figure by another's, both of one run."""
        one = self.figure(entry, side, name, benchmark)
        other = self.figure(entry, by, name, benchmark)
        return one / other if one is not None and other else None
