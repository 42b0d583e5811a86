"""Many Python clients are cut off at once: when do they come back, and what does it cost.

Ours alone. Prints one JSON line, both histograms in it (`spread`, `back`) and drawn on stderr;
bench/README.md explains it. The first delay is 4 s, not the 1 s of a client that nobody configured:
what 1,000 clients need to connect is over a second of the core that they share, and would blur how
their waits are spread. So `back` says nothing of how soon clients are back by default: for that,
--delay 1000.
"""

import argparse
import asyncio
import sys
import time
from contextlib import AsyncExitStack
from typing import Any, Final

from bench import command, report
from bench.load.evenness import CRITICAL, bars, chi_square, histogram
from bench.load.relay import Relay
from bench.machine.usage import cpu_seconds
from bench.progress import steps
from bench.servers.contender import Server, Site
from bench.servers.ours import Ours
from bench.servers.worker import Worker, worker

JITTER: Final = 0.3
"""Share of the delay that chance adds or takes (docs/clients/behaviour.md, Retries)."""

_CONNECTS_AT_ONCE: Final = 25
_SETTLE_SECONDS: Final = 2.0


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command.parser(__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2, help="that the clients live in")
    parser.add_argument(
        "--delay",
        type=float,
        default=4000,
        help="the first retry's, ms; by default clients have 1,000",
    )
    parser.add_argument("--timeout", type=float, default=120, help="seconds until all are back")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.clients, chosen.delay = 100, 1000
    return chosen


def figures(times: list[dict[str, Any]], cut_at: float, delay: float) -> dict[str, Any]:
    """Judge when clients came back. times: monotonic seconds; delay: of the first retry, ms.

    The waits, from the loss to the first attempt, are compared with an even spread over the
    delay's jitter; that of the connections is `back`, from the cut.
    """
    low, high = delay * (1 - JITTER), delay * (1 + JITTER)
    lost = [one for one in times if one["lost"] is not None]
    tried = [one for one in lost if one["tried"] is not None]
    back = sorted((one["back"] - cut_at) * 1e3 for one in lost if one["back"] is not None)
    planned = histogram([one["delay"] for one in lost], low, high)
    waited = histogram([(one["tried"] - one["lost"]) * 1e3 for one in tried], low, high)
    far = max(back, default=high)
    statistic = chi_square(planned)
    return {
        "complete": len(back) == len(times) and statistic < CRITICAL,
        "recovered": len(back),
        "first_try": sum(one["tries"] == 1 for one in lost),
        "spread": {"from_ms": low, "to_ms": high, "planned": planned, "waited": waited},
        "outside": sum(not low <= one["delay"] <= high for one in lost),
        "chi_square": round(statistic, 2),
        "chi_square_waited": round(chi_square(waited), 2),
        "even": statistic < CRITICAL,
        "back": {"from_ms": low, "to_ms": round(far, 1), "counts": histogram(back, low, far)},
        "back_p50_ms": round(back[len(back) // 2], 1) if back else None,
        "back_max_ms": round(back[-1], 1) if back else None,
    }


async def measure(server: Server, token: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Connect all, cut all, wait until all are back; return the figures."""
    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(Relay(server.endpoint.port))
        workers = [
            await stack.enter_async_context(worker("bench.load.reconnecting"))
            for _ in range(chosen.processes)
        ]
        await _connect(workers, relay, token, chosen)
        await asyncio.sleep(_SETTLE_SECONDS)
        used, load = cpu_seconds(server.pid), _load_cpu(workers)
        cut_at = time.monotonic()
        cut = relay.reset()
        answers = await asyncio.gather(
            *(
                each.ask("come_back", within=chosen.timeout + 10, timeout=chosen.timeout)
                for each in workers
            )
        )
        used, load = cpu_seconds(server.pid) - used, _load_cpu(workers) - load
        times = [one for answer in answers for one in answer["times"]]
        made = figures(times, cut_at, chosen.delay)
        seconds = (made["back_max_ms"] or 0) / 1e3
        await asyncio.gather(*(each.ask("leave", within=40, timeout=30) for each in workers))
    return {
        **made,
        "complete": made["complete"] and cut == chosen.clients,
        "cut": cut,
        "seconds": round(seconds, 3),
        "cpu_ms_per_client": round(used * 1e3 / max(1, made["recovered"]), 3),
        "server_core_busy": round(used / seconds, 3) if seconds else None,
        "load_core_busy": round(load / seconds, 3) if seconds else None,
    }


def _load_cpu(workers: list[Worker]) -> float:
    return time.process_time() + sum(cpu_seconds(each.pid) for each in workers)


async def _connect(
    workers: list[Worker], relay: Relay, token: str, chosen: argparse.Namespace
) -> None:
    shares = [
        chosen.clients // len(workers) + (number < chosen.clients % len(workers))
        for number in range(len(workers))
    ]
    await asyncio.gather(
        *(
            each.ask(
                "connect",
                within=chosen.timeout + 10,
                url=f"ws://127.0.0.1:{relay.port}/ws",
                token=token,
                topic="bench.reconnect",
                count=share,
                at_once=_CONNECTS_AT_ONCE,
                delay=chosen.delay,
                timeout=chosen.timeout,
            )
            for each, share in zip(workers, shares, strict=True)
        )
    )


def show(made: dict[str, Any]) -> None:
    """Draw both histograms on stderr."""
    spread, back = made["spread"], made["back"]
    print("waits before the first retry:", file=sys.stderr)
    for line in bars(spread["waited"], spread["from_ms"], spread["to_ms"]):
        print(line, file=sys.stderr)
    print("back, after the cut:", file=sys.stderr)
    for line in bars(back["counts"], back["from_ms"], back["to_ms"]):
        print(line, file=sys.stderr)


async def main() -> bool:
    """Measure, print the result, tell whether it is complete."""
    chosen = options()
    ours = Ours(
        Site(chosen.postgres, chosen.redis, command.run_name()),
        project=chosen.project.resolve(),
        token=chosen.token,
    )
    with steps(total=2) as step:
        step("preparing")
        async with ours.prepared(), ours.started() as server:
            step(f"{chosen.clients} clients are cut off")
            made = await measure(server, server.target.token, chosen)
    show(made)
    settings = {
        "clients": chosen.clients,
        "processes": chosen.processes,
        "delay_ms": chosen.delay,
        "jitter": JITTER,
    }
    result = {"benchmark": "reconnect", **made, "settings": settings}
    report.emit(result | {"machine": report.machine()})
    return bool(made["complete"])


if __name__ == "__main__":
    sys.exit(command.run(main))
