"""A first mapping between two streams, proposed from the names of their fields, for a person to correct. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

__all__ = ["Field", "Proposal", "Side", "propose", "written"]

ALIKE = 0.8  # names at least this similar are taken for the same

_MEANINGS = (
    {"email", "emailaddress", "mail", "emails"},
    {"phone", "phonenumber", "telephone", "tel"},
    {"company", "organization", "organisation", "org", "account", "employer"},
    {"name", "fullname", "displayname"},
    {"firstname", "givenname", "forename"},
    {"lastname", "surname", "familyname"},
    {"zip", "zipcode", "postcode", "postalcode"},
    {"website", "url", "homepage"},
    {"domain", "domainname"},
    {"notes", "note", "comment", "comments", "remarks"},
    {"revenue", "annualrevenue", "turnover"},
    {"employees", "employeecount", "headcount", "staff"},
    {"status", "state"},
    {"amount", "total", "sum", "value"},
    {"number", "no", "num", "invoicenumber", "ordernumber"},
)
_KEYS = ("email", "domain", "number", "external_id", "code", "sku", "name")
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True)
class Field:
    """A field as it was seen: its name, what kind of value it holds ("" where none was seen), and a value of it."""

    name: str
    kind: str = ""


@dataclass(frozen=True)
class Side:
    """One end of the sync. `fields` is empty where nothing is known of it (an empty stream that declares none)."""

    address: str
    fields: tuple[Field, ...]
    id_field: str = ""
    natural_key: tuple[str, ...] = ()
    read_only: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Proposal:
    """`fields`: sink field → expression. `notes`: a remark beside some of them. What found no partner is left over."""

    match: tuple[str, ...]
    sure: bool
    fields: Mapping[str, str]
    notes: Mapping[str, str]
    source_left: tuple[str, ...]
    sink_left: tuple[str, ...]


def propose(source: Side, sink: Side) -> Proposal:
    """Pair fields by name, the most alike first. Where nothing is known of the sink, every field goes under its own name."""
    kinds = {field.name: field.kind for field in source.fields}
    takes = {field.name: field.kind for field in sink.fields if field.name not in sink.read_only and field.name != sink.id_field}
    offered = [name for name in kinds if name != source.id_field]
    if not takes:
        takes = {name: kinds[name] for name in offered} | dict.fromkeys(sink.natural_key, "")
    pairs = _pairs(offered, list(takes))
    expressions = {wanted: _column(pairs[wanted]) for wanted in takes if wanted in pairs}
    notes = {
        wanted: f"{kinds[pairs[wanted]]} into {takes[wanted]}: check"
        for wanted in expressions
        if kinds[pairs[wanted]] and takes[wanted] and kinds[pairs[wanted]] != takes[wanted]
    }
    used = set(pairs.values())
    _whole_name(takes, offered, expressions, used)
    match, sure = _match(sink, expressions)
    for name in match:
        if _folded(name) in _MEANINGS[0] and name in expressions:
            expressions[name] = f"lower(trim({expressions[name]}))"
    left = tuple(name for name in offered if name not in used)
    return Proposal(match, sure, expressions, notes, left, tuple(name for name in takes if name not in expressions))


def written(name: str, source: Side, sink: Side, proposal: Proposal) -> str:
    """The sync's file, with a remark on everything that a person should look at."""
    lines = [
        f"# {name}: a proposal from the names of the fields. Read it, correct it, then: crossdock plan {name}",
        "type: pipelines.components.SyncComponent",
        "attributes:",
        f"  from: {source.address}",
        f"  to: {sink.address}",
        f"  match: [{', '.join(_yaml(field) for field in proposal.match)}]"
        + ("" if proposal.sure else "   # a guess: which fields of the sink say that two records are the same one?"),
        "  mode: upsert                           # insert | update | upsert | mirror (upsert + delete)",
        "  fields:                                # sink field: SQL expression over the source's fields",
    ]
    for field, expression in proposal.fields.items():
        remark = f"   # {_remark(proposal.notes[field])}" if field in proposal.notes else ""
        lines.append(f"    {_yaml(field)}: {_yaml(expression)}{remark}")
    if proposal.sink_left:
        lines.append("    # fields of the sink that nothing was found for:")
        lines += [f"    # {_remark(_yaml(field))}: …" for field in proposal.sink_left]
    if proposal.source_left:
        lines.append(f"  # fields of {source.address} that go nowhere: {_remark(', '.join(proposal.source_left))}")
    lines += [
        "  limits:                                # plans above these wait for an approval",
        "    create_count: 10000",
        "    update_share: 0.5",
        "  writes: {on_unknown: quarantine}       # a create whose answer is lost is kept for a person, never sent again blindly",
    ]
    return "\n".join(lines) + "\n"


def _pairs(offered: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """Sink field → source field, each at most once; the most alike first, then in the order of the fields."""
    scored = [(_alike(one, other), a, b) for a, one in enumerate(wanted) for b, other in enumerate(offered)]
    found: dict[str, str] = {}
    for score, a, b in sorted(scored, key=lambda item: (-item[0], item[1], item[2])):
        if score >= ALIKE and wanted[a] not in found and offered[b] not in found.values():
            found[wanted[a]] = offered[b]
    return found


def _alike(one: str, other: str) -> float:
    """From 0 to 1: equal names 1, equal but for case and separators 0.98, the same meaning 0.95, else by their letters."""
    if one == other:
        return 1.0
    first, second = _folded(one), _folded(other)
    if first == second:
        return 0.98
    if any({first, second} <= words for words in _MEANINGS):
        return 0.95
    return 0.94 * SequenceMatcher(None, first, second, autojunk=False).ratio()


def _folded(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _whole_name(takes: Mapping[str, str], offered: Sequence[str], expressions: dict[str, str], used: set[str]) -> None:
    """A name made of first and last name, where the source has only those."""
    wanted = next((field for field in takes if _folded(field) in _MEANINGS[3] and field not in expressions), None)
    first = next((field for field in offered if _folded(field) in _MEANINGS[4] and field not in used), None)
    last = next((field for field in offered if _folded(field) in _MEANINGS[5] and field not in used), None)
    if wanted and first and last:
        expressions[wanted] = f"{_column(first)} || ' ' || {_column(last)}"
        used |= {first, last}


def _match(sink: Side, expressions: Mapping[str, str]) -> tuple[tuple[str, ...], bool]:
    """The match fields, and whether they were declared rather than guessed."""
    if sink.natural_key and all(field in expressions for field in sink.natural_key):
        return sink.natural_key, True
    for known in _KEYS:
        for field in expressions:
            if _folded(field) == _folded(known):
                return (field,), False
    return tuple(list(expressions)[:1]), False


def _column(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def _yaml(text: str) -> str:
    """The text as a YAML scalar that cannot be read as anything else."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_ ().|']*", text) and text.casefold() not in {
        "null",
        "true",
        "false",
        "yes",
        "no",
        "on",
        "off",
        "y",
        "n",
    }:
        return text.strip() if text == text.strip() else f'"{text}"'
    return "'" + text.replace("'", "''") + "'" if text.isprintable() else _escaped(text)


def _escaped(text: str) -> str:
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08X}" for c in text) + '"'


def _remark(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
