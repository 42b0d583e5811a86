"""What the checker says of a run: its anomalies by kind, why it is no proof, and its counts."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

SHOWN = 3
"""Anomalies of a kind that are described when a report is printed."""


class Anomaly(StrEnum):
    """What must never happen."""

    LOST = "lost"
    PHANTOM = "phantom"
    TWO_IDS = "one (topic, seq) with two ids"
    TWO_PLACES = "one id with two (topic, seq)"
    PUBLISHED_TWICE = "one idempotency key with two messages"
    DUPLICATE_HANDLED = "duplicate handled"
    REPEATED = "repeated on one connection"
    OUT_OF_ORDER = "out of order"
    SILENT_GAP = "silent gap"
    UNAUTHORISED = "unauthorised"
    UNDELIVERED = "not delivered within 10 s"
    FALSE_RECOVERED = "false recovered: true"


@dataclass
class Report:
    """The judgement of a history.

    anomalies: descriptions by kind. invalid: reasons for which the run proves nothing.
    """

    anomalies: dict[Anomaly, list[str]] = field(default_factory=dict)
    invalid: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: Anomaly, what: str) -> None:
        """Note an anomaly."""
        self.anomalies.setdefault(kind, []).append(what)

    @property
    def kinds(self) -> set[Anomaly]:
        """The kinds of anomalies that were found."""
        return set(self.anomalies)

    @property
    def verdict(self) -> str:
        """`red` with an anomaly; else `invalid` when the run proves nothing; else `green`."""
        if self.anomalies:
            return "red"
        return "invalid" if self.invalid else "green"

    def __str__(self) -> str:
        lines = [f"verdict: {self.verdict}"]
        lines += [f"  {name}: {count}" for name, count in self.counts.items()]
        for kind in Anomaly:
            found = self.anomalies.get(kind, [])
            lines.append(f"  [{len(found)}] {kind}")
            lines += [f"        {what}" for what in found[:SHOWN]]
        lines += [f"  invalid: {reason}" for reason in self.invalid]
        return "\n".join(lines)
