"""The tables of the page, each out of one run of one command. Pure."""

from collections import Counter
from collections.abc import Sequence

from bench.render.lines import NAMES, Lines
from bench.render.text import MISSING, number, table

# Heading, figure, times what.
_Column = tuple[str, str, float]

_FANOUT: tuple[_Column, ...] = (
    ("CPU µs per delivery", "cpu_us_per_delivery", 1),
    ("p50 ms", "p50_ms", 1),
    ("p99 ms", "p99_ms", 1),
    ("deliveries/s", "deliveries_per_second", 1),
    ("server's core %", "server_core_busy", 100),
    ("load's core %", "load_core_busy", 100),
)
_DELIVERIES = 4
FULL = 0.95
"""Share of its core from which on the load was measured and not the server."""
_GROWTH: tuple[_Column, ...] = (
    ("last over first", "growth_overall", 1),
    ("kept pace", "kept_pace", 1),
)
_PACED: tuple[_Column, ...] = (*_FANOUT, ("kept pace", "kept_pace", 1))


def _of(lines: Lines, entry: str, columns: Sequence[_Column], benchmark: str = "") -> str:
    rows = []
    for side in lines.sides(entry, benchmark):
        cells = []
        for _, name, times in columns:
            value = lines.figure(entry, side, name, benchmark)
            cells.append(_said(value, times))
        rows.append([NAMES.get(side, side), *cells])
    if not rows:
        return f"Not measured yet: `python -m bench.suite --only {entry}`."
    return table(["server", *(head for head, _, _ in columns)], rows)


def _said(value: float | int | bool | None, times: float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, int) and times == 1:
        return f"{value:,}"  # a count
    return number(None if value is None else value * times)


def paced(lines: Lines) -> str:
    """Paced fan-out to 1,000."""
    return _of(lines, "paced", _PACED)


def saturated(lines: Lines) -> str:
    """Saturated fan-out to 1,000. Where the load's core was full, its deliveries are a least."""
    full = [
        NAMES.get(side, side)
        for side in lines.sides("saturated")
        if (lines.figure("saturated", side, "load_core_busy") or 0) >= FULL
    ]
    rows = []
    for row in _of(lines, "saturated", _FANOUT).splitlines():
        cells = row.split(" | ")
        if cells[0].removeprefix("| ") in full:
            cells[_DELIVERIES] = f"≥ {cells[_DELIVERIES]}"
        rows.append(" | ".join(cells))
    return "\n".join(rows)


def large(lines: Lines) -> str:
    """What 10,000 connections cost: the four lines of one run, side by side."""
    sides = lines.sides("large", "memory")
    steps = (lines.line("large", "flat") or {}).get("settings", {}).get("steps", [])
    columns = [
        ("KiB each at 1,000", "memory", "kib_per_connection_tenth", 1.0),
        ("at 10,000", "memory", "kib_per_connection_all", 1.0),
        *((f"CPU µs at {size:,}", "flat", f"cpu_us_at_{size}", 1.0) for size in steps),
        ("growth of the last step", "flat", "growth", 1.0),
        ("kept pace", "flat", "kept_pace", 1.0),
        ("last of all has it, ms", "fanout", "last_ms", 1.0),
        ("idle, % of a core", "idle", "server_core_busy", 100.0),
    ]
    if not sides:
        return "Not measured yet: `python -m bench.suite --only large`."
    rows = []
    for side in sides:
        cells = [NAMES.get(side, side)]
        for _, benchmark, name, times in columns:
            value = lines.figure("large", side, name, benchmark)
            cells.append(_said(value, times))
        rows.append(cells)
    return table(["server", *(column[0] for column in columns)], rows)


def patterns(lines: Lines) -> str:
    """Deliveries while others hold patterns."""
    line = lines.line("patterns") or {}
    steps = line.get("settings", {}).get("steps", [])
    columns = [(f"CPU µs at {size:,}", f"cpu_us_at_{size}", 1.0) for size in steps]
    return _of(lines, "patterns", [*columns, *_GROWTH])


def publish(lines: Lines) -> str:
    """Single publishes, and batches where they were measured."""
    single = _of(
        lines,
        "publish",
        (
            ("publishes/s", "requests_per_second", 1),
            ("CPU µs each", "cpu_us_per_publish", 1),
            ("p50 ms", "p50_ms", 1),
            ("p99 ms", "p99_ms", 1),
        ),
    )
    if lines.line("batch") is None:
        return single
    batch = _of(
        lines,
        "batch",
        (("by the batch, messages/s", "messages_per_second", 1), ("p99 ms", "p99_ms", 1)),
    )
    return f"{single}\n\n{batch}"


def burst(lines: Lines) -> str:
    """Many times what is taken, for a while."""
    return _of(
        lines,
        "burst",
        (
            ("messages/s taken before it", "capacity_per_second", 1),
            ("and in it", "messages_per_second", 1),
            ("sent, × the larger", "times", 1),
            ("requests taken", "requests_taken", 1),
            ("429 or 503", "requests_refused", 1),
            ("of these without Retry-After", "without_retry_after", 1),
            ("not sent", "requests_not_sent", 1),
            ("memory, + MiB at its peak", "peak_rss_growth_kib", 1 / 1024),
            ("drained, s", "drained_seconds", 1),
        ),
    )


