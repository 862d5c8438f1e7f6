"""Arrays kept as .npy files, to be memory-mapped, and a sealed list of them that is replaced last."""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.staging.files import write_last
from pipelines.staging.seal import seal_of, sealed, unsealed


def write_arrays(folder: Path, stem: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Keep the arrays in `folder`, in place of those kept under this stem before. Raises OSError."""
    turn = time.time_ns()
    files = {array: f"{stem}.{turn}.{number}.npy" for number, array in enumerate(arrays)}
    for array, values in arrays.items():
        with (folder / files[array]).open("wb") as file:
            np.save(file, values, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
    listed = {array: [file, seal_of(folder / file)] for array, file in files.items()}
    write_last(folder / f"{stem}.json", sealed(json.dumps(listed).encode()))
    for old in folder.glob(f"{stem}.*.npy"):
        if old.name not in files.values():
            old.unlink(missing_ok=True)


def read_arrays(folder: Path, stem: str, check: Callable[[Path, str], None]) -> Mapping[str, npt.NDArray[Any]] | None:
    """The arrays, or None where none were kept. `check` compares a file with its seal. Raises ValueError or OSError for damage."""
    try:
        text = (folder / f"{stem}.json").read_bytes()
    except FileNotFoundError:
        return None
    files = json.loads(unsealed(text))
    for file, seal in files.values():
        check(folder / file, seal)
    return {array: _load(folder / file) for array, (file, _) in files.items()}


def _load(path: Path) -> npt.NDArray[Any]:
    try:
        found: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # an empty array cannot be mapped
        found = np.load(path, allow_pickle=False)
    return found
