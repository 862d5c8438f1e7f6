"""The ledger's tables, for SQLite and Postgres alike. Whoever changes them adds a step to `ledger_schema`."""

import sqlalchemy as sa

metadata = sa.MetaData()
_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

meta = sa.Table("crossdock_meta", metadata, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False))

runs = sa.Table(
    "crossdock_runs",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("sync", sa.Text, nullable=False, index=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("started_at", sa.Text, nullable=False),
    sa.Column("finished_at", sa.Text),
    sa.Column("spec_hash", sa.Text),
    sa.Column("summary", sa.Text, nullable=False, server_default="{}"),
)

writes = sa.Table(
    "crossdock_writes",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("seq", _big, primary_key=True),
    sa.Column("sync", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("source_id", sa.Text),
    sa.Column("op", sa.Text, nullable=False),
    sa.Column("sink_id", sa.Text),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("epoch", _big, nullable=False),
    sa.Column("intent_at", sa.Text, nullable=False),
    sa.Column("before", sa.Text),
    sa.Column("after", sa.Text),
    sa.Column("fingerprint", _big),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("settled_at", sa.Text),
    sqlite_with_rowid=False,
)

# Two indexes would cost a bulk write more than its answer takes; only writes without an outcome are ever looked for by sync.
_OPEN = writes.c.state.in_(["in_flight", "accepted", "refused", "unknown"])
sa.Index("crossdock_writes_open", writes.c.sync, sqlite_where=_OPEN, postgresql_where=_OPEN)

crosswalk = sa.Table(
    "crossdock_crosswalk",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("key_hash", _big, nullable=False),
    sa.Column("source_id", sa.Text),
    sa.Column("sink_id", sa.Text, nullable=False),
    sa.Column("applied", sa.Text),
    sa.Column("fingerprint", _big),
    sa.Column("repeats", sa.Integer, nullable=False, server_default="0"),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("updated_at", sa.Text, nullable=False),
    sa.Index("crossdock_crosswalk_source", "sync", "source_id"),
)

failures = sa.Table(
    "crossdock_failures",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("source_id", sa.Text, primary_key=True),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("field", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("op", sa.Text),
    sa.Column("request", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("released", sa.Boolean, nullable=False),
    sa.Column("dismissed", sa.Boolean, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("first_seen", sa.Text, nullable=False),
    sa.Column("last_seen", sa.Text, nullable=False),
)

targets = sa.Table(
    "crossdock_targets",
    metadata,
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("epoch", _big, nullable=False),
    sa.Column("holder", sa.Text),
    sa.Column("until", sa.Text),
)

positions = sa.Table(
    "crossdock_positions",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("spec_hash", sa.Text, nullable=False),
    sa.Column("batch_id", sa.Text, nullable=False),
    sa.Column("updated_at", sa.Text, nullable=False),
)

told = sa.Table(
    "crossdock_told",
    metadata,
    sa.Column("sync", sa.Text, primary_key=True),
    sa.Column("findings", sa.Text, nullable=False),
    sa.Column("told_at", sa.Text, nullable=False),
)

shards = sa.Table(
    "crossdock_parts",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("shard", sa.Integer, primary_key=True),
    sa.Column("sync", sa.Text, nullable=False, index=True),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("epoch", _big, nullable=False),
    sa.Column("writer", sa.Text, nullable=False),  # who holds the target: the whole run
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("claims", sa.Integer, nullable=False, server_default="0"),
    sa.Column("holder", sa.Text),
    sa.Column("until", sa.Text),
    sa.Column("stopped", sa.Text, nullable=False, server_default=""),
    sa.Column("found", sa.Text, nullable=False, server_default="{}"),
)

paces = sa.Table(
    "crossdock_paces",
    metadata,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("pace", sa.LargeBinary, nullable=False),
)
