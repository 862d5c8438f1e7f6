"""Diff: which records to create, which differ, which are missing, from two indexes sorted by key. Pure.

Both sides are walked together in chunks, so that memory-mapped indexes of any size fit: 10 M rows
against 10 M with 2 % different take under a second.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.fingerprint import KEYLESS, OPAQUE, Index

Positions = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]
_Numbers = npt.NDArray[np.intp]

_CHUNK = 1 << 19


@dataclass(frozen=True)
class Diff:
    """Positions in the two batches. Every desired row is in exactly one of: `create`, `differ`, the same ones,
    `conflict`, `desired_duplicates`.

    `differ` and `differ_existing` are aligned. `conflict` are desired rows whose key several existing rows have;
    those are `existing_duplicates`. `missing` are existing rows whose key is not desired: rows without a
    key and duplicates are never among them.
    """

    create: Positions
    differ: Positions
    differ_existing: Positions
    missing: Positions
    conflict: Positions
    desired_duplicates: Positions
    existing_duplicates: Positions
    same_count: int


@dataclass(frozen=True)
class _Chunk:
    """One stretch of keys on both sides, as places in the two indexes."""

    create: _Numbers
    matched: tuple[_Numbers, _Numbers]
    missing: _Numbers
    conflict: _Numbers
    desired_duplicates: _Numbers
    existing_duplicates: _Numbers


def diff(desired: Index, existing: Index) -> Diff:
    """Compare two indexes made over the same fields and types. Raises ValueError for desired rows without a key."""
    if _keyed_count(desired) < len(desired):
        raise ValueError(
            f"{len(desired) - _keyed_count(desired)} of {len(desired)} desired rows have no key; they are invalid, not desired"
        )
    parts: dict[str, list[Positions]] = {name: [] for name in Diff.__dataclass_fields__ if name != "same_count"}
    same_count = 0
    for chunk in _chunks(desired, existing):
        at, existing_at = chunk.matched
        same = _equal(desired.row[at], existing.row[existing_at])
        same_count += int(np.count_nonzero(same))
        parts["create"].append(desired.position[chunk.create])
        parts["differ"].append(desired.position[at[~same]])
        parts["differ_existing"].append(existing.position[existing_at[~same]])
        parts["missing"].append(existing.position[chunk.missing])
        parts["conflict"].append(desired.position[chunk.conflict])
        parts["desired_duplicates"].append(desired.position[chunk.desired_duplicates])
        parts["existing_duplicates"].append(existing.position[chunk.existing_duplicates])
    whole = {name: np.concatenate(some) if some else np.empty(0, np.int64) for name, some in parts.items()}
    return Diff(**whole, same_count=same_count)


def unchanged(desired: Index, existing: Index) -> tuple[Positions, Positions]:
    """The aligned positions of the rows that are the same on both sides."""
    ours, theirs = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for chunk in _chunks(desired, existing):
        at, existing_at = chunk.matched
        same = _equal(desired.row[at], existing.row[existing_at])
        ours.append(desired.position[at[same]])
        theirs.append(existing.position[existing_at[same]])
    return np.concatenate(ours), np.concatenate(theirs)


def _equal(ours: npt.NDArray[np.uint64], theirs: npt.NDArray[np.uint64]) -> _Mask:
    same: _Mask = (ours == theirs) & (ours != OPAQUE)
    return same


def _chunks(desired: Index, existing: Index) -> Iterator[_Chunk]:
    """Stretches of both sides that hold the same range of keys; a key never spans two."""
    keyed, existing_keyed = _keyed_count(desired), _keyed_count(existing)
    start = existing_start = 0
    while start < keyed or existing_start < existing_keyed:
        end, existing_end = min(start + _CHUNK, keyed), min(existing_start + _CHUNK, existing_keyed)
        bounds = [
            side.key_hi[at - 1] for side, at, count in ((desired, end, keyed), (existing, existing_end, existing_keyed)) if at < count
        ]
        if bounds:  # the side that reaches less far ends the chunk, after the last row of that high word
            bound = min(bounds)
            end = start + int(np.searchsorted(desired.key_hi[start:keyed], bound, "right"))
            existing_end = existing_start + int(np.searchsorted(existing.key_hi[existing_start:existing_keyed], bound, "right"))
        yield _compare(desired, slice(start, end), existing, slice(existing_start, existing_end))
        start, existing_start = end, existing_end


def _keyed_count(index: Index) -> int:
    """Rows with a key; those without sort last."""
    first = int(np.searchsorted(index.key_hi, KEYLESS, "left"))
    return first + int(np.searchsorted(index.key_lo[first:], KEYLESS, "left"))


def _compare(desired: Index, ours: slice, existing: Index, theirs: slice) -> _Chunk:
    hi, other_hi = np.asarray(desired.key_hi[ours]), np.asarray(existing.key_hi[theirs])
    lo, other_lo = np.asarray(desired.key_lo[ours]), np.asarray(existing.key_lo[theirs])
    if _has_ties(hi) or _has_ties(other_hi):
        hi, other_hi = _ranks(hi, lo, other_hi, other_lo)
        lo = other_lo = np.zeros(0, np.uint64)
    repeated, other_repeated = _repeated(hi), _repeated(other_hi)
    at = np.searchsorted(other_hi, hi)
    at[at == len(other_hi)] = 0
    hit = other_hi[at] == hi if len(other_hi) else np.zeros(len(hi), bool)
    if len(lo):
        hit &= other_lo[at] == lo if len(other_lo) else False
    conflict = hit & other_repeated[at] & ~repeated if len(other_hi) else np.zeros(len(hi), bool)
    matched = hit & ~repeated & ~conflict
    seen = np.zeros(len(other_hi), bool)
    seen[at[hit]] = True
    first, other_first = ours.start, theirs.start
    return _Chunk(
        create=np.flatnonzero(~hit & ~repeated) + first,
        matched=(np.flatnonzero(matched) + first, at[matched] + other_first),
        missing=np.flatnonzero(~seen & ~other_repeated) + other_first,
        conflict=np.flatnonzero(conflict) + first,
        desired_duplicates=np.flatnonzero(repeated) + first,
        existing_duplicates=np.flatnonzero(other_repeated) + other_first,
    )


def _has_ties(values: npt.NDArray[np.uint64]) -> bool:
    return bool((values[1:] == values[:-1]).any())


def _repeated(keys: npt.NDArray[np.uint64]) -> _Mask:
    """Which entries of a sorted side have a neighbour with the same key."""
    mask = np.zeros(len(keys), bool)
    same = keys[1:] == keys[:-1]
    mask[1:] |= same
    mask[:-1] |= same
    return mask


def _ranks(
    hi: npt.NDArray[np.uint64], lo: npt.NDArray[np.uint64], other_hi: npt.NDArray[np.uint64], other_lo: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """One word per key in place of two, in the same order on both sides: for chunks where the high words are not unique."""
    high, low = np.concatenate([hi, other_hi]), np.concatenate([lo, other_lo])
    order = np.lexsort((low, high))
    steps = np.ones(len(order), np.uint64)
    steps[1:] = (high[order][1:] != high[order][:-1]) | (low[order][1:] != low[order][:-1])
    ranks = np.empty(len(order), np.uint64)
    ranks[order] = np.cumsum(steps, dtype=np.uint64)
    return ranks[: len(hi)], ranks[len(hi) :]
