"""The body of an answer, decompressed while it arrives and never beyond a cap: a gzip bomb is dropped at its first excess byte."""

import zlib
from collections.abc import Iterator

from connectors.errors import ContractError

__all__ = ["ACCEPT_ENCODING", "Truncated", "bounded"]

ACCEPT_ENCODING = "gzip"  # the one encoding that is decoded with a bound here


class Truncated(ContractError):
    """The compressed body ends in its middle."""


def bounded(chunks: Iterator[bytes], encoding: str, cap_bytes: int) -> bytes:
    """The whole decoded body. Raises ContractError above the cap or for an encoding not asked for, Truncated when its end is missing."""
    encoding = encoding.strip().lower()
    if encoding in ("gzip", "x-gzip"):
        chunks = _gunzip(chunks, cap_bytes)
    elif encoding not in ("", "identity"):
        raise ContractError(f"the answer is encoded as {encoding[:40]!r}, which was not asked for")
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > cap_bytes:
            raise ContractError(f"the answer is larger than {cap_bytes:,} bytes; raise max_response_bytes if that is expected")
        parts.append(chunk)
    return b"".join(parts)


def _gunzip(chunks: Iterator[bytes], cap_bytes: int) -> Iterator[bytes]:
    """Decompressed pieces of any number of gzip members, none above the cap by more than one byte."""
    unpack = zlib.decompressobj(wbits=31)
    started = False
    for chunk in chunks:
        rest = chunk
        while rest:
            if unpack.eof:
                unpack = zlib.decompressobj(wbits=31)
            started = True
            try:
                piece = unpack.decompress(rest, cap_bytes + 1)
            except zlib.error:
                raise ContractError("the answer says that it is gzip, and is not") from None
            yield piece
            rest = unpack.unconsumed_tail or unpack.unused_data
    if started and not unpack.eof:
        raise Truncated("the compressed answer ends in its middle")
