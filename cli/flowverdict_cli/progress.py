"""Progress of long work: on standard error, only where that is a terminal, removed at the end."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowverdict.core.untrusted import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress, ProgressColumn, TaskID


def on_terminal() -> bool:
    """Return whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def shown(*columns: ProgressColumn) -> Iterator[Progress]:
    """Show tasks in these columns while the block runs."""
    from rich.console import Console  # noqa: PLC0415 - takes as long as reading 100,000 records
    from rich.progress import Progress  # noqa: PLC0415 - as above

    with Progress(
        *columns,
        console=Console(stderr=True, highlight=False),
        transient=True,
        disable=not on_terminal(),
    ) as progress:
        yield progress


class Counter:
    """Shows how many elements of a list of unknown length were read so far."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def show(self, what: str, count: int) -> None:
        """Show the current list, in place of the one before, and its elements so far."""
        if self._progress.disable:
            return
        if what not in self._tasks:
            for task in self._tasks.values():
                self._progress.remove_task(task)
            self._tasks = {what: self._progress.add_task(one_line(what), total=None)}
        self._progress.update(self._tasks[what], completed=count)


@contextmanager
def counting() -> Iterator[Counter]:
    """Show what is read, by its name, and how many elements."""
    from rich.progress import SpinnerColumn, TextColumn  # noqa: PLC0415 - as above

    columns = (
        SpinnerColumn(),
        TextColumn("reading {task.description}: {task.completed:,.0f}", markup=False),
    )
    with shown(*columns) as progress:
        yield Counter(progress)
