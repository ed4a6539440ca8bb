"""Progress of long work: on standard error, only where that is a terminal, removed at the end."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from flowverdict.core.untrusted import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import ProgressColumn, TaskID


@contextmanager
def shown(*columns: ProgressColumn, wanted: bool = True) -> Iterator[Progress]:
    """Show tasks in these columns while the block runs; ``wanted`` is whether at all."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    with Progress(
        *columns,
        console=Console(stderr=True, highlight=False),
        transient=True,
        disable=not (wanted and is_terminal),
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
    columns = (
        SpinnerColumn(),
        TextColumn("reading {task.description}: {task.completed:,.0f}", markup=False),
    )
    with shown(*columns) as progress:
        yield Counter(progress)
