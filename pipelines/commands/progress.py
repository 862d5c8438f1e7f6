"""What a person watches while a run works: one moving line per step on a terminal, nothing anywhere else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from pipelines.terminal import Screen

__all__ = ["Watcher", "watching"]

_WORDS = {
    "extract": "reading the source",
    "map": "mapping",
    "observe": "reading the sink",
    "diff": "comparing",
    "plan": "planning",
    "apply": "writing",
    "recover": "settling earlier writes",
    "settle": "reading back",
    "verify": "verifying",
}

Watcher = Callable[[str, int], None]
"""Told a step's name and how many records it finished since it was told last. Threads may share it."""


@contextmanager
def watching(screen: Screen, title: str) -> Iterator[Watcher]:
    """Show progress until the block ends; then the lines are gone and only the result remains."""
    console = screen.live
    if console is None:
        yield lambda step, count: None
        return
    from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[sync]}", style="bold"),
        TextColumn("{task.description:<24}"),
        TextColumn("{task.fields[said]:>18}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, refresh_per_second=8) as progress:
        tasks: dict[str, TaskID] = {}
        counts: dict[str, int] = {}
        lock = Lock()

        def watch(step: str, count: int) -> None:
            with lock:
                if step not in tasks:
                    for earlier in tasks.values():
                        progress.update(earlier, total=1, completed=1)
                    tasks[step] = progress.add_task(_WORDS.get(step, step), total=None, sync=title, said="")
                counts[step] = counts.get(step, 0) + count
                progress.update(tasks[step], said=f"{counts[step]:,} records" if counts[step] else "")

        watch("starting", 0)
        yield watch