def latency(lines: Lines) -> str:
    """From the publish over REST to the delivery."""
    columns = (("p50 ms", "p50_ms", 1), ("p99 ms", "p99_ms", 1), ("max ms", "max_ms", 1))
    return _of(lines, "latency", (*columns, ("server's core %", "server_core_busy", 100)))


def connect(lines: Lines) -> str:
    """Connecting, and coming back."""
    return _of(
        lines,
        "connect",
        (
            ("connects/s", "connects_per_second", 1),
            ("CPU ms each", "cpu_ms_per_client", 1),
            ("resumes/s", "resume_connects_per_second", 1),
            ("CPU ms each", "resume_cpu_ms_per_client", 1),
        ),
    )


def resume(lines: Lines) -> str:
    """Many clients that come back at once, after a restart and without one."""
    rows = []
    for line in lines.all:
        if line["entry"] != "resume":
            continue
        reads = line["replay_reads"] + line["log_reads"]
        cells = (
            line["clients"],
            line["messages_replayed"],
            line["seconds"],
            line["clients_per_second"],
            reads,
            line["cpu_ms_per_client"],
        )
        said = [number(value) if isinstance(value, float) else f"{value:,}" for value in cells]
        rows.append([line["mode"], *(said if line["complete"] else [MISSING] * len(said))])
    if not rows:
        return "Not measured yet: `python -m bench.suite --only resume`."
    head = ["server", "clients", "messages", "seconds", "clients/s", "reads", "CPU ms each"]
    return table(head, rows)


def reconnect(lines: Lines) -> str:
    """Clients that are cut off at once."""
    line = lines.line("reconnect")
    if line is None:
        return "Not measured yet: `python -m bench.suite --only reconnect`."
    head = ["cut off", "back", "half of them, ms", "all, ms", "chi-square", "server's core %"]
    head += ["load's core %", "CPU ms each"]
    busy = (line["server_core_busy"] * 100, line["load_core_busy"] * 100)
    values = (line["back_p50_ms"], line["back_max_ms"], line["chi_square"], *busy)
    said = [number(value) for value in (*values, line["cpu_ms_per_client"])]
    counts = [f"{line['cut']:,}", f"{line['recovered']:,}"]
    return table(head, [counts + said if line["complete"] else [MISSING] * len(head)])


def slow(lines: Lines) -> str:
    """Readers that keep up, alone and beside some that do not."""
    return _of(
        lines,
        "slow",
        (
            ("alone, p99 ms", "alone_p99_ms", 1),
            ("beside slow ones, p99 ms", "beside_p99_ms", 1),
            ("beside, × alone", "p99_times", 1),
            ("the worse pair, ×", "p99_times_most", 1),
            ("reset in a write", "reset_while_blocked", 1),
            ("closed as slow", "closed_slow", 1),
            ("memory, + MiB at its peak", "peak_rss_growth_kib", 1 / 1024),
            ("its bound, MiB", "bound_kib", 1 / 1024),
            ("all let go, s", "back_seconds", 1),
            ("kept pace", "kept_pace", 1),
        ),
    )


def scale(lines: Lines) -> str:
    """One process and two."""
    return _of(
        lines,
        "scale",
        (
            ("CPU µs with one", "cpu_us_with_one", 1),
            ("with two", "cpu_us_with_two", 1),
            ("two deliver, × one", "times_one", 1),
            ("kept pace", "kept_pace", 1),
        ),
    )


def machine(lines: Lines) -> str:
    """Say what was measured on, and when."""
    if not lines.all:
        return "Nothing is measured yet: `make bench`."
    processors = Counter(str(line["machine"]["processor"]) for line in lines.all)
    usual = processors.most_common(1)[0][0]
    newest = max(lines.all, key=lambda line: str(line["at"]))
    about = next(line["machine"] for line in lines.all if line["machine"]["processor"] == usual)
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    took = {line["entry"]: line["took_seconds"] for line in lines.all}
    loads = [line["load_average"] for line in lines.all if "load_average" in line]
    busy = f" The load average before each was {min(loads)} to {max(loads)}." if loads else ""
    elsewhere = {
        str(line["entry"]): f"{line['machine']['cores']} cores of {line['machine']['processor']}"
        for line in lines.all
        if line["machine"]["processor"] != usual
    }
    others = ", ".join(f"{entry} ({what})" for entry, what in sorted(elsewhere.items()))
    return (
        f"{about['cores']} cores of {about['processor']}; Python {about['python']}, {versions}. "
        f"Measured from {min(str(line['at']) for line in lines.all)} to {newest['at']} UTC; the "
        f"commands took {sum(took.values()) / 60:.0f} minutes together.{busy}"
        + (f" On another machine: {others}." if others else "")
    )
