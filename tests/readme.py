"""README.md and the pages of docs as data: fenced blocks, tables, links, and how shown output is compared with real output."""

import re
from dataclasses import dataclass

from tests.house.sources import ROOT

# In the order in which a reader types what they show.
PAGES = {
    page: (ROOT / page).read_text(encoding="utf-8")
    for page in (
        "README.md",
        "docs/syncs.md",
        "docs/connections.md",
        "docs/windows.md",
        "docs/failures.md",
        "docs/operating.md",
        "docs/dagster.md",
        "docs/commands.md",
        "docs/troubleshooting.md",
    )
}
TEXT = "\n".join(PAGES.values())

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARYING = (
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"\bport \d+", "port PORT"),
    (r"\bprocess \d+", "process N"),
    (r"\b\d+\.\d s\b", "N s"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", "TIME"),
    (r"(?<= )(?:now|\d+ (?:s|min))(?= |$)", "AGO"),
    (r"(?:(?<=run )|(?<=undo )|(?<=plan )|(?<=verify ))[0-9a-f]{8}\b", "RUN"),
    (r"\b[0-9a-f]{12}\b", "DIGEST"),
)


@dataclass(frozen=True)
class Block:
    """One fenced block. `shown` is the block of text right after a block of commands: what they are said to print."""

    language: str
    text: str
    where: str
    shown: str | None = None


def blocks() -> list[Block]:
    """Every fenced block, in order; blocks of text are part of the block of commands before them."""
    found: list[Block] = []
    for page, words_of_it in PAGES.items():
        for fence in _FENCE.finditer(words_of_it):
            language, text, where = fence[1], fence[2], f"{page}:{words_of_it.count(chr(10), 0, fence.start()) + 1}"
            if language == "text":
                assert found, f"{where}: shown output without a command"
                assert (found[-1].language, found[-1].shown) == ("sh", None), f"{where}: shown output without a command"
                found[-1] = Block("sh", found[-1].text, found[-1].where, text)
            else:
                found.append(Block(language, text, where))
    return found


def table(first: str) -> list[list[str]]:
    """The rows below the only heading row whose first cell is `first`; a cell may hold an escaped bar."""
    lines = TEXT.split("\n")
    (at,) = (number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))])
    return rows


def words(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def steady(text: str) -> str:
    """Output without what differs from run to run: ports, processes, times, ids, and the width of columns."""
    for pattern, instead in _VARYING:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    lines = (re.sub(r" {2,}|─+", " ", line).strip() for line in text.strip().split("\n"))
    return "\n".join(lines) + "\n"


def pattern_of(shown: str) -> re.Pattern[str]:
    """What shown output stands for: `…` alone on a line is any lines, elsewhere any words."""
    parts = []
    for line in steady(shown).splitlines():
        parts.append("(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + "\n")
    return re.compile("".join(parts))
