"""Which plots there are, drawn from the stored lines. Pure."""

from bench.render.lines import NAMES, Lines
from bench.render.svg import bars, curves


def plots(lines: Lines) -> dict[str, str]:
    """Return the SVG text of each plot by its file name; without figures there is none."""
    drawn = {
        "paced.svg": _bars(
            lines, "paced", "cpu_us_per_delivery", "", "Paced fan-out", "CPU µs per delivery"
        ),
        "saturated.svg": _bars(
            lines,
            "saturated",
            "cpu_us_per_delivery",
            "",
            "Saturated fan-out",
            "CPU µs per delivery",
        ),
        "memory.svg": _bars(
            lines,
            "large",
            "kib_per_connection_all",
            "memory",
            "Memory",
            "KiB per connection at 10,000",
        ),
        "last.svg": _bars(
            lines,
            "large",
            "last_ms",
            "fanout",
            "One message to 10,000",
            "ms until the last subscriber has it",
        ),
        "connections.svg": _connections(lines),
    }
    return {name: text for name, text in drawn.items() if text is not None}


def _bars(
    lines: Lines, entry: str, figure: str, benchmark: str, title: str, note: str
) -> str | None:
    values = {
        NAMES.get(side, side): value
        for side in lines.sides(entry, benchmark)
        if (value := lines.figure(entry, side, figure, benchmark))
        # Less than can be seen beside the others, and a logarithm that says nothing.
        and value > 0.05
    }
    return bars(title, f"{note}; less is better", values, ours=NAMES["ours"]) if values else None


def _connections(lines: Lines) -> str | None:
    line = lines.line("large", "flat") or {}
    sizes = line.get("settings", {}).get("steps", [])
    series = {}
    for side in lines.sides("large", "flat"):
        costs = [(size, lines.figure("large", side, f"cpu_us_at_{size}", "flat")) for size in sizes]
        known = [(float(size), cost) for size, cost in costs if cost]
        if known:
            series[NAMES.get(side, side)] = known
    if not series:
        return None
    return curves(
        "As connections grow",
        "CPU µs per delivery over the number of subscribers; both scales logarithmic",
        series,
        ours=NAMES["ours"],
    )
