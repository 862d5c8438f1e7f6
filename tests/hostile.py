"""A server that answers like an enemy: whatever bytes, however slowly, for as long as somebody listens. Real sockets on 127.0.0.1."""

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from functools import cache

from tests.loopback import answer

Reply = Callable[[threading.Event], Iterator[bytes]]

DRIP_S = 0.01
GZIPPED = {"content-encoding": "gzip", "content-type": "application/json"}


class HostileServer:
    """Gives every request the same reply, a generator of pieces, and hangs up when the reader does. `requests` are heads as they came.

    With `polite`, a GET gets that instead.
    """

    def __init__(self, reply: Reply, polite: Reply | None = None) -> None:
        self.requests: list[bytes] = []
        self._polite = polite or reply
        self.over = threading.Event()
        self._reply = reply
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "HostileServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits for a connection
        self._listener.close()

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(20)
            try:
                head = connection.recv(1 << 20)
                self.requests.append(head)
                for piece in (self._polite if head.startswith(b"GET ") else self._reply)(self.over):
                    if self.over.is_set():
                        return
                    connection.sendall(piece)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)
            except OSError:
                return


def whole(body: bytes, status: int = 200, headers: dict[str, str] | None = None, claimed_length: int | None = None) -> Reply:
    """One answer, all at once."""
    return lambda over: iter([answer(status, body, headers or {"content-type": "application/json"}, claimed_length=claimed_length)])


def endless(start: bytes, piece: bytes) -> Reply:
    """A beginning, then the same piece for ever."""

    def reply(over: threading.Event) -> Iterator[bytes]:
        yield start
        while True:
            yield piece

    return reply


def drip(start: bytes, piece: bytes) -> Reply:
    """A beginning, then the same piece every hundredth of a second for ever."""

    def reply(over: threading.Event) -> Iterator[bytes]:
        yield start
        while not over.wait(DRIP_S):
            yield piece

    return reply


@cache
def bomb() -> bytes:
    """A gigabyte of zeros in a megabyte of gzip."""
    return gzip.compress(bytes(1 << 20), 9) * 1024


def page(records: bytes) -> bytes:
    """A page of Stacker around the text of its records."""
    return b'{"records":[' + records + b'],"total":1,"count":1,"start":0}'


def record(fields: bytes) -> bytes:
    """A page with one contact, the text of some fields added."""
    return page(b'{"sid":"rec_1","email":"a@example.com","name":"A","score":1' + fields + b"}")


LISTS = whole(b'{"accounts":[{"id":"a","name":"a"}],"objects":[{"sid":"contacts","name":"Contacts","api_name":"contacts"}]}')
"""Polite answers to Stacker's lists, so that what is hostile are the records."""

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"

# What cannot be understood in one way only: no record of it may be believed.
REFUSED: dict[str, Reply] = {
    "HTML": whole(b"<html><body>maintenance</body></html>", headers={"content-type": "text/html"}),
    "nothing": whole(b""),
    "cut JSON": whole(record(b"")[:-20]),
    "cut after its first bytes": whole(record(b""), claimed_length=10_000),
    "a longer body than it says": whole(record(b""), claimed_length=30),
    "a key twice": whole(record(b',"name":"B"')),
    "depth 100,000": whole(record(b',"x":' + b"[" * 100_000 + b"]" * 100_000)),
    "NaN": whole(record(b',"x":NaN')),
    "Infinity": whole(record(b',"x":-Infinity')),
    "half a surrogate pair": whole(record(b',"x":"\\ud800"')),
    "bytes that are not UTF-8": whole(record(b',"x":"\xff\xfe"')),
    "UTF-16": whole(record(b"").decode().encode("utf-16")),
    "an exponent of a million": whole(record(b',"x":1e1000000')),
    "a million digits": whole(record(b',"x":' + b"9" * 1_000_000)),
    "a raw line break in a text": whole(record(b',"x":"a\nb"')),
    "a raw NUL": whole(record(b',"x":"a\x00b"')),
    "two values": whole(record(b"") + record(b"")),
    "gzip that is none": whole(record(b""), headers=GZIPPED),
    "cut gzip": whole(gzip.compress(record(b"") * 50)[:-30], headers=GZIPPED),
    "brotli": whole(b"\x0b\x02\x80", headers={"content-encoding": "br"}),
    "chunks of garbage": lambda over: iter([CHUNKED, b"zz\r\n{}\r\n0\r\n\r\n"]),
    "a chunk with a negative size": lambda over: iter([CHUNKED, b"-5\r\n{}\r\n0\r\n\r\n"]),
    "a chunk as long as the universe": lambda over: iter([CHUNKED, b"f" * 40 + b"\r\n{}\r\n0\r\n\r\n"]),
    "chunks that never end": lambda over: iter([CHUNKED, b"2\r\n{}\r\n"]),
    "two lengths": lambda over: iter([HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}x"]),
    "a length that is no number": lambda over: iter([HEAD + b"content-length: many\r\n\r\n{}"]),
    "no HTTP": lambda over: iter([b"SSH-2.0-OpenSSH_9.2\r\n"]),
    "a header without a colon": lambda over: iter([b"HTTP/1.1 200 OK\r\nwhat is this\r\n\r\n{}"]),
    "status 999": whole(b"{}", status=999),
    "204": whole(b"", status=204),
    "records that are no list": whole(b'{"records":{"a":1},"total":1,"count":1,"start":0}'),
    "records that are no objects": whole(page(b"1,2,3")),
    "a list": whole(b"[]"),
    "null": whole(b"null"),
    "endless headers": endless(HEAD, b"x-more: " + b"y" * 1000 + b"\r\n"),
    "one endless header": endless(HEAD + b"x-more: ", b"y" * 10_000),
    "an endless status line": endless(b"HTTP/1.1 200 ", b"O" * 10_000),
    "an endless body": endless(CHUNKED, b"400\r\n" + b" " * 1024 + b"\r\n"),
    "an endless chunk size": endless(CHUNKED, b"0" * 10_000),
    "endless trailers": endless(CHUNKED + b"0\r\n", b"x-more: " + b"y" * 1000 + b"\r\n"),
    "endless empty gzip": endless(HEAD + b"content-encoding: gzip\r\n\r\n", gzip.compress(b"") * 500),
    "a slow drip of a head": drip(HEAD, b"x-a: b\r\n"),
    "a slow drip of a body": drip(CHUNKED, b"1\r\n \r\n"),
    "100 Continue for ever": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a gigabyte in a megabyte of gzip": lambda over: whole(bomb(), headers=GZIPPED)(over),
    "a record of 100 MB": endless(HEAD + b"\r\n" + record(b',"x":"')[:-3], b"y" * 65_536),
}

# Strange, and yet exactly one thing: it must arrive as it is.
TAKEN: dict[str, tuple[bytes, object]] = {
    "control characters": (b'"\\u0001a\\u0002"', "\x01a\x02"),
    "NUL": (b'"a\\u0000b"', "a\x00b"),
    "a whole surrogate pair": (b'"\\ud83d\\ude00"', "😀"),
    "a markup of a page": (b'"<script>alert(1)</script>"', "<script>alert(1)</script>"),
    "decomposed letters": ('"e\u0301"'.encode(), "e\u0301"),
}
