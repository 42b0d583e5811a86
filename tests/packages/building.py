"""What users get: the npm tarball and the wheel, made by the commands of a release."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.deployment import ROOT

BROWSER = ROOT / "notifications" / "browser"
NODE_MODULES = BROWSER / "node_modules"

DEADLINE_SECONDS = 100.0

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


def npm_pack(package: Path, target: Path, *options: str) -> Path:
    """Pack a folder as npm does for the registry, and return the tarball."""
    made = run("npm", "pack", "--pack-destination", target, *options, package, cwd=target)
    return target / made.splitlines()[-1]


def npm_install(folder: Path, *tarballs: Path) -> None:
    """Install tarballs into an empty folder; nothing is asked of a registry."""
    (folder / "package.json").write_text('{"private": true, "type": "module"}\n')
    run("npm", "install", "--offline", "--no-audit", "--no-fund", *tarballs, cwd=folder)


def install_client(folder: Path) -> None:
    """Install the client, and what a user of Node 20 adds to it: `ws`, and types.

    Those are packed from what is installed here.
    """
    packed = folder / "packed"
    packed.mkdir()
    names = ("ws", "@types/ws", "@types/node", "undici-types")
    npm_install(
        folder,
        npm_pack(BROWSER, packed),
        *(npm_pack(NODE_MODULES / name, packed, "--ignore-scripts") for name in names),
    )


def compile_in(folder: Path, **options: object) -> None:
    """Compile what a folder holds with the compiler of this project."""
    config = {"compilerOptions": COMPILER_OPTIONS | options, "include": ["*.ts"]}
    (folder / "tsconfig.json").write_text(json.dumps(config))
    run("node", NODE_MODULES / "typescript" / "bin" / "tsc", "-p", folder, cwd=folder)


def build_wheel(target: Path) -> Path:
    """Build the wheel of the Python client and return it.

    From a copy: setuptools leaves folders in the source, and takes up what an older build left.
    """
    source = target / "source"
    left = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "bellwether_client", source, ignore=left)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", target, source, cwd=target)
    (wheel,) = target.glob("bellwether_client-*.whl")
    return wheel
