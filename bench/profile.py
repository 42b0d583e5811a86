"""What a publish costs the server, part by part: where its interpreter is while messages are few.

Paced, as T1 is, with few subscribers, so that the publish is seen and not its deliveries. py-spy
samples who holds the interpreter's lock; a sample counts for the innermost frame that a part
knows. What runs without the lock (system calls, the kernel's part of a write) is in the total and
in no part. Prints one JSON line; bench/README.md explains it.
"""

import argparse
import asyncio
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from bench import command, report
from bench.crowd import CALM_SECONDS, FIRST, Load, crowd
from bench.machine.cores import LOAD_CORES
from bench.report import Figures
from bench.servers.contender import Contender, Server
from bench.servers.process import ServerFailed

# Samples a second; more would slow the server that is looked at.
_RATE: Final = 500
_WARM_SECONDS: Final = 2.0

# The parts, and the paths of the frames that belong to each.
PARTS: Final = {
    "request": ("uvicorn/", "notifications/api/", "channels/routing.py", "accounts/"),
    "log": ("notifications/log/", "psycopg/", "django/db/"),
    "bus": ("notifications/bus/", "channels_redis/", "redis/"),
    "delivery": ("notifications/hub/", "notifications/gateway/", "notifications/protocol/"),
    "timers": ("notifications/process/", "notifications/services/"),
}


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.set_defaults(rounds=1, only="ours")
    parser.add_argument("--subscribers", type=int, default=FIRST + 4)
    parser.add_argument("--rate", type=float, default=50, help="messages/s")
    parser.add_argument("--seconds", type=float, default=20, help="length of a round")
    parser.add_argument("--py-spy", default=shutil.which("py-spy") or "", help="its executable")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.seconds = 4.0
    if not chosen.py_spy:
        parser.error("py-spy is not installed: pip install py-spy, then say --py-spy PATH")
    return chosen


def part_of(stack: str) -> str | None:
    """Return the part that a stack is in, as py-spy writes it: frames from outside in, by `;`."""
    for frame in reversed(stack.split(";")):
        for part, paths in PARTS.items():
            if any(path in frame for path in paths):
                return part
    return None


def shares(lines: Iterable[str]) -> dict[str, float]:
    """Count samples by part; `other` is what no part knows. Returns shares of all samples."""
    counts: Counter[str] = Counter()
    for line in lines:
        stack, _, samples = line.rpartition(" ")
        counts[part_of(stack) or "other"] += int(samples)
    return {part: counts[part] / counts.total() for part in (*PARTS, "other") if counts[part]}


async def measure(server: Server, chosen: argparse.Namespace) -> Figures:
    """Connect, publish at a pace, and look meanwhile."""
    load = Load(
        chosen.subscribers, round(chosen.rate * chosen.seconds), chosen.rate, chosen.payload
    )
    async with crowd(server) as group:
        made = await group.connect(load.subscribers)
        await group.warm(load.payload_bytes)
        await asyncio.sleep(CALM_SECONDS)
        looking = asyncio.create_task(_look(chosen, server.pid))
        delivered = await group.deliver(load)
        seen = await looking
    per_delivery = delivered["cpu_us_per_delivery"]
    return {
        "complete": made["complete"] and delivered["complete"],
        "kept_pace": delivered["kept_pace"],
        "cpu_us_per_publish": per_delivery * load.subscribers if per_delivery else None,
        "shares": {part: round(share, 3) for part, share in shares(seen).items()},
    }


async def _look(chosen: argparse.Namespace, pid: int) -> list[str]:
    """Sample a process while it is at work; return the stacks that were seen, with their counts."""
    await asyncio.sleep(_WARM_SECONDS / 2)
    seconds = max(1, int(chosen.seconds - _WARM_SECONDS))
    process = await asyncio.create_subprocess_exec(
        *("taskset", "-c", ",".join(map(str, sorted(LOAD_CORES)))),
        *(chosen.py_spy, "record", "--pid", str(pid), "--duration", str(seconds)),
        *("--rate", str(_RATE), "--gil", "--nonblocking", "--format", "raw"),
        *("--output", "/dev/stdout"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stacks, said = await process.communicate()
    lines = [line for line in stacks.decode().splitlines() if line.rpartition(" ")[2].isdigit()]
    if process.returncode or not lines:
        raise ServerFailed(f"py-spy saw nothing: {said.decode().strip()}")
    return lines


async def main() -> bool:
    """Measure ours, print the result, tell whether it is complete."""
    chosen = options()

    async def measured(side: Contender, server: Server) -> Figures:
        return await measure(server, chosen)

    sides = [side for side in command.contenders(chosen) if side.name == "ours"]
    played = await command.play(sides, rounds=1, measure=measured)
    settings = {name: getattr(chosen, name) for name in ("subscribers", "rate", "seconds")}
    result: dict[str, Any] = {"benchmark": "profile", "settings": settings, **played["ours"][0]}
    report.emit(result)
    return bool(result["complete"])


if __name__ == "__main__":
    sys.exit(command.run(main))
