"""`crossdock failures`: the records that were not delivered, and what a person decides about them."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands import exits
from pipelines.commands.everywhere import known_sync, open_project
from pipelines.commands.keys import LONGEST, decoded, in_one_line, key_text, means, told_failure
from pipelines.terminal import screen, style_of, visible

if TYPE_CHECKING:
    from pipelines.ledger import Failure
    from pipelines.runtime import Runtime

__all__ = ["COMMANDS", "failures"]

Sync = Annotated[str, typer.Argument(help="The sync: a folder below pipelines/defs.")]


def failures(
    sync: Sync,
    keys: Annotated[list[str] | None, typer.Argument(metavar="[KEY…]", help="Only these records: match keys or ids at the source.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Let the next run try them again, quarantined ones too.")] = False,
    dismiss: Annotated[bool, typer.Option("--dismiss", help="They are settled: the same write is not tried again.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Records shown at most.")] = 50,
) -> int:
    """List what was not delivered, and decide about it."""
    if retry and dismiss:
        raise exits.Stopped("--retry and --dismiss exclude each other; choose one", exits.CONFIG)
    with open_project() as project:
        known_sync(project, sync)
        found = project.ledger.failures(sync)
        chosen = found if not keys else _chosen(sync, keys, found)
        if retry or dismiss:
            return _decide(project, sync, chosen, some=bool(keys), retry=retry)
        _list(sync, chosen, limit, whole=bool(keys))
    return exits.OK


def _chosen(sync: str, typed: list[str], found: "list[Failure]") -> "list[Failure]":
    """The failures that the words name. Raises Stopped for a word that names none."""
    chosen: list[Failure] = []
    for word in typed:
        named = [failure for failure in found if means(word, failure.key, failure.source_id)]
        if not named:
            sentence = f"no pending record of {sync} has the key or source id {visible(word)!r}; `crossdock failures {sync}` lists them"
            raise exits.Stopped(sentence, exits.CONFIG, sync=sync)
        chosen += named
    return chosen


def _decide(project: "Runtime", sync: str, chosen: "list[Failure]", *, some: bool, retry: bool) -> int:
    out = screen()
    if retry:
        count = project.ledger.release_failures(sync, [one.key for one in chosen] if some else None)
        said = f"{count:,} records will be tried again; run it now: crossdock run {sync}"
    else:
        count = project.ledger.dismiss_failures(sync, [(one.key, one.source_id) for one in chosen])
        said = f"{count:,} records are no longer pending"
    left = project.ledger.failure_count(sync)
    if out.as_json:
        out.answer({"sync": sync, "status": "ok", "released" if retry else "dismissed": count, "pending": left})
    else:
        out.line(said if count else f"nothing is pending in {sync}")
    return exits.OK


def _list(sync: str, found: "list[Failure]", limit: int, *, whole: bool) -> None:
    """What is pending, and, where something was sent, what; that is `whole` for records that were asked for by name."""
    out = screen()
    if out.as_json:
        out.answer({"sync": sync, "pending": len(found), "failures": [told_failure(one) for one in found[:limit]]})
        return
    if not found:
        out.line(f"Nothing is pending in {sync}.")
        return
    rows = [
        [key_text(one.key) if one.key else "–", one.source_id or "–", one.outcome, one.field, visible(one.reason), f"{one.attempts}"]
        for one in found[:limit]
    ]
    heads = ["key", "source id", "outcome", "field", "reason", "tries"]
    if out.fits(heads, rows) and not any(one.op for one in found[:limit]):
        out.table(heads, rows, right=["tries"])
    else:
        for one, (key, source_id, outcome, field, reason, tries) in zip(found, rows, strict=False):
            about = f" ({visible(field)})" if field else ""
            out.line((key, "bold"), "  ", (source_id, "dim"), "  ", (outcome, style_of(outcome)), about, (f"  tries {tries}", "dim"))
            if one.op:
                sent = decoded(one.request)
                values = in_one_line(sent, sys.maxsize if whole else LONGEST) if isinstance(sent, dict) else ""
                out.paragraph((f"{one.op}  {values}", "dim"), indent=4)
            out.paragraph(reason, indent=4)
    out.line()
    more = f" (the first {limit:,} shown; --limit N shows more)" if len(found) > limit else ""
    out.line(f"{len(found):,} records are pending{more}.")
    out.paragraph(f"Correct them at the source and run again, or: crossdock failures {sync} --retry | --dismiss [KEY…]")


COMMANDS = (failures,)
