"""``flowverdict backfill``: send a bucket's existing objects to the deployed stack's queue.

The whole prefix is listed twice: first to count the objects, then to send them. Listing takes
minutes where sending takes hours, so the list is not stored in between. The progress is written
after the queue accepted a batch. A crash before that sends ten objects twice, which the stack
counts once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from flowverdict.core.errors import FlowVerdictError
from flowverdict.core.formatting import counted, isoformat
from flowverdict.core.untrusted import one_line
from flowverdict.lifecycle.dynamodb_source_items import KEPT
from flowverdict_cli import cost_model
from flowverdict_cli.backfill_listing import Location, Skipped, Tally, list_objects
from flowverdict_cli.backfill_queue import Pace, Queue, State, StateFile, Task, default_state_path
from flowverdict_cli.progress import shown
from flowverdict_cli.stack import NoStackError, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from botocore.client import BaseClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from rich.progress import Progress

    from flowverdict_cli.backfill_listing import HistoryObject, Selection


# 50 objects of 10,000 records each are half a million records a second, which by the cost model
# keep some ten functions busy that read. With the template's default S3FunctionConcurrency the rest
# waits in the queue, and what was read waits for the one evaluator of each account's Region.
DEFAULT_RATE = 50.0
QUEUE_OUTPUT = "FlowLogQueueUrl"
BUCKET_OUTPUT = "FlowLogBucketName"
# More refused messages than that are not an accident: the queue's or the role's settings are wrong.
_MAX_REFUSED = 100
_LINE_EVERY = 1_000  # objects between two lines of progress without a terminal
_TRIES = 8  # of a call, with standard backoff; a backfill can wait
_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The arguments of the command.

    Parameters
    ----------
    queue_url
        The queue; ``None`` for the stack's queue.
    rate
        Maximum objects a second.
    state
        The state file; ``None`` for the default.
    dry_run
        Whether nothing will be sent, so that the stack need not be there yet.
    """

    location: Location
    selection: Selection
    stack_name: str
    queue_url: str | None = None
    region: str | None = None
    rate: float = DEFAULT_RATE
    state: Path | None = None
    dry_run: bool = False


@dataclass(slots=True)
class Clients:
    """Clients with the user's own configuration and credentials, created on first use."""

    region: str | None
    _made: dict[str, BaseClient] = field(default_factory=dict)

    def get(self, service: str) -> BaseClient:
        """Return a service's client.

        Raises
        ------
        FlowVerdictError
            The profile does not exist, or no Region is configured.
        """
        import boto3  # noqa: PLC0415 - half a second, only where a client is made

        if service not in self._made:
            config = Config(retries={"mode": "standard", "total_max_attempts": _TRIES})
            try:
                session = boto3.Session(region_name=self.region)
                self._made[service] = cast(
                    "BaseClient", cast("Any", session).client(service, config=config)
                )
            except BotoCoreError as error:
                raise FlowVerdictError(f"AWS: {error}") from error
        return self._made[service]


# --- the stack


def find_queue(clients: Clients, stack_name: str, bucket: str) -> str:
    """Return the address of the stack's queue, if the stack's function may read the bucket.

    Raises
    ------
    FlowVerdictError
        The stack cannot be described, lacks the output, or reads another bucket; ``NoStackError``
        where it does not exist.
    """
    client = clients.get("cloudformation")
    outputs = describe(client, stack_name, "--queue-url avoids this call").outputs
    url = outputs.get(QUEUE_OUTPUT)
    if url is None:
        raise FlowVerdictError(
            f"stack {stack_name} has no output {QUEUE_OUTPUT}: deploy this version, "
            "or use --queue-url"
        )
    own = outputs.get(BUCKET_OUTPUT)
    if own is not None and own != bucket:
        raise FlowVerdictError(
            f"stack {stack_name} may read s3://{own} only, and every object of s3://{bucket} would "
            "end in its dead-letter queue; if you allowed the stack to read that bucket too, "
            "use --queue-url"
        )
    return url


# --- messages to the user

