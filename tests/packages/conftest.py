"""Packages, each built once for all tests of a process, and programs that use them."""

from pathlib import Path

import pytest

from tests.packages.building import BROWSER, NODE_MODULES, build_wheel, npm_pack


@pytest.fixture(scope="session")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The npm package."""
    if not NODE_MODULES.exists():
        pytest.skip("no node_modules; make test installs them")
    return npm_pack(BROWSER, tmp_path_factory.mktemp("npm"))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python client's wheel."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))
