"""What a settings model refuses, as one sentence with file, line and what would be right. Pure.

Values are shown only where `show_values` allows it: a connection's values may be secrets.
"""

import types
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from connectors.errors import ConfigError
from pipelines.yamltext import Document

__all__ = ["complaint", "listed", "nearest", "setting_names"]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was most likely meant to be, or None."""
    folded = {name.lower().replace("-", "_"): name for name in known}
    found = get_close_matches(word.lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def listed(words: Iterable[str]) -> str:
    """`a, b and c`; `nothing` for an empty list."""
    names = list(words)
    if len(names) < 2:
        return "".join(names) or "nothing"
    return f"{', '.join(names[:-1])} and {names[-1]}"


def setting_names(model: type[BaseModel], *, without: Sequence[str] = ()) -> list[str]:
    """The keys a person may write for `model`, in its order."""
    return [field.alias or name for name, field in model.model_fields.items() if name not in without]


def complaint(
    error: ValidationError,
    document: Document,
    prefix: tuple[str | int, ...],
    model: type[BaseModel],
    subject: str,
    *,
    show_values: bool,
    without: Sequence[str] = (),
) -> ConfigError:
    """The first thing to repair, and how many more there are. `prefix` is where in the document the model's values lie.

    `subject` is what the settings belong to, e.g. `sync contacts_to_people`; `without` are fields not written there.
    """
    details = error.errors(include_url=False, include_context=True)
    meant = {nearest(str(detail["loc"][-1]), _known(model, detail["loc"], without)) for detail in details if _is_unknown(detail)}
    real = [detail for detail in details if not (detail["type"] == "missing" and str(detail["loc"][-1]) in meant)] or details
    real.sort(key=lambda detail: (not _is_unknown(detail), document.line(*prefix, *detail["loc"])))
    first = real[0]
    more = f" (and {len(real) - 1} more to repair in it)" if len(real) > 1 else ""
    sentence = _sentence(first, model, subject, show_values=show_values, without=without)
    return ConfigError(f"{document.at(*prefix, *first['loc'])}: {sentence}{more}")


def _is_unknown(detail: ErrorDetails) -> bool:
    return detail["type"] == "extra_forbidden"


def _sentence(detail: ErrorDetails, model: type[BaseModel], subject: str, *, show_values: bool, without: Sequence[str]) -> str:
    loc, kind, context = detail["loc"], detail["type"], detail.get("ctx", {})
    name = _dotted(loc)
    owner = subject if len(loc) < 2 else f"{_dotted(loc[:-1])!r} of {subject}"
    shown = f", not {_shown(detail['input'])}" if show_values else ""
    if kind == "extra_forbidden":
        known = _known(model, loc, without)
        meant = nearest(str(loc[-1]), known)
        return f"{str(loc[-1])!r} is not a setting of {owner}; " + (f"did you mean {meant!r}?" if meant else f"it takes {listed(known)}")
    if kind == "missing":
        return f"{owner} lacks {str(loc[-1])!r}, which it needs; add it"
    if kind in {"tuple_type", "list_type"}:
        example = detail["input"] if show_values and isinstance(detail["input"], str) else "…"
        return f"{name!r} of {subject} must be a list; write {name}: [{example}]"
    if kind == "too_short":
        return f"{name!r} of {subject} must not be empty; name at least {context.get('min_length', 1)}"
    if kind in {"dict_type", "model_type", "model_attributes_type"}:
        return f"{name!r} of {subject} must be a mapping of keys to values{shown}"
    if kind == "literal_error":
        return _choice(detail, name, subject, shown)
    if kind == "string_type":
        return f"{name!r} of {subject} must be text{shown}; put it in quotes"
    if kind == "value_error":
        return f"{subject}: {context['error']}" if loc == () else f"{name!r} of {subject}: {context['error']}"
    words = detail["msg"][:1].lower() + detail["msg"][1:]
    return f"{name!r} of {subject} is wrong: {words}{shown}"


def _choice(detail: ErrorDetails, name: str, subject: str, shown: str) -> str:
    expected = str(detail.get("ctx", {}).get("expected", ""))
    meant = nearest(str(detail["input"]), [word.strip(" '") for word in expected.replace(" or ", ",").split(",")])
    hint = f"; did you mean {meant!r}?" if meant and shown else ""
    return f"{name!r} of {subject} must be {expected}{shown}{hint}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _dotted(loc: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in loc) or "it"


def _known(model: type[BaseModel], loc: Sequence[str | int], without: Sequence[str]) -> list[str]:
    """The keys allowed beside the last one of `loc`."""
    annotation: Any = model
    for key in loc[:-1]:
        annotation = _step(annotation, key)
    inner = _model_in(annotation)
    return setting_names(inner, without=without if inner is model else ()) if inner else []


def _step(annotation: Any, key: str | int) -> Any:
    inner = _model_in(annotation)
    if inner is not None:
        return next((f.annotation for name, f in inner.model_fields.items() if key in (f.alias, name)), None)
    arguments = get_args(annotation)
    return arguments[-1] if arguments and get_origin(annotation) in (dict, Mapping, list, tuple) else None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType):
        return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
    return None
