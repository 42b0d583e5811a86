"""Where a client keeps its state: what it subscribed to, its session, how far it has come.

A storage is asynchronous so that one on a disk or in a network holds up no event loop.
"""

import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

if sys.platform != "win32":
    import fcntl

LOCK_DEADLINE = 5.0
"""Seconds that a change waits for that of another process."""


class Storage(Protocol):
    """Texts by key. Whatever it raises is reported once, and done without."""

    async def get(self, key: str) -> str | None:
        """Return the text; None without one."""

    async def set(self, key: str, text: str) -> None:
        """Keep a text, in place of the one before."""

    async def remove(self, key: str) -> None:
        """Forget a text; a key that is unknown does nothing."""


class MemoryStorage:
    """Keeps texts as long as the process lives; hand the same one to the next client."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    async def get(self, key: str) -> str | None:
        """Return the text; None without one."""
        return self._texts.get(key)

    async def set(self, key: str, text: str) -> None:
        """Keep a text."""
        self._texts[key] = text

    async def remove(self, key: str) -> None:
        """Forget a text."""
        self._texts.pop(key, None)


class FileStorage:
    """Keeps texts in a file, as one JSON object.

    A write is whole or not at all, whatever happens: it goes to a temporary file beside it, to the
    disk, and takes the file's place. Changes of several processes follow one another (not on
    Windows). One running client to a key all the same: the session is a secret of that client, so
    only this user may read it.
    Raises OSError where the file cannot be read or written, ValueError where it is no such object.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        # Not the event loop's: a thread goes on when its caller is cancelled, or its loop is gone.
        self._lock = threading.Lock()

    async def get(self, key: str) -> str | None:
        """Return the text; None without one, or without the file."""
        return (await asyncio.to_thread(self._read)).get(key)

    async def set(self, key: str, text: str) -> None:
        """Keep a text."""
        await asyncio.to_thread(self._change, key, text)

    async def remove(self, key: str) -> None:
        """Forget a text."""
        await asyncio.to_thread(self._change, key, None)

    def _read(self) -> dict[str, str]:
        try:
            value = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise ValueError(f"{self.path} holds no JSON: move it away. {error}") from error
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise ValueError(f"{self.path} holds no object of texts: move it away.")
        return value

    def _change(self, key: str, text: str | None) -> None:
        with self._lock, _alone_in(self.path.parent):
            texts = self._read()
            if text is None:
                if texts.pop(key, None) is None:
                    return
            else:
                texts[key] = text
            self._write(json.dumps(texts))

    def _write(self, content: str) -> None:
        folder = self.path.parent
        # mkstemp: only this user may read it.
        descriptor, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(folder)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep the changes of other processes in a folder out, where folders can be locked."""
    if sys.platform == "win32":
        yield
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # it may be written and not read
        yield
        return
    try:
        deadline = time.monotonic() + LOCK_DEADLINE
        while not _locked(descriptor):
            if time.monotonic() > deadline:
                raise TimeoutError(f"Another process holds {folder}.")
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)  # which unlocks it


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # this file system has no locks
    return True


def _sync_folder(folder: Path) -> None:
    """Make the new name last, where folders can be synced (not on Windows)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
