"""One holder at a time on this host: a file lock that the operating system takes back when its process ends, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from connectors.errors import ConfigError, RetryableError

__all__ = ["file_lock"]


@contextmanager
def file_lock(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock called `name` (any text) in `folder`, which must be on a local disk.

    Raises RetryableError at once while another process or thread holds it, naming its process, and ConfigError where
    the folder cannot be written.
    """
    path = folder / f"{quote(name, safe='')[:200]}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"no lock can be taken in {folder} ({error.strerror}); make it writable, or set CROSSDOCK_HOME") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            raise RetryableError(f"{name} is in use by another run (process {holder}); wait until that run is over") from None
        with suppress(OSError):  # who holds it is a courtesy: a full disk takes nothing from the lock
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
