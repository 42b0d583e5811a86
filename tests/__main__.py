"""Run the tests on every backend that answers: `python -m tests [--fast | --long]`.

1. everything, with the in-process database tests on PostgreSQL;
2. the in-process database tests again, on SQLite;
3. the TypeScript tests.

Prints at the end which backends were exercised. With CI=true a backend that could not be
exercised fails the run; otherwise it is skipped and named.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time

from tests.backends import POSTGRES, REDIS, postgres_answers, redis_answers
from tests.deployment import ROOT

WORKERS = "3"
"""Processes of pytest: one more than the two cores that this is made for, as tests often wait."""

UNWANTED = ("DATABASE_URL", "REDIS_URL", "DEBUG", "PYTHONDONTWRITEBYTECODE")
"""Of the environment. Each process would compile all tests anew if none kept what it made."""

IN_CI = os.environ.get("CI") == "true"


def main() -> int:
    """Run the stages and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="no server processes, no browser")
    parser.add_argument("--long", action="store_true", help="the long forms too")
    options = parser.parse_args()

    lacking = [
        name
        for name, is_there in {
            "PostgreSQL": postgres_answers(),
            "Redis": redis_answers(),
            "Chromium": shutil.which("chromium") is not None,
            "Node": shutil.which("npx") is not None,
        }.items()
        if not is_there
    ]
    marks = "" if options.long else "not long"
    results: dict[str, bool] = {}
    if options.fast:
        quick = " and ".join(filter(None, [marks, "not server and not browser and not thorough"]))
        results["SQLite"] = run_pytest(quick, {}, require="sqlite")
    else:
        if postgres_answers():
            env = {
                "DATABASE_URL": f"{POSTGRES.rsplit('/', 1)[0]}/bellwether",
                "REDIS_URL": REDIS,
                # asgiref's threads keep the connections of views that ran in asynchronous tests.
                "DATABASE_POOL_SIZE": "32",
            }
            required = "postgres redis sqlite browser" if IN_CI else ""
            results["PostgreSQL, Redis, SQLite, Chromium"] = run_pytest(
                marks, env, require=required
            )
        typescript = None
        if "Node" not in lacking:
            # Beside the next stage, and printed after it.
            typescript = subprocess.Popen(
                ["npm", "--prefix", "notifications/browser", "test"],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        in_process = " and ".join(filter(None, [marks, "django_db and not server and not browser"]))
        results["SQLite in process"] = run_pytest(in_process, {}, require="sqlite")
        if typescript is not None:
            print(typescript.communicate()[0], flush=True)
            results["TypeScript"] = typescript.returncode == 0

    print("\nstage                                 result")
    for name, passed in results.items():
        print(f"{name:<37} {'passed' if passed else 'FAILED'}")
    if lacking:
        print(f"not exercised, because not found here: {', '.join(lacking)}")
    failed = not all(results.values()) or (IN_CI and bool(lacking))
    return 1 if failed else 0


def run_pytest(marks: str, env: dict[str, str], *, require: str) -> bool:
    """Run pytest over what the marks select; fail when a required backend was not exercised."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", WORKERS, "-m", marks]
    return run(command, env | {"TEST_REQUIRE": require})


def run(command: list[str], env: dict[str, str]) -> bool:
    """Run a command in the project's folder, with its output; return whether it succeeded."""
    started = time.monotonic()
    clean = {k: v for k, v in os.environ.items() if k not in UNWANTED}
    done = subprocess.run(command, cwd=ROOT, env=clean | env, check=False)
    print(f"({time.monotonic() - started:.0f} s)", flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
