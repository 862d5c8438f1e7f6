"""Any text as the name of a file, on any file system, and no two texts as the same. Pure."""

import hashlib
import re

_PLAIN = re.compile(r"[a-z0-9_-]+")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)")  # Windows takes these for devices
_LONGEST = 100


def file_name(text: str) -> str:
    """The text in lower-case letters, digits, `_` and `-`, everything else as %XX of its UTF-8 bytes.

    Capitals are encoded too, because some file systems do not tell them apart; a long name ends in its digest.
    """
    if _PLAIN.fullmatch(text) and not _RESERVED.fullmatch(text) and len(text) <= _LONGEST:
        return text
    spelled = "".join(
        chr(code) if _PLAIN.match(chr(code)) and code < 128 else f"%{code:02X}" for code in text.encode("utf-8", "surrogatepass")
    )
    if _RESERVED.fullmatch(spelled):
        spelled = f"%{ord(spelled[0]):02X}{spelled[1:]}"
    if len(spelled) > _LONGEST:
        spelled = f"{spelled[:60]}%%{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
    return spelled or "%"
