"""The npm package from an empty folder: what is in it, and that it compiles and converses."""

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.deployment import ROOT, Deployment
from tests.packages.building import (
    NODE_MODULES,
    compile_in,
    install_client,
    npm_install,
    npm_package,
    run,
)
from tests.packages.conversing import converse, make_key, running

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

SERVICE = ROOT / "tests" / "packages" / "programs" / "service.ts"


@pytest.fixture
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return npm_package(tmp_path_factory)


def read(tarball: Path) -> dict[str, str]:
    """Return the package's files by their path."""
    with tarfile.open(tarball) as archive:
        return {
            member.name.removeprefix("package/"): archive.extractfile(member).read().decode()  # type: ignore[union-attr]
            for member in archive.getmembers()
        }


def test_what_is_in_it(tarball: Path) -> None:
    files = read(tarball)
    declarations = {name for name in files if name.endswith(".d.ts")}
    assert "dist/index.d.ts" in declarations
    code = {"dist/index.js", "dist/sharing.js"}
    assert set(files) - declarations == {"package.json", "README.md", "LICENSE"} | code
    assert not [name for name in code if "dashboard" in files[name]]
    for name, text in files.items():
        assert str(ROOT) not in text, name
        assert "sourceMappingURL" not in text, name
    package = json.loads(files["package.json"])
    assert not {"dependencies", "peerDependencies", "private"} & set(package)


def test_a_page_compiles_with_this_package_alone(tarball: Path, tmp_path: Path) -> None:
    npm_install(tmp_path, tarball)
    (tmp_path / "page.ts").write_text(
        'import { createNotificationClient } from "@bellwether/client";\n'
        'const client = createNotificationClient({ url: "wss://a/ws", auth: "key" });\n'
        'client.subscribe<number>("user.7.*", ({ payload }) => void payload.toFixed());\n'
    )
    compile_in(tmp_path, lib=["ES2022", "DOM"])
    compile_in(tmp_path, module="ESNext", moduleResolution="Bundler", lib=["ES2022", "DOM"])
    # With neither the DOM's types nor Node's: the package brings what it speaks of.
    compile_in(tmp_path, types=[])
    page = tmp_path / "page.ts"
    page.write_text(page.read_text() + "client.subscribe(7, () => undefined);\n")
    with pytest.raises(AssertionError, match="not assignable to parameter of type 'string'"):
        compile_in(tmp_path, lib=["ES2022", "DOM"])


def test_a_bundler_takes_what_is_used(tarball: Path, tmp_path: Path) -> None:
    npm_install(tmp_path, tarball)

    def bundle(code: str) -> str:
        (tmp_path / "page.js").write_text(code)
        esbuild = NODE_MODULES / ".bin" / "esbuild"
        return run(esbuild, "page.js", "--bundle", "--format=esm", "--minify", cwd=tmp_path)

    assert bundle('import "@bellwether/client";').strip() == "", "it has no side effects"
    used = bundle('import { isPattern } from "@bellwether/client"; console.log(isPattern("a.*"));')
    whole = bundle('export { createNotificationClient } from "@bellwether/client";')
    assert len(used) < len(whole) / 4, "what is not used is left out"


@pytest.mark.sqlite
def test_a_node_service_compiles_and_converses(
    embedded: Deployment, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path / "service"
    folder.mkdir()
    install_client(tmp_path_factory, folder)
    shutil.copy(SERVICE, folder)
    compile_in(folder, types=["node"])

    key, server = make_key(embedded), embedded.start()
    node = shutil.which("node")
    assert node is not None
    command = (node, "service.js", server.socket_url, key)
    with running(command, folder, {"PATH": ""}) as program:
        converse(program, server, key)
