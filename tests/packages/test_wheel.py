"""The wheel from an empty folder: what is in it, and that it is typed and converses."""

import shutil
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import bellwether_client
from tests.deployment import ROOT, Deployment
from tests.packages.building import fresh_python, run, wheel
from tests.packages.conversing import converse, make_key, running

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

HERE = Path(__file__).parent


@pytest.fixture
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fresh_python(tmp_path_factory)


def test_what_is_in_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    with zipfile.ZipFile(wheel(tmp_path_factory)) as archive:
        names = set(archive.namelist())
        (described,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(described).decode())
    assert "bellwether_client/py.typed" in names
    assert any(name.endswith("LICENSE") for name in names)
    modules = {path.name for path in (ROOT / "bellwether_client").glob("*.py")}
    assert {f"bellwether_client/{name}" for name in modules} <= names, "no module is left out"
    assert all(name.startswith(("bellwether_client/", "bellwether_client-")) for name in names)
    required = metadata.get_all("Requires-Dist") or []
    always = [line for line in required if "extra ==" not in line]
    assert len(always) == 1
    assert always[0].startswith("websockets")
    assert metadata.get_all("Provides-Extra") == ["msgpack"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Version"] == bellwether_client.__version__
    assert "bellwether_client" in metadata.get_payload()


@pytest.mark.sqlite
def test_a_program_converses_without_django(
    python: Path, embedded: Deployment, tmp_path: Path
) -> None:
    shutil.copy(HERE / "programs" / "service.py", tmp_path)
    looked = run(
        python,
        "-c",
        "import importlib.util as u, bellwether_client as b; print(b.__file__);"
        "print([n for n in ('django', 'msgspec', 'notifications', 'channels') if u.find_spec(n)])",
        cwd=tmp_path,
        env={},
    )
    path, others = looked.splitlines()
    assert Path(path).is_relative_to(python.parent.parent)
    assert others == "[]"

    key, server = make_key(embedded), embedded.start()
    with running((python, "service.py", server.socket_url, key), tmp_path, {}) as program:
        converse(program, server, key)


def test_it_is_typed(python: Path, tmp_path: Path) -> None:
    usage = tmp_path / "typed_usage.py"
    shutil.copy(HERE / usage.name, usage)
    mypy = (sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-incremental")
    check = (*mypy, "--python-executable", python, usage)
    run(*check, cwd=tmp_path, env={"PATH": ""})
    text = usage.read_text()
    assert text.count("# type: ignore") == 9
    usage.write_text(text.replace('publish("user.7.orders"', "publish(7"))
    with pytest.raises(AssertionError, match='incompatible type "int"; expected "str"'):
        run(*check, cwd=tmp_path, env={"PATH": ""})
