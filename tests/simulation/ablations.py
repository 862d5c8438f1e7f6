"""Guards taken out of the engine, one at a time: what the simulation must notice, or it is blind there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Ablation:
    """`says` what is missing; `remove` takes it out of the engine of this process."""

    says: str
    remove: Callable[[pytest.MonkeyPatch], None]


ABLATIONS: dict[str, Ablation] = {}


@contextmanager
def without(name: str) -> Iterator[None]:
    """The engine lacks this guard while the block lasts."""
    with pytest.MonkeyPatch.context() as patch:
        ABLATIONS[name].remove(patch)
        yield
