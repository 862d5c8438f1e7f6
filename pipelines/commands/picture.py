"""Plans and runs as a person reads them: what goes where, what stands in the way, and what to type next."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.commands.keys import key_text
from pipelines.commands.troubles import Trouble
from pipelines.terminal import Screen, shown, style_of, visible

if TYPE_CHECKING:
    from pipelines.plan import Plan
    from pipelines.spec import SyncSpec
    from pipelines.summary import Summary

__all__ = ["Part", "approvable", "show_changes", "show_outcomes", "show_plan", "show_run", "show_undelivered", "title"]

Part = str | tuple[str, str]

EACH, FIELDS = 3, 8  # changes of a kind shown in full, and fields of each
TROUBLES = 8  # reasons shown
_SIGNS = {"create": "+", "update": "~", "delete": "-"}
_OUTCOMES = (
    ("created", "+", "create"),
    ("updated", "~", "update"),
    ("deleted", "-", "delete"),
    ("unchanged", " ", "unchanged"),
    ("skipped", " ", "skip"),
    ("invalid", "!", "invalid"),
    ("rejected", "!", "rejected"),
    ("conflicts", "!", "conflicts"),
    ("unknown", "?", "unknown"),
    ("quarantined", "?", "quarantined"),
)
_MEANINGS = {
    "skipped": "by the sync's mode or where",
    "invalid": "refused by us, see below",
    "rejected": "refused by the platform",
    "conflicts": "changed or gone in the sink meanwhile",
    "unknown": "the answer was lost; looked up by the next run",
    "quarantined": "kept for a person",
}


def title(out: Screen, spec: "SyncSpec", word: str, detail: str = "") -> None:
    """The first line: the sync, its two ends and its mode, and the word that sums it up."""
    out.line(
        (spec.name, "bold"), "  ", f"{spec.source} → {spec.target}  ", (spec.mode, "dim"), "  ", (word, f"bold {style_of(word)}"), detail
    )
    out.line()


def show_outcomes(out: Screen, summary: "Summary", *, planned: bool) -> None:
    """One line per outcome that occurs, and their sum."""
    rows = [(name, sign, word, int(getattr(summary, name))) for name, sign, word in _OUTCOMES]
    always = ("created", "updated", "deleted", "unchanged")
    kept = [row for row in rows if row[3] or row[0] in always]
    width = max(len(f"{max(summary.accounted, summary.read):,}"), 5)
    for name, sign, word, count in kept:
        style = style_of(name) if count else "dim"
        said = word if planned else name
        out.line((f"{sign} {said:<12}{count:>{width},}", style), ("   " + _MEANINGS[name] if name in _MEANINGS else "", "dim"), indent=2)
    gone = f" and {summary.deleted:,} no longer there" if summary.deleted else ""
    out.line((f"  {'─' * (12 + width)}", "dim"), indent=2)
    out.line(f"  {'':<12}{summary.accounted:>{width},}   records: {summary.read:,} of the source{gone}", indent=2)


def show_changes(out: Screen, plan: "Plan") -> None:
    """The first changes of each kind, field by field, before → after."""
    samples, total = plan.first_changes(), plan.counts.changes
    shown_count = 0
    for op in ("delete", "update", "create"):
        for sample in [one for one in samples if one["op"] == op][:EACH]:
            _show_change(out, sample)
            shown_count += 1
    if total > shown_count:
        more = f"; --json lists {len(samples):,}" if len(samples) > shown_count else ""
        out.line((f"… and {total - shown_count:,} more{more}", "dim"), indent=2)
    if total:
        out.line()


def show_plan(out: Screen, spec: "SyncSpec", plan: "Plan", summary: "Summary", undelivered: Sequence[Trouble], command: str) -> None:
    """A plan whole: counts, samples, refusals and how to lift them, what the reads proved, what is promised; `command` applies it."""
    word = "refused" if plan.refusals else "plan"
    title(out, spec, word, "" if plan.refusals else "" if plan.counts.changes else ": nothing to do")
    show_outcomes(out, summary, planned=True)
    out.line()
    show_changes(out, plan)
    show_undelivered(out, undelivered)
    show_refusals(out, [(one.message, one.approvable) for one in plan.refusals], plan.digest, command)
    _proof(out, summary)
    for number, promise in enumerate(plan.promises):
        out.fact("promised" if number == 0 else "", visible(promise))
    show_warnings(out, plan.warnings)
    _facts(out, summary)
    if plan.counts.changes and not plan.refusals:
        out.line()
        out.line(f"Nothing was written. To apply it: {command}")


def show_run(out: Screen, spec: "SyncSpec", summary: "Summary", undelivered: Sequence[Trouble], command: str) -> None:
    """What a run came to, and the next command where something is left to do; `command` is what ran."""
    changed = summary.created + summary.updated + summary.deleted
    quiet = {"ok": ": nothing to do", "partial": ": nothing new to write"}.get(summary.status) if not changed else None
    title(out, spec, summary.status, quiet or f" in {summary.duration_s:,.1f} s")
    show_outcomes(out, summary, planned=summary.status == "refused")
    out.line()
    show_undelivered(out, undelivered)
    if summary.status == "refused":
        show_refusals(out, [(message, approvable(message)) for message in summary.refusals], summary.digest, command)
    if summary.message:
        out.paragraph(visible(summary.message), indent=2)
    show_warnings(out, summary.warnings)
    if summary.reasons:
        _proof(out, summary)
    if summary.differences is not None:
        found = f"{summary.differences:,} of the written records differ from what was sent" if summary.differences else "no difference"
        out.fact("verified", (found, "yellow" if summary.differences else "green"), ", by reading back what was written")
    _facts(out, summary)
    if summary.undelivered:
        out.line()
        out.line(f"Next: crossdock failures {spec.name}")


def show_undelivered(out: Screen, troubles: Sequence[Trouble]) -> None:
    """Why records were not delivered, the most frequent reason first, with one record for each."""
    if not troubles:
        return
    cells = [[f"{one.count:,}", one.outcome, one.field, _example(one), visible(one.reason)] for one in troubles[:TROUBLES]]
    heads = ["records", "outcome", "field", "such as", "reason"]
    if out.fits(heads, cells, indent=2):
        out.table(heads, cells, indent=2, right=["records"])
    else:
        width = max(len(cell[0]) for cell in cells)
        for count, outcome, field, example, reason in cells:
            about = f" ({visible(field)})" if field else ""
            out.line((f"{count:>{width}} {outcome}", style_of(outcome)), about, (f"  such as {example}", "dim"), indent=2)
            out.paragraph(reason, indent=3 + width)
    rest = sum(one.count for one in troubles[TROUBLES:])
    if rest:
        out.line((f"… and {rest:,} more", "dim"), indent=2)
    out.line()


def show_refusals(out: Screen, messages: Sequence[tuple[str, bool]], digest: str, command: str) -> None:
    """Why nothing is written, and the command that lifts it where a person may."""
    for message, _ in messages:
        out.fact("refused", visible(message), style="bold red")
    if messages and all(approvable for _, approvable in messages):
        out.fact("", (f"{command} --approve {digest[:12]}", "bold"))
    if messages:
        out.line()


def approvable(message: str) -> bool:
    """Whether a refusal that a run told in its summary names the digest that lifts it."""
    return "approve digest" in message


def show_warnings(out: Screen, warnings: Sequence[str]) -> None:
    """What a person should know although nothing failed."""
    for warning in warnings:
        out.fact("warning", visible(warning), style="yellow")


def _proof(out: Screen, summary: "Summary") -> None:
    """Whether all of the source was seen, and what shows it."""
    proof = ("complete", "green") if summary.complete else ("not proven complete", "yellow")
    out.fact("read", proof, f": {visible('; '.join(summary.reasons))}" if summary.reasons else "")


def _facts(out: Screen, summary: "Summary") -> None:
    sides = []
    for side in ("source", "sink"):
        spent = summary.requests.get(side, {})
        kinds = [f"{spent[kind]:,} {kind}" for kind in ("read", "write") if spent.get(kind)]
        sides.append(f"{side} {' and '.join(kinds) if kinds else 'none'}")
    out.fact("requests", "; ".join(sides))
    out.fact("run", (f"{summary.run_id}  digest {summary.digest[:12] or '–'}  {summary.duration_s:,.1f} s", "dim"), style="dim")


def _example(one: Trouble) -> str:
    return key_text(one.key) if one.key else f"{one.source_id or 'a record'} (no key)"


def _show_change(out: Screen, one: Mapping[str, Any]) -> None:
    op, before, after = str(one["op"]), one["before"] or {}, one["after"] or {}
    values = list(one["key"].values()) if isinstance(one["key"], dict) else one["key"]
    key = ", ".join(shown(value) for value in values) if isinstance(values, list) else shown(values)
    out.line((f"{_SIGNS[op]} {key}", style_of(op)), ("" if one["sink_id"] is None else f"  id {shown(one['sink_id'])}", "dim"), indent=2)
    names = list(after) if op != "delete" else []
    widest = max((len(visible(name)) for name in names[:FIELDS]), default=0)
    for name in names[:FIELDS]:
        new: list[Part] = [(shown(after[name]), "green")]
        if op == "update":
            new = [(shown(before.get(name)) if name in before else "–", "red"), " → ", *new]
        out.line((f"{visible(name):<{widest}}  ", "dim"), *new, indent=6)
    if len(names) > FIELDS:
        rest = len(names) - FIELDS
        out.line((f"… and {rest} more field{'s' if rest > 1 else ''}", "dim"), indent=6)
