"""The smallest thing a sandbox can start: answers 404 to everything, and notes each start in its state file."""

import argparse
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Nothing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--fail", action="store_true")
    given = parser.parse_args()
    if given.fail:
        sys.exit("the demo records could not be made")
    with given.state.open("a") as state:
        state.write(f"started with seed {given.seed}\n")
    ThreadingHTTPServer((given.host, given.port), Nothing).serve_forever()


if __name__ == "__main__":
    main()
