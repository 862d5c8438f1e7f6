"""The statements that every run asks the ledger, each built once; building one takes longer than SQLite's answer. What varies is bound."""

from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pipelines import ledger_tables as tables
from pipelines.ledger_records import OPEN, Failure, Match

_runs, _writes, _crosswalk = tables.runs.c, tables.writes.c, tables.crosswalk.c
_failures, _targets = tables.failures.c, tables.targets.c


def _bound(name: str, **more: Any) -> Any:
    return sa.bindparam(name, **more)


_run_id, _sync, _key, _limit = _bound("this_run"), _bound("this_sync"), _bound("this_key"), _bound("most")
_target, _epoch, _holder = _bound("this_target"), _bound("this_epoch"), _bound("this_holder")
_these, _states = _bound("these", expanding=True), _bound("these_states", expanding=True)

# runs

SUMMARY = sa.select(_runs.summary).where(_runs.run_id == _run_id).with_for_update()
SET_SUMMARY = sa.update(tables.runs).where(_runs.run_id == _run_id).values(summary=_bound("new_summary"))
FINISH = sa.update(tables.runs).where(_runs.run_id == _run_id).values(status=_bound("new_status"), finished_at=_bound("new_finished_at"))
RUN = sa.select(tables.runs).where(_runs.run_id == _run_id)
ALL_RUNS = sa.select(tables.runs).order_by(_runs.started_at.desc(), _runs.run_id.desc()).limit(_limit)
RUNS = ALL_RUNS.where(_runs.sync == _sync)

# writes

OPEN_WRITES = (
    sa.select(tables.writes)
    .where(_writes.sync == _sync, _writes.state.in_([state.value for state in OPEN]))
    .order_by(_writes.intent_at, _writes.seq)
)
_within = (_writes.seq > _bound("after_seq"), _writes.seq < _bound("before_seq"))
WRITES = sa.select(tables.writes).where(_writes.run_id == _run_id, *_within).order_by(_writes.seq).limit(_limit)
WRITES_IN = WRITES.where(_writes.state.in_(_states))
WRITE_COUNTS = sa.select(_writes.op, _writes.state, sa.func.count()).where(_writes.run_id == _run_id).group_by(_writes.op, _writes.state)

# crosswalk

_MATCH = [_crosswalk[name] for name in Match.__dataclass_fields__]
MATCHES = sa.select(*_MATCH).where(_crosswalk.sync == _sync, _crosswalk.key > _key).order_by(_crosswalk.key).limit(_limit)
ANY_MATCH = sa.select(_crosswalk.sync).where(_crosswalk.sync == _sync).limit(1)
MATCH_HASHES = sa.select(_crosswalk.key_hash).where(_crosswalk.sync == _sync)
MATCH_HASHES_REPEATED = MATCH_HASHES.where(_crosswalk.repeats == _bound("these_repeats"))
DROP_MATCHES = sa.delete(tables.crosswalk).where(_crosswalk.sync == _sync, _crosswalk.key.in_(_these))


@cache
def matches_with(column: str) -> Any:
    """Crosswalk rows whose column has one of the values bound as `these`."""
    return sa.select(*_MATCH).where(_crosswalk.sync == _sync, _crosswalk[column].in_(_these))


# failures

FAILURES = (
    sa.select(*[_failures[name] for name in Failure.__dataclass_fields__])
    .where(_failures.sync == _sync, _failures.dismissed == _bound("is_dismissed"))
    .order_by(_failures.first_seen, _failures.key)
)
DROP_FAILURES = sa.delete(tables.failures).where(_failures.sync == _sync, _failures.run_id != _run_id, ~_failures.dismissed)

# positions, and who may write where

POSITION = sa.select(tables.positions.c.batch_id).where(
    tables.positions.c.sync == _sync, tables.positions.c.spec_hash == _bound("this_hash")
)
EPOCH = sa.select(_targets.epoch).where(_targets.target == _target)
_mine = (_targets.target == _target, _targets.epoch == _epoch, _targets.holder == _holder)
_in_time = sa.or_(_targets.until >= _bound("now"), _bound("is_late", type_=sa.Boolean))
RENEW = sa.update(tables.targets).where(*_mine, _in_time).values(until=_bound("new_until"))
RELEASE = sa.update(tables.targets).where(*_mine).values(holder=None, until=None)
CLAIM = (
    sa.update(tables.targets)
    .where(
        _targets.target == _target,
        _targets.epoch == _epoch,
        sa.or_(_targets.holder.is_(None), _targets.until < _bound("now"), _bound("is_dead", type_=sa.Boolean)),
    )
    .values(epoch=_targets.epoch + 1, holder=_bound("new_holder"), until=_bound("new_until"))
)


@cache
def insert_unless_there(dialect: str, table: sa.Table, *columns: str) -> Any:
    """Insert one row of these columns (bound as `new_…`) where none has its primary key."""
    values = {name: _bound(f"new_{name}") for name in columns}
    return _insert(dialect, table).values(values).on_conflict_do_nothing(index_elements=[column.name for column in table.primary_key])


@cache
def upsert(dialect: str, table: sa.Table, *columns: str) -> Any:
    """Insert rows of these columns, replacing all but the key where one is there."""
    key, statement = [column.name for column in table.primary_key], _insert(dialect, table)
    changed = {name: statement.excluded[name] for name in columns if name not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)


@cache
def upsert_failures(dialect: str) -> Any:
    """Insert failures; one that is pending already counts one attempt more and keeps when it was seen first."""
    statement = _insert(dialect, tables.failures)
    names = ("outcome", "field", "reason", "op", "request", "run_id", "last_seen", "released", "dismissed")
    changed = {**{name: statement.excluded[name] for name in names}, "attempts": _failures.attempts + 1}
    return statement.on_conflict_do_update(index_elements=["sync", "key", "source_id"], set_=changed)


@cache
def spelt(dialect: Any, statement: Any, *columns: str) -> tuple[str, tuple[str, ...]]:
    """A statement over these columns as the driver takes it, and the order of its parameters."""
    compiled = statement.compile(dialect=dialect, column_keys=list(columns))
    return str(compiled), tuple(compiled.positiontup)


def _insert(dialect: str, table: sa.Table) -> Any:
    return (sqlite.insert if dialect == "sqlite" else postgresql.insert)(table)
