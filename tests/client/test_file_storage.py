"""The storage in a file: whole, private, and shared by nobody at the same moment."""

import asyncio
import stat
import threading
from pathlib import Path

import pytest

from bellwether_client import FileStorage


def names_in(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_file_holds_texts_whole_and_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    storage = FileStorage(path)
    assert await storage.get("a") is None
    await storage.remove("a")
    assert names_in(tmp_path) == []
    await asyncio.gather(*(storage.set(str(number), "ü" * number) for number in range(20)))
    again = FileStorage(path)
    assert await again.get("7") == "ü" * 7
    await again.remove("7")
    assert await storage.get("7") is None
    assert mode_of(path) == 0o600
    assert names_in(tmp_path) == ["state.json"]


@pytest.mark.parametrize("content", ["no json", '["list"]', '{"a": 1}'])
def test_a_file_that_is_none_of_ours_is_not_overwritten(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    storage = FileStorage(path)
    with pytest.raises(ValueError, match="move it away"):
        asyncio.run(storage.get("a"))
    with pytest.raises(ValueError, match="move it away"):
        asyncio.run(storage.set("a", "b"))
    assert path.read_text() == content


async def test_a_file_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        await FileStorage(tmp_path / "nowhere" / "file").set("a", "b")


async def test_a_write_that_fails_leaves_the_old_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    storage = FileStorage(path)
    await storage.set("a", "old")

    def full(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        await storage.set("a", "new")
    assert await storage.get("a") == "old"
    assert names_in(tmp_path) == ["state.json"]


async def test_changes_of_two_follow_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = FileStorage(tmp_path / "state.json"), FileStorage(tmp_path / "state.json")
    write, threads = one._write, []

    def slowly(content: str) -> None:
        thread = threading.Thread(target=asyncio.run, args=(other.set("b", "2"),))
        threads.append(thread)
        thread.start()
        thread.join(0.2)  # it waits for us, or has done it in vain
        write(content)

    monkeypatch.setattr(one, "_write", slowly)
    await one.set("a", "1")
    threads[0].join()
    assert [await other.get(key) for key in ("a", "b")] == ["1", "2"]


def test_it_is_of_no_event_loop(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "state.json")

    async def write(*keys: str) -> None:
        await asyncio.gather(*(storage.set(key, key) for key in keys))

    asyncio.run(write("a", "b", "c"))
    asyncio.run(write("d", "e", "f"))
    assert asyncio.run(storage.get("f")) == "f"


async def test_a_change_that_is_cancelled_does_not_come_after_the_next(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "state.json")
    goes_on, begun, written = threading.Event(), threading.Event(), threading.Event()
    write = storage._write

    def slowly(content: str) -> None:
        begun.set()
        assert goes_on.wait(10)
        write(content)
        written.set()

    storage._write = slowly  # type: ignore[method-assign]
    old = asyncio.create_task(storage.set("a", "old"))
    await asyncio.to_thread(begun.wait, 10)
    storage._write = write  # type: ignore[method-assign]
    old.cancel()
    await asyncio.gather(old, return_exceptions=True)
    new = asyncio.create_task(storage.set("a", "new"))
    await asyncio.wait([new], timeout=0.1)  # it waits for the other thread
    goes_on.set()
    await new
    assert await asyncio.to_thread(written.wait, 10)
    assert await storage.get("a") == "new"
