"""`crossdock explain`: the life of one record, from the ledger and what is still staged."""

from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands import exits
from pipelines.commands.everywhere import known_sync, open_project
from pipelines.commands.keys import decoded, in_one_line, means, nearest_keys, spellings, told_failure
from pipelines.terminal import screen, shown, style_of, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipelines.ledger import Failure, Match, Write
    from pipelines.runtime import Runtime

__all__ = ["COMMANDS", "explain"]

_BY_MODE = {
    ("update", False): "mode: update, and the sink shows no record with this key",
    ("insert", False): "mode: insert, and the sink has a record with this key",
    ("insert", True): "mode: insert, and the sink has a record with this key",
}
Sync = Annotated[str, typer.Argument(help="The sync: a folder below pipelines/defs.")]


def explain(
    sync: Sync,
    key: Annotated[list[str], typer.Argument(help="The match key (one word per match field), or the record's id at the source.")],
) -> int:
    """Tell the life of one record. Who it is on both sides, what every run made of it, and what is still pending."""
    out = screen()
    with open_project() as project:
        known_sync(project, sync)
        found = _record(project, sync, key)
        if found is None:
            raise exits.Stopped(_not_found(project, sync, key), exits.CONFIG, sync=sync)
        told = _life(project, sync, *found)
    if out.as_json:
        out.answer(told)
    else:
        _show(told, found[3])
    return exits.OK


def _record(
    project: "Runtime", sync: str, typed: list[str]
) -> "tuple[str, Match | None, list[tuple[Write, str | None]], list[Failure]] | None":
    """What the ledger knows of the record: by match key, else by its id at the source. Its writes are those under its other keys, too."""
    ledger = project.ledger
    candidates = spellings(typed)
    if len(typed) == 1:
        candidates += [match.key for match in ledger.matches_of_sources(sync, typed)]
        candidates += [write.key for write, _ in ledger.history(sync, "", typed[0])[-1:]]
    pending = ledger.failures(sync)
    for key in candidates:
        match = next(iter(ledger.matches(sync, [key])), None)
        history = ledger.history(sync, key)
        left = [failure for failure in pending if failure.key == key]
        if match is not None or history or left:
            source_id = _source_id(match, history, left)
            if source_id:
                history = ledger.history(sync, key, source_id)
                match = match or next(iter(ledger.matches_of_sources(sync, [source_id])), None)
            return key, match, history, left
    left = [failure for failure in pending if len(typed) == 1 and means(typed[0], failure.key, failure.source_id)]
    if left:
        return left[0].key, None, [], left
    met = (key for key in candidates if any(run["mapped"] is not None for run in _runs(project, sync, key, None, matched=False)))
    return next(((key, None, [], []) for key in met), None)


def _source_id(match: "Match | None", history: "list[tuple[Write, str | None]]", pending: "list[Failure]") -> str | None:
    """The record's id at the source, as it was known last; a delete, or a record that was put back, is written without one."""
    known = [
        match.source_id if match else None,
        *(write.source_id for write, _ in reversed(history)),
        *(failure.source_id for failure in pending),
    ]
    return next((one for one in known if one), None)


def _not_found(project: "Runtime", sync: str, typed: list[str]) -> str:
    word = " ".join(typed)
    near = nearest_keys(word, (match.key for match in project.ledger.matches(sync)))
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"it has not been read yet, was dismissed before it was written, or its key is another; `crossdock plan {sync}` shows keys"
    )
    return f"the ledger knows no record {visible(word)!r} of {sync}; {hint}"


def _life(
    project: "Runtime",
    sync: str,
    key: str,
    match: "Match | None",
    history: "list[tuple[Write, str | None]]",
    pending: "list[Failure]",
) -> dict[str, Any]:
    source_id = _source_id(match, history, pending)
    return {
        "sync": sync,
        "key": decoded(key) if key else None,
        "key_now": decoded(match.key) if match and match.key != key else None,
        "source_id": source_id,
        "sink_id": decoded(match.sink_id) if match else None,
        "applied": decoded(match.applied) if match else None,
        "runs": _runs(project, sync, key, source_id, matched=match is not None),
        "writes": [_told_write(project, write, settled_at) for write, settled_at in history],
        "pending": [told_failure(failure) for failure in pending],
    }


def _runs(project: "Runtime", sync: str, key: str, source_id: str | None, *, matched: bool) -> list[dict[str, Any]]:
    """What the runs that staging still shows made of the record, oldest first. `matched`: whether it was ever found in the sink."""
    from pipelines.engine import raw_dataset
    from pipelines.life import life

    file = project.syncs.files.get(sync)
    why = _BY_MODE.get((file.spec.mode, matched), "") if file else ""
    if not matched and any(one.key == key and one.op == "create" for one in project.ledger.failures(sync, dismissed=True)):
        why = "dismissed as it was last sent"
    lived = life(project.staging, project.ledger, sync, key or None, source_id, raw_dataset(file.spec) if file else None, why)
    return [
        {
            "run_id": one.run.run_id,
            "kind": one.run.summary.get("kind", "run"),
            "at": one.run.started_at,
            "outcome": one.outcome,
            "reason": one.reason,
            "read": one.read,
            "mapped": one.mapped,
        }
        for one in lived
    ]


