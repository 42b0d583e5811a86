"""What users get: the npm tarball and the wheel, made by the commands of a release.

Built in a copy of the sources, so that nothing is left in them, and once for all workers of a run.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deployment import ROOT

BROWSER = ROOT / "notifications" / "browser"
NODE_MODULES = BROWSER / "node_modules"

DEADLINE_SECONDS = 100.0

NODE_PACKAGES = ("ws", "@types/ws", "@types/node", "undici-types")
"""What a user of Node 20 adds; packed from what is installed here, so no registry is asked."""

COMPILER_OPTIONS = {
    "target": "ES2022",
    "module": "NodeNext",
    "strict": True,
    "exactOptionalPropertyTypes": True,
    "noUncheckedIndexedAccess": True,
    "skipLibCheck": False,
    "lib": ["ES2022"],
}


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a command that must succeed, and return what it printed on stdout."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env if env is not None else dict(os.environ),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"{command} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that `make` filled, in the first worker of this run that asks for it."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # the workers' own lie in the run's
    folder, making = root / name, root / f"{name}.making"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            shutil.rmtree(making, ignore_errors=True)  # of a worker that failed
            making.mkdir()
            make(making)
            making.rename(folder)
    return folder


# --- npm ----------------------------------------------------------------------------------------


def npm_pack(package: Path, target: Path, *options: str) -> None:
    """Pack a folder as npm does for the registry."""
    run("npm", "pack", "--pack-destination", target, *options, package, cwd=target)


def npm_package(factory: pytest.TempPathFactory) -> Path:
    """Return the tarball of the client; skips where nothing is installed."""
    if shutil.which("npm") is None or not NODE_MODULES.exists():
        pytest.skip("no npm or no node_modules; make test installs them")

    def make(target: Path) -> None:
        browser = target / "notifications" / "browser"
        kept = shutil.ignore_patterns("node_modules", "dist", "tests")
        shutil.copytree(BROWSER, browser, ignore=kept)
        (browser / "node_modules").symlink_to(NODE_MODULES)
        shutil.copy(ROOT / "LICENSE", target)
        npm_pack(browser, target)

    (tarball,) = made_once(factory, "npm", make).glob("*.tgz")
    return tarball


def npm_install(folder: Path, *tarballs: Path) -> None:
    """Install tarballs into an empty folder; nothing is asked of a registry."""
    (folder / "package.json").write_text('{"private": true, "type": "module"}\n')
    run("npm", "install", "--offline", "--no-audit", "--no-fund", *tarballs, cwd=folder)


def install_client(factory: pytest.TempPathFactory, folder: Path) -> None:
    """Install the client into an empty folder, with what a user of Node 20 adds to it."""

    def make(target: Path) -> None:
        for name in NODE_PACKAGES:
            npm_pack(NODE_MODULES / name, target, "--ignore-scripts")

    client = npm_package(factory)
    npm_install(folder, client, *made_once(factory, "npm-others", make).glob("*.tgz"))


def compile_in(folder: Path, **options: object) -> None:
    """Compile what a folder holds with the compiler of this project."""
    config = {"compilerOptions": COMPILER_OPTIONS | options, "include": ["*.ts"]}
    (folder / "tsconfig.json").write_text(json.dumps(config))
    run("node", NODE_MODULES / "typescript" / "bin" / "tsc", "-p", folder, cwd=folder)


# --- pip ----------------------------------------------------------------------------------------


def wheel(factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of the Python client."""

    def make(target: Path) -> None:
        source = target / "source"
        left = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
        shutil.copytree(ROOT / "bellwether_client", source, ignore=left)
        run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", target, source, cwd=target)

    (made,) = made_once(factory, "wheel", make).glob("*.whl")
    return made


def fresh_python(factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that has the wheel, what it needs, and nothing else."""
    client = wheel(factory)

    def make(target: Path) -> None:
        run(sys.executable, "-m", "venv", "--without-pip", target, cwd=target)
        python = target / "bin" / "python"
        run(sys.executable, "-m", "pip", "--python", python, "install", client, cwd=target)

    return made_once(factory, "venv", make) / "bin" / "python"
