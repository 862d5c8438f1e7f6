"""Seals: checksums that show whether what lies in a file is still what was written there."""

import re
import zlib
from pathlib import Path

_SEALED = re.compile(rb'(\{.*),"seal":"([0-9a-f]{8})"\}', re.DOTALL)
_PIECE = 1 << 20


def sealed(text: bytes) -> bytes:
    """A JSON object with its own checksum as the last member."""
    return text[:-1] + b',"seal":"%08x"}' % zlib.crc32(text)


def unsealed(text: bytes) -> bytes:
    """The object again, without the checksum. Raises ValueError where it is not what was sealed."""
    found = _SEALED.fullmatch(text)
    if found is None or int(found[2], 16) != zlib.crc32(found[1] + b"}"):
        raise ValueError("the checksum is wrong")
    return found[1] + b"}"


def seal_of(path: Path) -> str:
    """The checksum of a file's content, 8 hexadecimal digits. Raises OSError."""
    check = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            check = zlib.crc32(piece, check)
    return f"{check:08x}"
