"""A new connector's files, made from the sample in pipelines/skeleton: a small platform, made up, that works at once."""

import keyword
import re
from pathlib import Path

__all__ = ["connector_files", "unfit"]

SKELETON = Path(__file__).parent / "skeleton"

_SAMPLE = "sample_shop"
_PLACES = {"test_contract.py": "tests/contract/test_{name}.py", "test_documented.py": "tests/documented/test_{name}.py"}
_ELSEWHERE = "connectors/{name}/{file}"
_OUR_IMPORTS = re.compile(r"(?:^from (?:connectors|pipelines|tests)\b.*\n)+", re.MULTILINE)  # in order again, whatever the name


def unfit(name: str) -> str:
    """Why this cannot name a connector, or "" where it can."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        return "use lower-case letters, digits and single underscores, a letter first, and no word of Python's own"
    return ""


def connector_files(name: str) -> dict[str, str]:
    """The text of every file of a new connector, by its path in the project."""
    made = {}
    for sample in sorted(SKELETON.glob("*.txt")):
        file = sample.name.removesuffix(".txt")
        place = _PLACES.get(file, _ELSEWHERE).format(name=name, file=file)
        made[place] = _renamed(sample.read_text(encoding="utf-8"), name)
    return made


def _renamed(text: str, name: str) -> str:
    """The sample's name, in each of its spellings, replaced."""
    spellings = (str, str.upper, lambda one: one.replace("_", "-"), _title, lambda one: _title(one).replace(" ", ""))
    for spelled in spellings:
        text = text.replace(spelled(_SAMPLE), spelled(name))
    return _OUR_IMPORTS.sub(lambda block: "".join(sorted(block[0].splitlines(keepends=True), key=lambda line: line.split()[1])), text)


def _title(name: str) -> str:
    return " ".join(part.capitalize() for part in name.split("_"))
