"""The body of an answer, decompressed while it arrives and never beyond a cap: a gzip bomb is dropped at its first excess byte."""

import zlib
from collections.abc import Iterator
from io import BytesIO

from connectors.errors import ContractError

__all__ = ["ACCEPT_ENCODING", "Truncated", "bounded"]

ACCEPT_ENCODING = "gzip"  # the one encoding that is decoded with a bound here

_PIECE_BYTES = 1 << 20
_TOO_LARGE = "the answer is larger than {:,} bytes; raise max_response_bytes if that is expected"


class Truncated(ContractError):
    """The compressed body ends in its middle."""


def bounded(chunks: Iterator[bytes], encoding: str, cap_bytes: int) -> bytes:
    """The whole decoded body. Raises ContractError above the cap or for an encoding not asked for, Truncated when its end is missing."""
    encoding = encoding.strip().lower()
    if encoding in ("gzip", "x-gzip"):
        chunks = _gunzip(chunks, cap_bytes)
    elif encoding not in ("", "identity"):
        raise ContractError(f"the answer is encoded as {encoding[:40]!r}, which was not asked for")
    body = BytesIO()  # unlike a list of parts it is never held twice
    for chunk in chunks:
        if body.tell() + len(chunk) > cap_bytes:
            raise ContractError(_TOO_LARGE.format(cap_bytes))
        body.write(chunk)
    return body.getvalue()


def _gunzip(chunks: Iterator[bytes], cap_bytes: int) -> Iterator[bytes]:
    """Decompressed pieces of any number of gzip members, each of at most a megabyte. What comes in is capped as well."""
    unpack = zlib.decompressobj(wbits=31)
    came = 0
    for chunk in chunks:
        came += len(chunk)
        if came > cap_bytes:  # endless empty members decompress to nothing
            raise ContractError(_TOO_LARGE.format(cap_bytes))
        rest, more = chunk, False
        while rest or more:
            if unpack.eof:
                unpack = zlib.decompressobj(wbits=31)
            try:
                piece = unpack.decompress(rest, _PIECE_BYTES)
            except zlib.error:
                raise ContractError("the answer says that it is gzip, and is not") from None
            yield piece
            more = len(piece) == _PIECE_BYTES and not unpack.eof  # zlib may hold back more without wanting input
            rest = unpack.unconsumed_tail or unpack.unused_data
    if came and not unpack.eof:
        raise Truncated("the compressed answer ends in its middle")
