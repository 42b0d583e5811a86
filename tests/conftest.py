"""Fixtures for all tests, and the line that says which backends were exercised."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from hypothesis import HealthCheck
from hypothesis import settings as settings_of_hypothesis

from notifications.services.writer import close_writer
from tests.backends import POSTGRES, postgres_answers, redis_answers
from tests.deployment import Deployment
from tests.scheduling import Scheduling

exercised: Counter[str] = Counter()

TURN = pytest.StashKey[int]()

# How fast examples are made depends on what else the machine does.
settings_of_hypothesis.register_profile("ours", suppress_health_check=[HealthCheck.too_slow])
settings_of_hypothesis.load_profile("ours")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests, and skip, saying so, what needs a service that is not there.

    In CI a service that is not there is a failure. What takes long comes first and quick tests
    last, so that all processes end together; others go beside those that wait for servers.
    """
    for number, item in enumerate(items):
        takes_long = item.get_closest_marker("timeout") is not None
        is_quick = item.get_closest_marker("server") is None
        item.stash[TURN] = 0 if takes_long else 2 if is_quick and number % 2 else 1
    items.sort(key=lambda item: item.stash[TURN])
    missing = {
        "postgres": not postgres_answers(),
        "redis": not redis_answers(),
    }
    for item in items:
        for service, is_missing in missing.items():
            if is_missing and item.get_closest_marker(service):
                item.add_marker(pytest.mark.skip(reason=f"no {service} answers"))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Distribute the tests over the processes."""
    return Scheduling(config, log)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count what ran against which backend."""
    if report.when == "call" and report.passed:
        for service in ("postgres", "redis", "browser"):
            if service in report.keywords:
                exercised[service] += 1
        if "sqlite" in report.keywords or (
            "django_db" in report.keywords
            and settings.DATABASES["default"]["ENGINE"].endswith("sqlite3")
        ):
            exercised["sqlite"] += 1
        elif "django_db" in report.keywords:
            exercised["postgres"] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which backends were exercised, and by how many tests."""
    counts = ", ".join(f"{name} {count}" for name, count in sorted(exercised.items()))
    terminalreporter.write_line(f"backends exercised: {counts or 'none'}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that did not exercise what TEST_REQUIRE names."""
    required = os.environ.get("TEST_REQUIRE", "").split()
    lacking = [name for name in required if not exercised[name]]
    if lacking and not hasattr(session.config, "workerinput"):
        print(f"\nrequired but not exercised: {', '.join(lacking)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Make the test database, and let go of it before it is dropped.

    Threads that asgiref keeps for the views of asynchronous tests hold connections that no code
    of ours can reach; PostgreSQL is asked to end those.
    """
    yield
    close_writer()
    if settings.DATABASES["default"]["ENGINE"].endswith("postgresql"):
        with psycopg.connect(POSTGRES, autocommit=True) as server:
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [connection.settings_dict["NAME"]],
            )


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Deployment]]:
    """Migrated databases that deployments are copied from, made when first needed."""
    made: dict[str, Deployment] = {}
    yield made
    for deployment in made.values():
        deployment.close()


def _deployment(
    backend: str,
    request: pytest.FixtureRequest,
    templates: dict[str, Deployment],
    directory: Path,
) -> Iterator[Deployment]:
    prepared = request.node.get_closest_marker("prepared")
    commands = prepared.args if prepared is not None else ()
    template = Deployment.template(backend, templates, directory, *commands)
    deployment = Deployment.create(backend, directory, template)
    yield deployment
    deployment.close()


@pytest.fixture(
    params=[
        pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.redis]),
        pytest.param("sqlite", marks=pytest.mark.sqlite),
    ]
)
def deployment(
    request: pytest.FixtureRequest, templates: dict[str, Deployment], tmp_path: Path
) -> Iterator[Deployment]:
    """An own deployment, on each backend."""
    yield from _deployment(request.param, request, templates, tmp_path)


@pytest.fixture
def cluster(
    request: pytest.FixtureRequest, templates: dict[str, Deployment], tmp_path: Path
) -> Iterator[Deployment]:
    """An own deployment on PostgreSQL and Redis; mark the test `postgres` and `redis`."""
    yield from _deployment("postgres", request, templates, tmp_path)


@pytest.fixture
def embedded(
    request: pytest.FixtureRequest, templates: dict[str, Deployment], tmp_path: Path
) -> Iterator[Deployment]:
    """An own deployment on SQLite and the in-process layer."""
    yield from _deployment("sqlite", request, templates, tmp_path)
