"""Files that are on the disk when they say they are."""

import os
import time
from pathlib import Path


def write_last(path: Path, text: bytes) -> None:
    """Make a file appear whole: written beside, flushed to the disk, renamed."""
    beside = path.with_name(f"{path.name}.{time.time_ns()}.new")
    with beside.open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file or folder to the disk. An error is the caller's: a failed flush must not be tried again."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
