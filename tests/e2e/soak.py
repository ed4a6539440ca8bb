"""Load a deployed stack while its workers are killed, then account for every record and alert.

``make soak`` runs this for minutes. Objects go through S3 and SQS, log events through CloudWatch
Logs, at a steady rate with bursts of ten times that rate. Every few seconds a process in which the
emulator runs a function is killed (SIGKILL). The queue messages of a killed worker come back after
their visibility time-out, and its log event is tried again, as on AWS. The truth is the alerts of
the same records in one undisturbed run in memory (``tests/helpers/memory_stores.py``).

Four settings differ from the deployed ones, since minutes stand for days here. A message comes
back after ``_VISIBLE_AFTER`` seconds and not after half an hour. It may come back more than three
times, since a worker is killed every few seconds. The sweep runs every ``_SWEEP_EVERY`` seconds.
No soak sends as many messages as the limit of an hour.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

from tests.e2e.connections import PROC, descendants
from tests.e2e.emulator import emulator, moto_server
from tests.e2e.samples import ACCOUNT_ID, HEADER, REGION, scheduled
from tests.e2e.soak_accounting import (
    READERS,
    Report,
    Truth,
    account_alerts,
    account_records,
    ended_well,
)
from tests.e2e.soak_load import LOG_GROUP, FlowLogObject, Load, make_network
from tests.e2e.stack import QUEUES, Build, Stack, build
from tests.e2e.subscribers import (
    Queue,
    function_log,
    put_log_events,
    put_object,
    subscribe,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.emulator import Emulator

_STEADY, _BURST = 1.0, 10.0  # deliveries a second
_BURST_SECONDS, _BURST_EVERY = 30.0, 90.0
_FILES = 171.0  # a minute at these rates; five of seven deliveries are files
_KILL_PAUSES = (1.0, 4.0)  # seconds between two kills
# Seconds until an idle worker may be killed as well: on a quick machine few workers are seen busy,
# and to kill a worker just before its work serves the purpose too.
_PATIENCE = 0.5
_BUSY_WITHIN = 0.1  # seconds; a worker that uses no clock tick within them is idle
# Lambda tries a log event three times; an event whose worker is killed each time is lost. So the
# workers of this function are spared for these seconds after a kill.
_LOGS_WORKER_SPARED = 20.0
_VISIBLE_AFTER = 20  # seconds, longer than any invocation here takes
_RECEIVED_AT_MOST = 100
# Seconds ahead, longer than Intervals.outbox: a sweep as of then sends every message not yet sent.
_OVERDUE = 600.0
_SWEEP_EVERY = 10.0
_LOOK_EVERY = 2.0
# Takes 5 s, or a minute and a half on a machine with five times the load that it can take.
_DRAIN_SECONDS = 300.0
# Characters of the emulator's log that are shown if the stack does not finish its work.
_LOG_END = 10_000
_CAP = 100_000  # messages an hour
_DEAD_LETTERS: Final = (
    "FlowLogDeadLetterQueue",
    "SignalDeadLetterQueue",
    "ClassifyCloudWatchLogsDeadLetterQueue",
)
_PARAMETERS: Final = {
    "FlowLogGroupName": LOG_GROUP,
    "FlowLogFormat": HEADER,
    "ResolveMinutes": "1440",
    "RepeatMinutes": "1440",
    "DigestHours": "720",
    "S3FunctionConcurrency": "4",
}


def soak(built: Build, seconds: float, seed: int, speed: float = 1.0) -> Report:
    """Run the load at ``speed`` times the usual rates, drain, and account for everything.

    Raises
    ------
    TimeoutError
        The stack did not finish its work in time.
    """
    report = Report()
    with (
        moto_server(account_id=ACCOUNT_ID, region=REGION) as rules,
        emulator(account_id=ACCOUNT_ID, region=REGION, ec2_url=rules.url) as aws,
    ):
        load = Load(make_network(rules), Random(seed), int(time.time()))  # noqa: S311 - the same load for the same seed
        aws.place.client("logs").create_log_group(logGroupName=LOG_GROUP)
        stack = Stack(build=built, place=aws.place, name="flowverdict")
        stack.deploy(_PARAMETERS)
        _be_impatient(stack)
        # S3 sends a test event when the bucket is made. If a worker had received the event before
        # ``_be_impatient`` and were killed, the event would come back after half an hour.
        wait_until(
            lambda: stack.waiting_messages() == 0 or None,
            "the end of what came with the deployment",
        )
        told = subscribe(aws.place, stack.outputs["AlertTopicArn"], "told")
        with _killing(aws, stack, Random(seed), report):  # noqa: S311 - as above
            _feed(stack, load, seconds, speed)
        _drain(aws, stack, load)
        # Sends the messages that a killed worker has stored and not sent.
        _sweep(stack, "RequestResponse", _OVERDUE)
        messages = [json.loads(text) for text in told.rest()]
        bucket = stack.outputs["FlowLogBucketName"]
        account_records(stack, load, bucket, report)
        account_alerts(stack, Truth(rules, load, bucket, _CAP), messages, report)
        for name in _DEAD_LETTERS:
            dead = Queue(place=aws.place, url=stack.physical_id(name)).rest()
            report.check(
                holds=not dead, otherwise=f"{name} has {len(dead)} messages, the first: {dead[:1]}"
            )
    return report


# --- the load -------------------------------------------------------------------------------------


def _be_impatient(stack: Stack) -> None:
    sqs = stack.place.client("sqs")
    for name in QUEUES:
        url = stack.physical_id(name)
        redrive = json.loads(
            sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"][
                "RedrivePolicy"
            ]
        )
        attributes = {
            "VisibilityTimeout": str(_VISIBLE_AFTER),
            "RedrivePolicy": json.dumps(redrive | {"maxReceiveCount": _RECEIVED_AT_MOST}),
        }
        sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
    functions = stack.place.client("lambda")
    for name in ("EvaluateWindowsFunction", "SweepAlertsFunction"):
        function = stack.physical_id(name)
        variables = functions.get_function_configuration(FunctionName=function)["Environment"]
        variables["Variables"]["MESSAGES_PER_HOUR"] = str(_CAP)
        functions.update_function_configuration(FunctionName=function, Environment=variables)


def _feed(stack: Stack, load: Load, seconds: float, speed: float) -> None:
    """Deliver for so many seconds.

    If a burst is more than the emulator takes, the deliveries come later, and none is dropped.
    """
    began = time.monotonic()
    due = on_sweep = 0.0
    deliveries = load.deliveries()
    while due < seconds:
        delivery = next(deliveries)
        if due >= on_sweep + _SWEEP_EVERY:
            _sweep(stack, "Event", 0)
            on_sweep = due
        time.sleep(max(0.0, began + due - time.monotonic()))
        if isinstance(delivery, FlowLogObject):
            put_object(stack, delivery.key, delivery.text)
        else:
            put_log_events(stack.place, LOG_GROUP, delivery.stream, delivery.lines.texts)
        due += 1 / (_BURST if _is_burst(due, seconds) else _STEADY) / speed


def _is_burst(at: float, seconds: float) -> bool:
    # The middle third of each 90 seconds, or of the whole run if that is shorter.
    every = min(_BURST_EVERY, seconds)
    return every / 3 <= at % every < every / 3 + min(_BURST_SECONDS, every / 3)


@contextmanager
def _killing(aws: Emulator, stack: Stack, random: Random, report: Report) -> Iterator[None]:
    """Kill workers until the block ends."""
    folders = {
        f"ministack-lambda-{stack.physical_id(name)}-": name
        for name in (*READERS, "SweepAlertsFunction")
    }
    ended = threading.Event()

    def to_kill(spared: str | None, *, idle: bool) -> list[tuple[int, str]]:
        workers = [
            (pid, name)
            for pid in descendants(aws.process_id)
            for folder, name in folders.items()
            if name != spared and folder in _command(pid)
        ]
        if idle:
            return workers
        before = [_cpu(pid) for pid, _ in workers]
        time.sleep(_BUSY_WITHIN)
        return [
            worker for worker, ticks in zip(workers, before, strict=True) if _cpu(worker[0]) > ticks
        ]

    def go_on_killing() -> None:
        spared_until = 0.0
        while not ended.wait(random.uniform(*_KILL_PAUSES)):
            found: list[tuple[int, str]] = []
            patient_until = time.monotonic() + _PATIENCE
            while not found and not ended.is_set():
                spared = READERS[1] if time.monotonic() < spared_until else None
                found = to_kill(spared, idle=time.monotonic() > patient_until)
            if found:
                pid, name = random.choice(found)
                with suppress(ProcessLookupError):  # ended by itself
                    os.kill(pid, signal.SIGKILL)
                    report.kills += 1
                spared_until = (
                    time.monotonic() + _LOGS_WORKER_SPARED if name == READERS[1] else spared_until
                )

    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(go_on_killing)
        try:
            yield
        finally:
            ended.set()
        killing.result()


def _command(pid: int) -> str:
    try:
        return (PROC / str(pid) / "cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # ended since it was listed


def _cpu(pid: int) -> int:
    """Return the clock ticks that a process has used, 0 for a process that has ended."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(fields[11]) + int(fields[12])


