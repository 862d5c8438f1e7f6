"""`crossdock explain`: the life of one record, from the ledger alone."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands import exits
from pipelines.commands.everywhere import known_sync, open_project
from pipelines.commands.keys import decoded, key_text, means, nearest_keys, spellings, told_failure
from pipelines.terminal import screen, shown, style_of, visible

if TYPE_CHECKING:
    from pipelines.ledger import Failure, Match, Write
    from pipelines.runtime import Runtime

__all__ = ["COMMANDS", "explain"]

Sync = Annotated[str, typer.Argument(help="The sync: a folder below pipelines/defs.")]


def explain(
    sync: Sync,
    key: Annotated[list[str], typer.Argument(help="The match key (one word per match field), or the record's id at the source.")],
) -> int:
    """Tell the life of one record. Who it is on both sides, every write, and what is still pending."""
    out = screen()
    with open_project() as project:
        known_sync(project, sync)
        found = _record(project, sync, key)
        if found is None:
            raise exits.Stopped(_not_found(project, sync, key), exits.CONFIG, sync=sync)
        ledger_key, match, history, pending = found
        if out.as_json:
            out.answer(_life(sync, ledger_key, match, history, pending))
            return exits.OK
        _show_life(sync, ledger_key, match, history, pending)
    return exits.OK


def _record(
    project: "Runtime", sync: str, typed: list[str]
) -> "tuple[str, Match | None, list[tuple[Write, str | None]], list[Failure]] | None":
    """What the ledger knows of the record: by match key, else by its id at the source."""
    ledger = project.ledger
    candidates = spellings(typed)
    if len(typed) == 1:
        candidates += [match.key for match in ledger.matches_of_sources(sync, typed)]
    pending = ledger.failures(sync)
    for key in candidates:
        match = next(iter(ledger.matches(sync, [key])), None)
        history = ledger.history(sync, key)
        left = [failure for failure in pending if failure.key == key]
        if match is not None or history or left:
            return key, match, history, left
    left = [failure for failure in pending if len(typed) == 1 and means(typed[0], failure.key, failure.source_id)]
    return (left[0].key, None, [], left) if left else None


def _not_found(project: "Runtime", sync: str, typed: list[str]) -> str:
    word = " ".join(typed)
    near = nearest_keys(word, (match.key for match in project.ledger.matches(sync)))
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"it has not been read yet, or its key is another; `crossdock plan {sync}` shows keys"
    )
    return f"the ledger knows no record {visible(word)!r} of {sync}; {hint}"


def _life(
    sync: str, key: str, match: "Match | None", history: "list[tuple[Write, str | None]]", pending: "list[Failure]"
) -> dict[str, Any]:
    seen = [match.source_id] if match else [*(write.source_id for write, _ in history), *(failure.source_id for failure in pending)]
    return {
        "sync": sync,
        "key": decoded(key),
        "source_id": next(iter(seen), None),
        "sink_id": decoded(match.sink_id) if match else None,
        "applied": decoded(match.applied) if match else None,
        "writes": [
            {
                "run_id": write.run_id,
                "op": write.op,
                "state": write.state.value,
                "at": write.intent_at.isoformat(),
                "settled_at": settled_at,
                "attempt": write.attempt,
                "before": decoded(write.before),
                "after": decoded(write.after),
                "reason": write.reason,
            }
            for write, settled_at in history
        ],
        "pending": [told_failure(failure) for failure in pending],
    }


def _show_life(sync: str, key: str, match: "Match | None", history: "list[tuple[Write, str | None]]", pending: "list[Failure]") -> None:
    out = screen()
    life = _life(sync, key, match, history, pending)
    out.line((key_text(key), "bold"), f"  in {sync}")
    out.line()
    out.line("source id  ", shown(life["source_id"]) if life["source_id"] is not None else "not known", indent=2)
    out.line("sink id    ", shown(life["sink_id"]) if match else "not matched to a record of the sink", indent=2)
    for one in life["writes"]:
        out.line()
        state = {"confirmed": "green", "rejected": "red"}.get(one["state"], "yellow")
        out.line(
            one["at"][:19].replace("T", " "),
            "  ",
            (one["op"], style_of(one["op"])),
            "  ",
            (one["state"], state),
            (f"  run {one['run_id'][:8]}", "dim"),
            indent=2,
        )
        before, after = one["before"] or {}, one["after"] or {}
        widest = max((len(visible(name)) for name in after), default=0)
        for name, value in after.items():
            earlier: list[str | tuple[str, str]] = [(shown(before.get(name)), "red"), " → "] if one["op"] == "update" else []
            out.line((f"{visible(name):<{widest}}  ", "dim"), *earlier, (shown(value), "green"), indent=6)
        if one["reason"]:
            out.paragraph(visible(one["reason"]), indent=6)
    if not history:
        out.line()
        out.line("never written by this sync" + (": it was the same on both sides" if match else ""), indent=2)
    for failure in pending:
        out.line()
        where = f" ({visible(failure.field)}" + (f", source id {visible(failure.source_id)})" if len(pending) > 1 else ")")
        out.paragraph((failure.outcome, style_of(failure.outcome)), f"{where}: {visible(failure.reason)}", indent=2)
        again = "; the next run tries it again" if failure.released else ""
        out.line((f"pending since {failure.first_seen[:19].replace('T', ' ')}, attempts {failure.attempts}{again}", "dim"), indent=2)


COMMANDS = (explain,)