# A test compares these texts with the template's settings.
ALERTS_NOTE = (
    "Alerts: problems are notified as new, however old their records are. Messages have the\n"
    "records' own times, and the rules are today's. The limit MessagesPerHour applies to these\n"
    "and to current alerts together; its last third is reserved for critical alerts. To receive\n"
    "fewer messages, add a silence with an end or a minimum_severity to the policy document."
)
COUNTED_NOTE = (
    f"Counted once: the stack skips objects that it read in the last {KEPT // _DAY} days. Objects\n"
    "that it read earlier would be counted and notified again; --until with the day of its\n"
    "deployment leaves these out."
)


def _size(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1_000:  # noqa: PLR2004 - units of a thousand
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1_000
    return f"{size:,.1f} TB"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return (
        f"{hours:,} h {minutes} min"
        if hours
        else f"{minutes} min {whole % 60} s"
        if minutes
        else f"{whole} s"
    )


def _skipped_lines(tally: Tally) -> Iterator[str]:
    for reason, count in tally.skipped.most_common():
        more = " (--all-objects sends them too)" if reason is Skipped.NOT_A_FLOW_LOG else ""
        yield f"skipped: {counted(count, 'object')}: {reason}{more}"


def plan_lines(request: Request, task: Task, tally: Tally, state: State) -> Iterator[str]:
    """Yield the lines of a dry run: what would be sent, the duration and the cost."""
    yield f"from: {task.location}"
    yield f"to: {task.queue_url or 'the stack, which is not deployed yet'}"
    if state.sent:
        last_key = one_line(state.last_key or "")
        yield f"sent before: {counted(state.sent, 'object')}, up to {last_key}"
    if state.refused:
        yield f"refused before, tried again: {counted(len(state.refused), 'object')}"
    yield f"would be sent: {counted(tally.objects, 'object')}, {_size(tally.size)}"
    yield from _skipped_lines(tally)
    if tally.objects and tally.first is not None and tally.last is not None:
        first, last = int(tally.first.timestamp()), int(tally.last.timestamp())
        yield f"written: {isoformat(first)} to {isoformat(last)}"
        yield f"at {request.rate:g} a second: {_duration(tally.objects / request.rate)}"
        yield from _cost_lines(tally)


def _cost_lines(tally: Tally) -> Iterator[str]:
    measured = cost_model.MEASURED["recommended"]
    workload = cost_model.Workload(
        records=tally.size / measured.gzip_bytes,
        objects=tally.objects,
        batch=cost_model.BATCH,
        flow_logs=tally.flow_logs_of_a_partition,
        # Keys sort by flow log, then by time, so a batch has successive files of one flow log.
        windows=min(tally.objects, cost_model.BATCH) + 1,
        minutes=tally.objects,
    )
    lines = cost_model.reading_cost(workload, measured)
    yield (
        f"estimate: {workload.records:,.0f} records if gzipped, "
        f"{_duration(cost_model.duration_ms(workload, measured) / 1_000)} of Lambda "
        f"({cost_model.MEMORY_MB:,} MB), ${cost_model.total(lines):,.2f} at list prices of "
        f"{cost_model.REGION}"
    )
    yield "estimated with figures from another processor than Lambda's: docs/cost.md"


# --- the run


class Backfill:
    """One run of the command.

    Parameters
    ----------
    pace
        Returns the limiter for a rate.
    wait
        Waits for some seconds before another try of refused messages.
    """

    def __init__(
        self,
        request: Request,
        *,
        clients: Clients | None = None,
        pace: Callable[[float], Pace] = Pace,
        wait: Callable[[float], None] | None = None,
    ) -> None:
        self._request = request
        self._clients = Clients(region=request.region) if clients is None else clients
        self._pace = pace(request.rate)
        url = request.queue_url or self._find_queue()
        self._task = Task(location=request.location, queue_url=url, selection=request.selection)
        self._file = StateFile(
            request.state or Path(default_state_path(request.location)), self._task
        )
        self._state = self._file.load() if url else State()
        sqs = cast("SQSClient", self._clients.get("sqs"))
        self._queue = (
            Queue(sqs, url, request.location.bucket)
            if wait is None
            else Queue(sqs, url, request.location.bucket, wait=wait)
        )

    def _find_queue(self) -> str:
        """Return the address of the queue; of a dry run before there is a stack, nothing."""
        request = self._request
        try:
            return find_queue(self._clients, request.stack_name, request.location.bucket)
        except NoStackError:
            if not request.dry_run:
                raise
            return ""

    def dry_run(self) -> None:
        """Print what would be sent; send nothing."""
        with _progress() as progress:
            tally = self._counted(progress)
        for line in plan_lines(self._request, self._task, tally, self._state):
            click.echo(line)
        click.echo(f"\n{ALERTS_NOTE}\n\n{COUNTED_NOTE}")

    def run(self) -> bool:
        """Send all objects that are left; return whether the queue accepted all.

        Raises
        ------
        FlowVerdictError
            The bucket cannot be listed, the queue cannot be used, or the state cannot be written.
        """
        before = self._state.sent
        with _progress() as progress:
            tally = self._counted(progress)
            if tally.objects or self._state.refused:
                click.echo(f"{ALERTS_NOTE}\n{COUNTED_NOTE}", err=True)
            try:
                self._send(progress, tally.objects + len(self._state.refused))
            except KeyboardInterrupt:
                progress.stop()
                click.echo(f"flowverdict: stopped; {self._progress_text(before)}", err=True)
                raise
            except FlowVerdictError as error:
                raise FlowVerdictError(f"{error}; {self._progress_text(before)}") from error
        for line in _skipped_lines(tally):
            click.echo(line, err=True)
        for refused in self._state.refused:
            click.echo(
                f"flowverdict: refused s3://{self._task.location.bucket}/{refused.key!a}",
                err=True,
            )
        sent = f"sent {counted(self._state.sent - before, 'object')}"
        if before:
            sent += f", {before:,} before"
        click.echo(
            f"{sent}; the progress is in {self._file.path}: with this file the next run sends "
            "newer objects only, without it all objects again"
        )
        return not self._state.refused

    def _progress_text(self, before: int) -> str:
        sent = counted(self._state.sent - before, "object")
        return f"{sent} sent in this run; the same command continues ({self._file.path})"

    def _listed(self, tally: Tally) -> Iterator[HistoryObject]:
        client = cast("S3Client", self._clients.get("s3"))
        return tally.select(
            list_objects(client, self._task.location, self._state.last_key), self._task.selection
        )

    def _counted(self, progress: Progress) -> Tally:
        tally = Tally()
        bar = progress.add_task("listing", total=None)
        for number, _ in enumerate(self._listed(tally), 1):
            progress.update(bar, completed=number)
        progress.remove_task(bar)
        return tally

    def _send(self, progress: Progress, total: int) -> None:
        bar = progress.add_task("sending", total=total)
        size = self._pace.batch
        done = 0
        # Objects that the queue refused in an earlier run are first, and stay in the state until
        # the queue accepts them.
        for again, objects in (
            (True, iter([*self._state.refused])),
            (False, self._listed(Tally())),
        ):
            for batch in batched(cast("Iterable[HistoryObject]", objects), size, strict=False):
                self._pace.take(len(batch))
                refusals = self._queue.send(batch)
                self._state.record(batch, refusals, again=again)
                self._file.save(self._state)
                for refusal in refusals:
                    progress.console.print(
                        f"refused: {refusal.refused.key!a}: {refusal.reason}",
                        markup=False,
                        soft_wrap=True,
                    )
                progress.update(bar, advance=len(batch))
                if (
                    not progress.live.is_started
                    and done // _LINE_EVERY < (done + len(batch)) // _LINE_EVERY
                ):
                    click.echo(f"{done + len(batch):,} of {total:,} sent", err=True)
                done += len(batch)
                if len(self._state.refused) >= _MAX_REFUSED:
                    raise FlowVerdictError(
                        f"the queue refused {len(self._state.refused):,} messages; "
                        f"the last reason: {refusals[-1].reason}"
                    )


def _progress() -> AbstractContextManager[Progress]:
    """Show a progress bar on a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return shown(*columns)
