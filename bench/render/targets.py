"""The targets: what each asks for, what was measured, and whether that is met. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from bench.render.lines import Lines
from bench.render.published import over_centrifuge
from bench.render.text import MISSING, number, table


class Part(NamedTuple):
    """One condition of a target. met: None where it was not measured."""

    says: str
    met: bool | None


class Target(NamedTuple):
    """A target, and how it is judged."""

    name: str
    asks: str
    entry: str
    judge: Callable[[Lines], list[Part]]


def at_most(what: str, value: float | None, bound: float, unit: str = "") -> Part:
    """Judge a figure that should be small."""
    met = None if value is None else value <= bound
    return Part(f"{what} {number(value, unit)} (≤ {number(bound, unit)})", met)


def at_least(what: str, value: float | None, bound: float, unit: str = "") -> Part:
    """Judge a figure that should be large."""
    met = None if value is None else value >= bound
    return Part(f"{what} {number(value, unit)} (≥ {number(bound, unit)})", met)


def _with_spread(part: Part, spread: tuple[float, float] | None, of: str) -> Part:
    """Say how far a figure varies, where it is near its bound."""
    if spread is None:
        return part
    return part._replace(says=f"{part.says}; {of} {number(spread[0])} to {number(spread[1])}")


def _chains(
    lines: Lines, entry: str, name: str, published: str, bound: float, of: str
) -> list[Part]:
    """Judge ours over Centrifuge through each server that was measured beside it: NATS and nchan.

    Both count: they differ by how a machine treats them, and the truth may lie with either.
    """
    return [
        at_most(
            f"Centrifuge, by {told}, ×",
            over_centrifuge(lines.quotient(entry, "ours", peer, name, of), peer, published),
            bound,
        )
        for peer, told in (("nats", "NATS"), ("nchan", "nchan"))
    ]


def _t1(lines: Lines) -> list[Part]:
    cpu = "cpu_us_per_delivery"
    return [
        at_most("Channels ×", lines.quotient("paced", "ours", "baseline", cpu), 0.05),
        *_chains(lines, "paced", cpu, "paced_cpu", 0.7, ""),
    ]


def _t2(lines: Lines) -> list[Part]:
    quotient = lines.quotient("saturated", "ours", "nats", "cpu_us_per_delivery")
    return [at_most("NATS ×", quotient, 0.6)]


def _t3(lines: Lines) -> list[Part]:
    return _chains(lines, "large", "last_ms", "last_ms", 0.65, "fanout")


def _t4(lines: Lines) -> list[Part]:
    kib = "kib_per_connection_all"
    return [
        at_most("", lines.figure("large", "ours", kib, "memory"), 24, "KiB"),
        *_chains(lines, "large", kib, "kib", 0.8, "memory"),
    ]


def _t5(lines: Lines) -> list[Part]:
    rate = "requests_per_second"
    return [
        at_least("DRF view ×", lines.quotient("publish", "ours", "baseline", rate), 10),
        at_least(
            "batch", lines.figure("batch", "ours", "messages_per_second"), 20_000, "messages/s"
        ),
    ]


def _t6(lines: Lines) -> list[Part]:
    return [
        at_most("p50", lines.figure("latency", "ours", "p50_ms"), 5, "ms"),
        at_most("p99", lines.figure("latency", "ours", "p99_ms"), 25, "ms"),
    ]


def _who(line: Mapping[str, Any] | None) -> str:
    """Say what the clients of a line authenticated with."""
    users = (line or {}).get("settings", {}).get("users", 0)
    return f"tokens of {users:,} users" if users else "one API key"


def _t7(lines: Lines) -> list[Part]:
    resumes = lines.figure("connect", "ours", "resume_connects_per_second")
    parts = [at_least(f"resumes, {_who(lines.line('connect'))},", resumes, 1000, "clients/s")]
    for mode in ("restarted", "warm"):
        line = lines.line("resume", mode=mode)
        whole = line is not None and line["complete"]
        seconds = line["seconds"] if line is not None and whole else None
        reads = None
        if line is not None and whole:
            reads = (line["replay_reads"] + line["log_reads"]) / line["settings"]["topics"]
        parts.append(at_most(f"all caught up, {mode}, {_who(line)},", seconds, 15, "s"))
        parts.append(at_most("log reads per topic", reads, 2))
    return parts


def _t8(lines: Lines) -> list[Part]:
    floor = lines.figure("large", "floor", "growth", "flat")
    ours = lines.figure("large", "ours", "growth", "flat")
    connections = Part(f"1,000 to 10,000 connections × {number(ours)}; no floor measured", None)
    if floor is not None:
        connections = at_most("1,000 to 10,000 connections ×", ours, floor * 1.2)
    patterns = lines.figure("patterns", "ours", "growth_overall")
    met = None if patterns is None else 0.8 <= patterns <= 1.2
    return [connections, Part(f"10 to 100,000 patterns × {number(patterns)} (0.80 to 1.20)", met)]


def _t9(lines: Lines) -> list[Part]:
    part = at_least("one process ×", lines.figure("scale", "ours", "times_one"), 1.8)
    return [_with_spread(part, lines.spread("scale", "ours", "times_one"), "its rounds")]


def _t10(lines: Lines) -> list[Part]:
    busy = lines.figure("large", "ours", "server_core_busy", "idle")
    part = at_most("", None if busy is None else busy * 100, 5, "% of a core")
    least, most = (
        lines.figure("large", "ours", f"server_core_busy_{which}", "idle")
        for which in ("least", "most")
    )
    spread = None if least is None or most is None else (least * 100, most * 100)
    return [_with_spread(part, spread, "thirds of the time")]


TARGETS: Final = (
    Target(
        "T1",
        "paced fan-out to 1,000: CPU per delivery ≤ 0.7 × Centrifuge's, ≤ 1/20 of Channels'",
        "paced",
        _t1,
    ),
    Target("T2", "saturated fan-out: CPU per delivery ≤ 0.6 × NATS's", "saturated", _t2),
    Target(
        "T3", "one message to 10,000: the last has it in ≤ 0.65 × Centrifuge's time", "large", _t3
    ),
    Target("T4", "memory per connection ≤ 24 KiB and ≤ 0.8 × Centrifuge's", "large", _t4),
    Target(
        "T5",
        "durable publishes over REST: ≥ 10 × the DRF view; by the batch ≥ 20,000 messages/s",
        "publish batch",
        _t5,
    ),
    Target("T6", "publish to delivery at 1,000/s: p50 ≤ 5 ms, p99 ≤ 25 ms", "latency", _t6),
    Target(
        "T7",
        "resume ≥ 1,000 clients/s; 5,000 clients with 100 missed each within 15 s, with at most 2 "
        "reads of the log per topic",
        "connect resume",
        _t7,
    ),
    Target(
        "T8",
        "CPU per delivery flat: 1,000 to 10,000 connections as the C floor + 20 %; 10 to 100,000 "
        "patterns ± 20 %",
        "large patterns",
        _t8,
    ),
    Target("T9", "two processes deliver ≥ 1.8 × one, by CPU per delivery", "scale", _t9),
    Target("T10", "10,000 idle connections ≤ 5 % of a core", "large", _t10),
)


def verdict(parts: list[Part]) -> str:
    """Say whether all conditions are met: one that is missed decides, then one not measured."""
    if any(part.met is False for part in parts):
        return "**no**"
    return MISSING if any(part.met is None for part in parts) else "yes"


def targets(lines: Lines) -> str:
    """Write the table of all targets."""
    rows = []
    for target in TARGETS:
        parts = target.judge(lines)
        says = "; ".join(part.says.strip() for part in parts)
        command = f"`python -m bench.suite --only {target.entry}`"
        rows.append([f"{target.name}: {target.asks}", says, verdict(parts), command])
    return table(["target", "measured", "met", "reproduce"], rows, figures=False)