def _drain(aws: Emulator, stack: Stack, load: Load) -> None:
    """Wait until the queues are empty and all log events are read."""
    deadline = time.monotonic() + _DRAIN_SECONDS
    while True:
        left = stack.waiting_messages()
        judged = ended_well(stack, READERS[1])
        if not left and judged >= len(load.log_events):
            return
        if time.monotonic() > deadline:
            failures = [
                line["reason"]
                for name in READERS
                for line in function_log(stack, name)
                if line["level"] == "ERROR"
            ][-3:]
            told = (
                f"{left} messages are in the queue, {judged} of {len(load.log_events)} batches "
                f"of log events judged; {failures}"
            )
            raise TimeoutError(f"{told}\n{aws.log[-_LOG_END:]}")
        time.sleep(_LOOK_EVERY)


def _sweep(stack: Stack, kind: str, seconds_from_now: float) -> None:
    name, payload = (
        stack.physical_id("SweepAlertsFunction"),
        json.dumps(scheduled(seconds_from_now)).encode(),
    )
    answer = stack.place.client("lambda").invoke(
        FunctionName=name, InvocationType=kind, Payload=payload
    )
    if "FunctionError" in answer:
        raise RuntimeError(answer["Payload"].read().decode())


def main() -> int:
    """Run the soak, print its figures, and return 1 if a figure differs from the load or truth.

    ``SOAK_SECONDS`` or ``SOAK_MINUTES`` set the duration, ``SOAK_FILES`` the files a minute,
    ``SOAK_SEED`` the seed of the load, and ``SOAK_BUILT`` a finished build.
    """
    seconds = float(
        os.environ.get("SOAK_SECONDS") or 60 * float(os.environ.get("SOAK_MINUTES") or 3)
    )
    # moto's server writes a line for each request.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    seed = int(os.environ.get("SOAK_SEED") or 1)
    speed = float(os.environ.get("SOAK_FILES") or _FILES) / _FILES
    with tempfile.TemporaryDirectory(prefix="flowverdict-soak-") as name:
        built = os.environ.get("SOAK_BUILT")
        folder = Build(folder=Path(built), seconds=0.0) if built else build(Path(name))
        report = soak(folder, seconds, seed, speed)
    sys.stdout.writelines(f"{line}\n" for line in (*report.wrong, *report.lines()))
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
