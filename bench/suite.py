"""The whole suite in one go: what docs/performance.md shows. `make bench` runs it.

Each entry of ENTRIES is a command of this folder. Its lines are put into docs/performance.jsonl as
soon as it ends, in place of those it left there before, and the page is rendered from them; so a
part of the suite can be run again alone (`--only NAME`). An entry that fails leaves
its old lines, is named at the end, and the exit status is 1. With --quick the lines go to
build/bench/quick.jsonl, and the page stays as it is.
"""

import argparse
import asyncio
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench import render
from bench.peers import PEERS

_ROOT: Final = Path(__file__).resolve().parents[1]
_QUICK: Final = _ROOT / "build" / "bench" / "quick.jsonl"
# After SIGTERM: a command ends its servers and drops its databases in this time.
_END_SECONDS: Final = 30.0


class Entry(NamedTuple):
    """One command of the suite.

    seconds: after so many it has failed; several times what it takes on a machine of its own.
    """

    name: str
    command: str
    seconds: float


_ALL_PEERS: Final = " ".join(f"--peer {name}" for name in PEERS)
_FEW_PEERS: Final = "--peer nats --peer nchan --peer floor"

ENTRIES: Final = (
    Entry("paced", f"bench.fanout --rounds 2 --seconds 6 {_ALL_PEERS}", 600),
    Entry("saturated", f"bench.fanout --mode saturated --batch 50 --rounds 2 {_FEW_PEERS}", 600),
    Entry("large", f"bench.large --seconds 3 --idle-seconds 30 {_FEW_PEERS}", 900),
    Entry("patterns", "bench.flat --by patterns --seconds 4 --steps 10 100000", 900),
    Entry("publish", "bench.publish --rounds 2", 240),
    Entry("batch", "bench.publish --mode batch --rounds 2", 240),
    Entry("burst", "bench.publish --mode burst", 240),
    Entry("latency", "bench.latency --rounds 2 --seconds 8", 240),
    Entry("connect", "bench.connect --rounds 1 --users 1000 --peer nats --peer nchan", 360),
    Entry(
        "resume",
        "bench.resume --clients 5000 --users 1000 --missed 100 --topics 50 --timeout 240",
        600,
    ),
    Entry("reconnect", "bench.reconnect", 240),
    Entry("slow", "bench.slow", 240),
    Entry("scale", "bench.scale --rounds 3 --baseline-rounds 1 --seconds 4", 360),
)


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [entry.name for entry in ENTRIES]
    parser.add_argument("--quick", action="store_true", help="each in its short form")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--results", type=Path, help=f"default: {render.STORED.name} in docs/")
    chosen = parser.parse_args(arguments)
    chosen.results = chosen.results or (_QUICK if chosen.quick else render.STORED)
    return chosen


def stored(path: Path) -> list[dict[str, Any]]:
    """Read the lines that are there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def replaced(
    old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]], entry: str
) -> list[dict[str, Any]]:
    """Put an entry's new lines in place of its old ones, all in the order of ENTRIES."""
    names = [each.name for each in ENTRIES]
    kept = [line for line in old if line["entry"] != entry and line["entry"] in names]
    return sorted([*kept, *new], key=lambda line: names.index(line["entry"]))


def write(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write all lines anew, as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    part.replace(path)


async def play(entry: Entry, *, quick: bool) -> list[dict[str, Any]]:
    """Run one command and return its lines; none when it failed, which stderr tells."""
    arguments = [*shlex.split(entry.command), *(["--quick"] if quick else [])]
    began, load = time.time(), os.getloadavg()[0]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments),
        cwd=_ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
        start_new_session=True,
    )
    out = b""
    try:
        out, _ = await asyncio.wait_for(process.communicate(), entry.seconds)
    except TimeoutError:
        print(f"{entry.name}: not done after {entry.seconds:.0f} s", file=sys.stderr)
    finally:
        await _end(process)
    # 1: it has figures, and says itself that they are not complete.
    if process.returncode not in (0, 1):
        return []
    about = {
        "entry": entry.name,
        "command": f"python -m {' '.join(arguments)}",
        "at": time.strftime("%Y-%m-%d %H:%M", time.gmtime(began)),
        "took_seconds": round(time.time() - began, 1),
        # Of the last minute before it began, its predecessor in the suite included.
        "load_average": round(load, 1),
    }
    return [about | json.loads(line) for line in out.splitlines() if line.startswith(b"{")]


async def _end(process: asyncio.subprocess.Process) -> None:
    """Have a command that still runs clean up, then make sure that it is gone."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _END_SECONDS)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def main(chosen: argparse.Namespace) -> bool:
    """Run the entries one after the other; tell whether all have complete lines."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    began, failed = time.monotonic(), []
    for entry in ENTRIES:
        if chosen.only and entry.name not in chosen.only:
            continue
        print(f"== {entry.name}: python -m {entry.command}", file=sys.stderr)
        lines = await play(entry, quick=chosen.quick)
        if not lines or not all(line.get("complete") for line in lines):
            failed.append(entry.name)
        if lines:
            write(chosen.results, replaced(stored(chosen.results), lines, entry.name))
            if chosen.results == render.STORED:
                render.write(stored(chosen.results))
    minutes = (time.monotonic() - began) / 60
    print(f"== {minutes:.1f} minutes, results in {chosen.results}", file=sys.stderr)
    if failed:
        print(f"== failed or not complete: {', '.join(failed)}", file=sys.stderr)
    return not failed


if __name__ == "__main__":
    try:
        sys.exit(0 if asyncio.run(main(options())) else 1)
    except asyncio.CancelledError:
        sys.exit(130)
