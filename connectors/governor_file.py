"""The pace of an account in a file, so that all processes of one host keep it together and the next ones still know it.

The lock is the operating system's: it is given back when its holder dies, whenever that is, and the few bytes are
written in one call. A holder that was stopped in the middle is not waited for longer than two seconds.
"""

import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

__all__ = ["FileCell", "FilePaces"]

_PATIENCE_S = 2.0
_POLL_S = 0.0005
_MOST_BYTES = 4096

Result = TypeVar("Result")


@dataclass(frozen=True)
class FilePaces:
    """Where the paces of this host lie: one file for each account, on a local disk. Calling it gives the cell of one."""

    folder: Path

    def __call__(self, account: str) -> "FileCell":
        """The cell of an account, named by letters and digits. No file is touched before it is used."""
        return FileCell(self.folder / f"{account}.pace")


class FileCell:
    """A few bytes that one holder at a time reads and replaces (`connectors.settings.Cell`). Not for two threads at once."""

    alone_s = 60.0

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._path = path
        self._opened_by = 0
        self._descriptor = -1

    def change(self, step: Callable[[bytes], tuple[bytes, Result]]) -> Result:
        """Give `step` what is kept (empty: nothing yet), keep what it gives back, and give its result. Raises OSError."""
        descriptor = self._open()
        _lock(descriptor)
        try:
            kept = os.pread(descriptor, _MOST_BYTES, 0)
            new, result = step(kept)
            if new != kept:
                os.pwrite(descriptor, new, 0)
            return result
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _open(self) -> int:
        """A descriptor of this process's own (a forked child would share its parent's lock) to the file that has the name now."""
        if self._opened_by == os.getpid() and os.fstat(self._descriptor).st_nlink:
            return self._descriptor
        if self._opened_by == os.getpid():
            os.close(self._descriptor)
            self._opened_by = 0
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._opened_by = os.getpid()
        return self._descriptor

    def __del__(self) -> None:
        if os is not None and self._opened_by == os.getpid():  # at the end of the process there is nothing left to close it with
            os.close(self._descriptor)


def _lock(descriptor: int) -> None:
    """Hold the file alone. Raises TimeoutError where its holder stands still."""
    until_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until_s:
                raise TimeoutError("its holder stands still") from None
            time.sleep(_POLL_S)
