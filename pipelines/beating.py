"""A beat beside a block of work: what renews a right for as long as the work takes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from connectors.errors import ConnectorError


@contextmanager
def beating(every_s: float, beat: Callable[[], object]) -> Iterator[None]:
    """Call `beat` every so many seconds while the block lasts, or until it raises ConnectorError: who needs the right asks for itself."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(every_s):
            try:
                beat()
            except ConnectorError:
                return

    thread = threading.Thread(target=go_on, name="beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