def _told_write(project: "Runtime", write: "Write", settled_at: str | None) -> dict[str, Any]:
    """A write with what was sent, what came of it, and what reading it back showed (None: it was not read back)."""
    from pipelines.ledger_records import READ_BACK_OTHERWISE, State

    run = project.ledger.run(write.run_id)
    read_back = write.state is State.CONFIRMED and run is not None and run.summary.get("differences") is not None
    verified = ("otherwise" if write.reason.startswith(READ_BACK_OTHERWISE) else "as sent") if read_back else None
    return {
        "run_id": write.run_id,
        "op": write.op,
        "state": write.state.value,
        "at": write.intent_at.isoformat(),
        "settled_at": settled_at,
        "attempt": write.attempt,
        "before": decoded(write.before),
        "after": decoded(write.after),
        "verified": verified,
        "reason": write.reason,
    }


def _show(life: dict[str, Any], pending: "list[Failure]") -> None:
    out = screen()
    out.line((", ".join(shown(value) for value in life["key"] or ["a record without a key"]), "bold"), f"  in {life['sync']}")
    out.line()
    if life["key_now"]:
        out.line("key now    ", ", ".join(shown(value) for value in life["key_now"]), indent=2)
    out.line("source id  ", shown(life["source_id"]) if life["source_id"] is not None else "not known", indent=2)
    out.line("sink id    ", shown(life["sink_id"]) if life["sink_id"] is not None else "not matched to a record of the sink", indent=2)
    runs = {one["run_id"]: one for one in life["runs"]}
    written = {one["run_id"] for one in life["writes"]}
    events = [
        *((one["at"], "write", [one]) for one in life["writes"]),
        *_rests([one for one in life["runs"] if one["run_id"] not in written]),
    ]
    for _, kind, what in sorted(events, key=lambda event: str(event[0])):
        out.line()
        if kind == "write":
            _show_write(what[0], runs.get(what[0]["run_id"]))
        else:
            _show_rest(what)
    if not life["writes"]:
        out.line()
        out.line("never written by this sync" + (": it was the same on both sides" if life["sink_id"] is not None else ""), indent=2)
    for failure in pending:
        out.line()
        where = f" ({visible(failure.field)}" + (f", source id {visible(failure.source_id)})" if len(pending) > 1 else ")")
        out.paragraph((failure.outcome, style_of(failure.outcome)), f"{where}: {visible(failure.reason)}", indent=2)
        again = "; the next run tries it again" if failure.released else ""
        out.line((f"pending since {_moment(failure.first_seen)}, attempts {failure.attempts}{again}", "dim"), indent=2)


def _rests(runs: list[dict[str, Any]]) -> "Iterator[tuple[str, str, list[dict[str, Any]]]]":
    """Runs that wrote nothing of the record, those in a row that say the same together."""
    for _, same in groupby(runs, key=lambda one: (one["kind"], one["outcome"], one["reason"])):
        together = list(same)
        yield together[0]["at"], "rest", together


def _show_rest(runs: list[dict[str, Any]]) -> None:
    out, first, last = screen(), runs[0], runs[-1]
    until = f" to {_moment(last['at'])}" if len(runs) > 1 else ""
    which = f"{len(runs)} runs" if len(runs) > 1 else f"{first['kind']} {first['run_id'][:8]}"
    only = {"plan": "  only planned", "verify": "  only compared"}.get(first["kind"], "")
    out.line(f"{_moment(first['at'])}{until}  ", (first["outcome"], style_of(first["outcome"])), (f"  {which}{only}", "dim"), indent=2)
    if first["reason"]:
        out.paragraph(visible(first["reason"]), indent=6)
    _show_record("read", last["read"])
    _show_record("mapped", last["mapped"])


def _show_write(one: dict[str, Any], lived: dict[str, Any] | None) -> None:
    out = screen()
    state = {"confirmed": "green", "rejected": "red"}.get(one["state"], "yellow")
    out.line(
        _moment(one["at"]),
        "  ",
        (one["op"], style_of(one["op"])),
        "  ",
        (one["state"], state),
        (f"  run {one['run_id'][:8]}", "dim"),
        indent=2,
    )
    if lived is not None:
        _show_record("read", lived["read"])
        _show_record("mapped", lived["mapped"])
    before, after = one["before"] or {}, one["after"] or {}
    widest = max((len(visible(name)) for name in after), default=0)
    for name, value in after.items():
        earlier: list[str | tuple[str, str]] = [(shown(before.get(name)), "red"), " → "] if one["op"] == "update" else []
        out.line((f"{visible(name):<{widest}}  ", "dim"), *earlier, (shown(value), "green"), indent=6)
    steps = [f"sent {_moment(one['at'])}" + (f", attempt {one['attempt']}" if one["attempt"] > 1 else "")]
    steps += [f"settled {_moment(one['settled_at'])}"] if one["settled_at"] else ["not settled"]
    steps += [f"read back {one['verified']}"] if one["verified"] else []
    out.line(("; ".join(steps), "dim"), indent=6)
    if one["reason"]:
        out.paragraph(visible(one["reason"]), indent=6)


def _show_record(word: str, record: "Mapping[str, Any] | None") -> None:
    """A record in one line, cut where it is long."""
    if record is not None:
        screen().line((f"{word:<6}  {in_one_line(record)}", "dim"), indent=6)


def _moment(text: str) -> str:
    return text[:19].replace("T", " ")


COMMANDS = (explain,)
