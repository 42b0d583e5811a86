"""Whole commands, against the cheapest server that there is."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import peers
from bench.peers.__main__ import main as install

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not shutil.which("gcc"), reason="the floor is built by gcc"),
]


def run(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", *arguments, "--quick", "--only", "peers", "--peer", "floor"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr.decode()
    [line] = done.stdout.splitlines()
    made: dict[str, Any] = json.loads(line)
    return made


@pytest.fixture(scope="module", autouse=True)
def floor() -> None:
    assert install(["floor"]) == 0
    assert peers.PEERS["floor"]("").missing() is None


def test_a_fan_out_reaches_everyone_and_costs_something() -> None:
    made = run("bench.fanout")
    assert made["complete"]
    assert made["floor"]["received"] == made["floor"]["expected"] == 200 * 100
    assert made["floor"]["cpu_us_per_delivery"] > 0


def test_clients_connect_and_come_back() -> None:
    made = run("bench.connect")
    assert made["complete"]
    assert made["floor"]["connects_per_second"] > 0
    assert made["floor"]["resume_connects_per_second"] > 0
