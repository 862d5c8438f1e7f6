"""Numbers for a monitoring system: `metrics`. Only the ledger and the syncs' files are read."""

from typing import Annotated

import typer

from pipelines.commands import exits
from pipelines.commands.everywhere import open_project
from pipelines.terminal import screen

__all__ = ["COMMANDS", "metrics"]


def metrics(
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Serve them on this port until Ctrl-C (0: a free one).")] = None,
    host: Annotated[str, typer.Option(help="The address to serve on.")] = "127.0.0.1",
) -> int:
    """Print the metrics of every sync in Prometheus' form, or serve them."""
    from pipelines.metrics import SyncMetrics, registry

    out = screen()
    with open_project() as project:
        found = registry(SyncMetrics(project.ledger, project.clock, lambda: [file.spec for file in project.syncs.files.values()]))
        if port is None:
            from prometheus_client import generate_latest

            text = generate_latest(found).decode()
            if out.as_json:
                out.answer({"metrics": text})
            for line in text.splitlines():
                out.line(line)
            return exits.OK
        from prometheus_client import start_http_server

        try:
            server, thread = start_http_server(port, host, found)
        except OSError as error:
            raise exits.Stopped(
                f"no metrics can be served on {host}:{port} ({error.strerror}); choose another --port", exits.CONFIG
            ) from None
        out.note(f"metrics of {len(project.syncs.files)} syncs on http://{host}:{server.server_port}/metrics; Ctrl-C ends it")
        try:
            thread.join()
        finally:
            server.shutdown()
    return exits.OK


COMMANDS = (metrics,)
