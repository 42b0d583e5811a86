"""Plots as SVG text that reads well on light and on dark pages. Pure."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from bench.render.text import number

_WIDTH: Final = 720
_LABELS: Final = 180
_VALUES: Final = 80
_ROW: Final = 26
_HEAD: Final = 44
# On light pages and on dark ones.
_COLOURS: Final = (
    ("#2f6fde", "#6ea0f8"),
    ("#c2571a", "#f0883e"),
    ("#2b8a57", "#4cc38a"),
    ("#8a4fc0", "#b98bea"),
    ("#b0447a", "#ee7fb4"),
    ("#6b7280", "#a3abb8"),
    ("#a38600", "#d9b82e"),
)
# The page behind is the reader's: nothing is painted there, and text takes the scheme's colour.
_LIGHT: Final = "".join(f".c{i}{{color:{light}}}" for i, (light, _) in enumerate(_COLOURS))
_DARK: Final = "".join(f".c{i}{{color:{dark}}}" for i, (_, dark) in enumerate(_COLOURS))
_STYLE: Final = f"""<style>
text{{font:13px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#24292f}}
.title{{font-weight:600;font-size:15px}}.note{{fill:#57606a;font-size:12px}}
.grid{{stroke:#d0d7de;stroke-width:1}}.ours{{fill:#2f6fde}}.other{{fill:#8c959f}}
{_LIGHT}
@media (prefers-color-scheme:dark){{text{{fill:#e6edf3}}.note{{fill:#9198a1}}
.grid{{stroke:#3d444d}}.ours{{fill:#5b93f5}}.other{{fill:#6e7681}}
{_DARK}}}
</style>"""


def _frame(title: str, note: str, height: int, body: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img" aria-label="{escape(title)}">'
    )
    lines = [
        head,
        _STYLE,
        f'<text class="title" x="0" y="16">{escape(title)}</text>',
        f'<text class="note" x="0" y="34">{escape(note)}</text>',
        *body,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def bars(title: str, note: str, values: Mapping[str, float], *, ours: str) -> str:
    """Draw one bar for each value, on a logarithmic scale where they differ over 20 times.

    Values are above zero. ours: the name whose bar stands out.
    """
    ordered = sorted(values.items(), key=lambda item: item[1])
    least, most = ordered[0][1], ordered[-1][1]
    logarithmic = most > 20 * least
    room = _WIDTH - _LABELS - _VALUES
    body = []
    for row, (name, value) in enumerate(ordered):
        top = _HEAD + row * _ROW
        share = value / most
        if logarithmic:
            # The smallest bar still shows: the scale begins at half of it.
            share = math.log(value / (least / 2)) / math.log(most / (least / 2))
        width = max(2.0, room * share)
        kind = "ours" if name == ours else "other"
        label = escape(name.replace("`", ""))
        body.append(f'<text x="{_LABELS - 8}" y="{top + 16}" text-anchor="end">{label}</text>')
        body.append(
            f'<rect class="{kind}" x="{_LABELS}" y="{top + 3}" width="{width:.1f}" '
            f'height="{_ROW - 8}" rx="2"/>'
        )
        body.append(f'<text x="{_LABELS + width + 6:.1f}" y="{top + 16}">{number(value)}</text>')
    scale = f"{note}; logarithmic scale" if logarithmic else note
    return _frame(title, scale, _HEAD + len(ordered) * _ROW + 8, body)


def curves(
    title: str, note: str, series: Mapping[str, Sequence[tuple[float, float]]], *, ours: str
) -> str:
    """Draw a line for each series of (x, y), both scales logarithmic; all are above zero."""
    points = [point for line in series.values() for point in line]
    left, right, top, height = 60, _WIDTH - 215, _HEAD + 6, 260
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    y_low = 10 ** math.floor(math.log10(min(y for _, y in points)))
    y_high = 10 ** math.ceil(math.log10(max(y for _, y in points) * 1.001))

    def across(x: float) -> float:
        share = math.log(x / x_low) / math.log(x_high / x_low) if x_high > x_low else 0.5
        return left + share * (right - left)

    def down(y: float) -> float:
        return top + height * (1 - math.log(y / y_low) / math.log(y_high / y_low))

    body = []
    tick = float(y_low)
    while tick <= y_high:
        y = down(tick)
        body.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        body.append(
            f'<text class="note" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:,g}</text>'
        )
        tick *= 10
    for x in sorted({x for x, _ in points}):
        body.append(
            f'<text class="note" x="{across(x):.1f}" y="{top + height + 18}" '
            f'text-anchor="middle">{x:,g}</text>'
        )
    taken: list[float] = []
    for place, (name, line) in enumerate(series.items()):
        kind = f"c{place % len(_COLOURS)}"
        path = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in line)
        width = 3 if name == ours else 1.75
        body.append(
            f'<polyline class="{kind}" points="{path}" fill="none" stroke="currentColor" '
            f'stroke-width="{width}"/>'
        )
        body.extend(
            f'<circle class="{kind}" cx="{across(x):.1f}" cy="{down(y):.1f}" r="3" '
            f'fill="currentColor"/>'
            for x, y in line
        )
        # Names stand at the ends of their lines, moved apart where those meet.
        at = down(line[-1][1]) + 4
        while any(abs(at - other) < 15 for other in taken):
            at += 3
        taken.append(at)
        label = f"{escape(name.replace('`', ''))} {number(line[-1][1])}"
        weight = ' font-weight="600"' if name == ours else ""
        body.append(
            f'<rect class="{kind}" x="{right + 10}" y="{at - 9:.1f}" width="9" height="9" '
            f'fill="currentColor"/>'
            f'<text x="{right + 24}" y="{at:.1f}"{weight}>{label}</text>'
        )
    return _frame(title, note, top + height + 30, body)
