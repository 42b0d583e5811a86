"""Redis and PostgreSQL are away under load: killed, or alive and silent. Real ones, of our own."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import pytest

from tests.delivery import fault_publishers, fault_subscriber
from tests.delivery.fault_run import FaultRun, Parameters, fault_run
from tests.delivery.history import Invoked, Unknown, read_history
from tests.delivery.outages import OutageRun, PostgresOutage, RedisOutage
from tests.delivery.report import Report
from tests.delivery.wishes import WISHES, Wish
from tests.deployment import Deployment
from tests.private_servers import PrivateServer, private_postgres, private_redis
from tests.resilience.observed import DEPLOYED, MIB

pytestmark = [pytest.mark.server, pytest.mark.postgres, pytest.mark.redis]

STAY: tuple[Wish, ...] = tuple(wish for wish in WISHES if wish.habits.stays is None)
"""Those whose sockets are not closed by anybody. Only they are there while the database is away:
whoever came then would be told to come again."""

GROWN = 48 * MIB
"""Memory that a server may have more at the end than before the first outage: its replay cache
fills whatever happens, and the allocator keeps what it had once."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have clients wait for longer than any answer takes, so that giving up is a hang."""
    monkeypatch.setattr(fault_publishers, "PATIENCE", 15.0)
    monkeypatch.setattr(fault_subscriber, "SILENCE", 15.0)


class Apart(Deployment):
    """A deployment whose database goes with the server that it is in."""

    def close(self) -> None:
        for server in self.servers:
            server.stop()


async def run(
    deployment: Deployment, directory: Path, parameters: Parameters, run: Callable[..., OutageRun]
) -> tuple[Report, OutageRun]:
    made: list[OutageRun] = []

    def make(*arguments: object) -> FaultRun:
        made.append(run(*arguments))
        return made[0]

    deployment.env.update(DEPLOYED)
    report = await fault_run(deployment, directory, parameters, make)
    print(f"\n{report}")
    for before, after in zip(made[0].before, made[0].after, strict=True):
        print(f"before {before}\nafter  {after}")
        assert after.resident - before.resident < GROWN
    assert not report.anomalies, str(report)
    # How many are answered in the short phases between outages is a matter of the machine; what
    # counts is that in the end all were, but the run's own probes, which nobody repeats.
    assert not [reason for reason in report.invalid if "quiet phases" not in reason], str(report)
    probes = parameters.kills * len(made[0].servers)
    assert report.counts["acknowledged"] >= report.counts["published"] - probes, str(report)
    assert report.counts["faults"] == parameters.kills
    assert not report.counts["gaps"]
    assert not [name for name in report.counts if name.startswith("recovered: false")], str(report)
    stay = {wish.name for wish in STAY}
    for one in made[0].subscribers:
        assert one.state.name not in stay or not one.broken, (
            f"{one.state.name}: a socket broke that had to stay"
        )
    return report, made[0]


def refusals(directory: Path) -> list[tuple[str, float]]:
    """Return why publishes were not answered with success, and after how many seconds."""
    began: dict[tuple[str, str], float] = {}
    found = []
    for event in read_history(directory / "history.jsonl"):
        if isinstance(event, Invoked):
            began[event.publisher, event.key] = event.at
        elif isinstance(event, Unknown):
            found.append((event.reason, event.at - began[event.publisher, event.key]))
    return found


# --- Redis ----------------------------------------------------------------------------------------


@pytest.fixture
def redis() -> Iterator[PrivateServer]:
    with private_redis() as redis:
        yield redis


@pytest.mark.timeout(150)
async def test_without_redis_the_log_is_delivered(
    cluster: Deployment, tmp_path: Path, redis: PrivateServer
) -> None:
    await without_redis(cluster, tmp_path, redis, Parameters(seconds=9, kills=2, down=2.5, rate=40))


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_without_redis_the_log_is_delivered_again_and_again(
    cluster: Deployment, tmp_path: Path, redis: PrivateServer
) -> None:
    await without_redis(cluster, tmp_path, redis, Parameters(seconds=90, kills=6, down=8, rate=40))


async def without_redis(
    cluster: Deployment, directory: Path, redis: PrivateServer, parameters: Parameters
) -> None:
    cluster.env["REDIS_URL"] = redis.url  # type: ignore[attr-defined]
    cluster.manage("policy", "passing.*", "--ephemeral")
    make = partial(RedisOutage, victim=redis)
    await run(cluster, directory, parameters, make)
    assert refusals(directory) == []


# --- PostgreSQL -----------------------------------------------------------------------------------

ANSWERED = 3.0
"""Seconds in which most refusals are seen: the contract's two and what a busy machine adds."""


@pytest.fixture
def postgres() -> Iterator[PrivateServer]:
    with private_postgres() as postgres:
        yield postgres


@pytest.fixture
def apart(
    postgres: PrivateServer, templates: dict[str, Deployment], tmp_path: Path
) -> Iterator[Deployment]:
    """A deployment on a PostgreSQL of its own."""
    env = Deployment.template("postgres", templates, tmp_path).env
    apart = Apart("postgres", tmp_path, env | {"DATABASE_URL": postgres.url})  # type: ignore[attr-defined]
    apart.env["NOTIFICATIONS_BUS_PREFIX"] = f"bw_apart_{postgres.port}"
    apart.manage("migrate", "--verbosity", "0")
    yield apart
    apart.close()


@pytest.mark.long
@pytest.mark.timeout(150)
async def test_without_postgresql_publishers_are_told_and_nothing_is_lost(
    apart: Deployment, tmp_path: Path, postgres: PrivateServer
) -> None:
    await without_postgres(
        apart, tmp_path, postgres, Parameters(seconds=9, kills=2, down=2.5, rate=40, wishes=STAY)
    )


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_without_postgresql_again_and_again(
    apart: Deployment, tmp_path: Path, postgres: PrivateServer
) -> None:
    await without_postgres(
        apart, tmp_path, postgres, Parameters(seconds=90, kills=6, down=9, rate=40, wishes=STAY)
    )


async def without_postgres(
    apart: Deployment, directory: Path, postgres: PrivateServer, parameters: Parameters
) -> None:
    await run(apart, directory, parameters, partial(PostgresOutage, victim=postgres))
    found = refusals(directory)
    waits = [seconds for _, seconds in found]
    print(f"{len(found)} refused, after {median(waits):.2f} s, {max(waits):.2f} s at most")
    assert {reason for reason, _ in found} <= {"503", "UNAVAILABLE", "ConnectionError"}, found
    assert median(waits) < ANSWERED
