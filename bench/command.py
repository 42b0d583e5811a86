"""What the benchmarks' commands share: options, rounds, an end that leaves nothing behind."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from bench.load.dialects import DIALECTS
from bench.machine.cores import LOAD_CORES, allow_open_files, pin
from bench.peers import PEERS
from bench.progress import steps
from bench.report import Figures
from bench.servers.contender import Contender, Server, Site
from bench.servers.elsewhere import Elsewhere, Unreachable
from bench.servers.ours import Ours
from bench.servers.plain import Baseline
from bench.servers.process import ServerFailed

_ROOT: Final = Path(__file__).resolve().parents[1]
# 10,000 sockets, and what a process opens besides.
_OPEN_FILES: Final = 20_000


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark takes."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help="one short round, to see that it runs")
    made.add_argument("--rounds", type=int, default=3, help="fresh servers each; medians count")
    made.add_argument("--only", choices=("ours", "baseline", "peers"), help="leave out the others")
    made.add_argument("--project", type=Path, default=_ROOT, help="the checkout that is ours")
    made.add_argument("--token", default="", help="of ours' subscribers (default: the API key)")
    made.add_argument("--postgres", default="postgres://root@127.0.0.1:5432", help="server URL")
    made.add_argument("--redis", default="redis://127.0.0.1:6379", help="server URL")
    made.add_argument("--payload", type=int, default=310, help="bytes of a message's JSON payload")
    return made


def add_peers(parser: argparse.ArgumentParser) -> None:
    """Add the options that name other servers to measure beside the two."""
    parser.add_argument(
        "--peer",
        action="append",
        choices=(*PEERS, "all"),
        default=[],
        help="measure this one too (more than once; python -m bench.peers installs them)",
    )
    parser.add_argument("--url", default="", help="of a WebSocket server that runs: ws://host:port")
    parser.add_argument("--dialect", default="ours", help=f"url: {', '.join(DIALECTS)}")
    parser.add_argument("--publish", default="", help="url: http://…, nats://… or tcp://…")
    parser.add_argument("--topic", default="", help="url: to subscribe and publish to")
    parser.add_argument("--pid", type=int, default=0, help="url: its process, for CPU and memory")


def run_name() -> str:
    """Name this run: part of every name that it leaves in stores until it ends."""
    return str(os.getpid())


def contenders(options: argparse.Namespace) -> list[Contender]:
    """Return the sides that the options ask for, the baseline first.

    A peer that is not installed is left out, and a line on stderr says how to install it.
    """
    site = Site(options.postgres, options.redis, run_name())
    users = options.users if "users" in options else 0
    ours = Ours(site, project=options.project.resolve(), token=options.token, users=users)
    sides: list[Contender] = [Baseline(site), ours]
    sides = [side for side in sides if options.only in (None, side.name)]
    return sides + (_others(options, site) if "peer" in options else [])


def _others(options: argparse.Namespace, site: Site) -> list[Contender]:
    sides: list[Contender] = []
    for name in PEERS if "all" in options.peer else dict.fromkeys(options.peer):
        peer = PEERS[name](site.run)
        how = peer.missing()
        if how:
            print(f"{name} is left out, it is not installed: {how}", file=sys.stderr)
        else:
            sides.append(peer)
    if options.url:
        named = ("url", "dialect", "publish", "token", "pid", "topic")
        values = {name: getattr(options, name) for name in named}
        sides.append(Elsewhere(**values, run=site.run))
    return sides


async def play(
    sides: Sequence[Contender],
    *,
    rounds: int,
    measure: Callable[[Contender, Server], Awaitable[Figures]],
) -> dict[str, list[Figures]]:
    """Measure each side `rounds` times, in turn, on fresh servers; return the rounds by name.

    In turn, so that a slow minute of the machine falls on all. A peer that fails has a round that
    is not complete; raises ServerFailed when ours, the baseline or a worker of the load fails.
    """
    played: dict[str, list[Figures]] = {side.name: [] for side in sides}
    async with AsyncExitStack() as stack:
        with steps(total=len(sides) * (rounds + 1)) as step:
            for side in sides:
                step(f"{side.name}: preparing")
                await stack.enter_async_context(side.prepared())
            for number in range(1, rounds + 1):
                for side in sides:
                    step(f"{side.name}: round {number} of {rounds}")
                    try:
                        async with side.started() as server:
                            played[side.name].append(await measure(side, server))
                    except ServerFailed as error:
                        if side.name not in PEERS:
                            raise
                        print(f"{side.name}: {error}", file=sys.stderr)
                        played[side.name].append({"complete": False, "failed": str(error)[:500]})
    return played


def run(main: Callable[[], Coroutine[Any, Any, bool]]) -> int:
    """Run a benchmark and return its exit status: 0 complete, 1 not, 2 failed, 130 interrupted.

    SIGINT and SIGTERM end it as an error would: servers ended, databases dropped.
    """
    allow_open_files(_OPEN_FILES)
    pin(0, LOAD_CORES)

    async def interruptible() -> bool:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await main()

    try:
        return 0 if asyncio.run(interruptible()) else 1
    except (ServerFailed, Unreachable) as error:
        print(error, file=sys.stderr)
        return 2
    except asyncio.CancelledError:
        return 130
