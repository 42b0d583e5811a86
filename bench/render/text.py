"""Figures and tables as Markdown. Pure."""

from collections.abc import Sequence

MISSING = "–"


def number(value: float | None, unit: str = "") -> str:
    """Write a figure with the digits that a measurement has: three."""
    if value is None:
        return MISSING
    size = abs(value)
    if size >= 100:
        text = f"{value:,.0f}"
    elif size >= 10:
        text = f"{value:.1f}"
    else:
        text = f"{value:.2f}"
    return f"{text} {unit}".rstrip()


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, figures: bool = True) -> str:
    """Write a table; the first column is text, and so are the others without `figures`."""
    rule = ["---", *("---:" if figures else "---" for _ in head[1:])]
    lines = [head, rule, *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
