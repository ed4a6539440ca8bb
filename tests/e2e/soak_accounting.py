"""Compare the records and alerts that the functions report in the soak with load and truth."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
from collections import Counter, defaultdict
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from flowverdict.alerts.model import Alert, Severity, Status
from flowverdict.app.deadlines import BudgetedConfigSource
from flowverdict.app.observability import LogCount, Metric, Observability
from flowverdict.app.sources import SourcePlace
from flowverdict.flowlog.object_key import ObjectRef, Origin
from flowverdict.flowlog.records import RecordFormat
from flowverdict.flows.read_source import read_log_events, read_object
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.network.ec2 import Ec2Config
from flowverdict.network.ec2_clients import client_factory
from tests.e2e.samples import ACCOUNT_ID, HEADER, REGION
from tests.e2e.soak_load import LOG_GROUP
from tests.e2e.subscribers import log_events
from tests.helpers.alert_samples import Outbox
from tests.helpers.memory_functions import memory_functions
from tests.helpers.memory_stores import MemoryEvidence, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from flowverdict.alerts.model import Notification
    from flowverdict.flows.read_source import SourceRead
    from flowverdict.lifecycle.state_machine import AlertState
    from flowverdict.lifecycle.store import AlertStore
    from tests.e2e.emulator import Place
    from tests.e2e.soak_load import Load
    from tests.e2e.stack import Stack

READERS: Final = ("ClassifyS3Function", "ClassifyCloudWatchLogsFunction")
# The outcomes of a record, named as in ``records.RecordCounts``.
_KINDS = ("accepted", "rejected", "no_data", "skip_data", "malformed")
_MEASURED = {
    "records": Metric.RECORDS_READ,
    "rejected": LogCount.RECORDS_REJECTED,
    "malformed": Metric.RECORDS_MALFORMED,
    "skip_data": Metric.RECORDS_SKIP_DATA,
}
_START = "START RequestId: "
# As ``emulator_process`` writes it, since a line of a failed invocation may also come in the log of
# the next one.
_FAILED = re.compile(r"RequestId: (?P<id>\S+) Error: failed")

# Not an error of the accounting: a worker that had just started could not read the rules in time.
_JUDGED_WITHOUT_RULES = " (judged without rules, which could not be read in time)"

# A source by its name and its number of records: two log events of a stream differ in that.
type _Source = tuple[str, int]


@dataclass(slots=True)
class Report:
    """The figures of the run, and every difference from its load."""

    objects: int = 0
    log_events: int = 0
    records: int = 0
    accounted: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    failed: int = 0
    read: int = 0
    measured: int = 0
    redeliveries: int = 0
    expected: int = 0
    sent: int = 0
    twice: int = 0
    corrected: int = 0
    unheard: int = 0
    wrong: list[str] = field(default_factory=list)

    def check(self, *, holds: bool, otherwise: str) -> None:
        """Add a difference where a condition does not hold."""
        if not holds:
            self.wrong.append(otherwise)

    def lines(self) -> list[str]:
        """Return the figures, the most important ones on the last line."""
        counts = self.accounted
        kinds = ", ".join(
            f"{kind.replace('_', '-')} {counts[kind]}"
            for kind in ("rejected", "accepted", "no_data", "skip_data", "malformed")
        )
        beside = (
            f"{self.log_events} batches of log events, {self.failed} invocations failed",
            (
                f"{self.measured} of {self.read} records read are in the metrics, "
                "which lack those of killed invocations"
            ),
            (
                f"{self.corrected} alerts were sent before all of their window had arrived, "
                "and corrected"
            ),
            (
                f"{self.unheard} corrections were of messages that a killed worker had stored "
                "and not sent"
            ),
        )
        figures = (
            (
                f"soak: {self.objects} objects, {self.records} records in, "
                f"{counts.total()} accounted for ({kinds})"
            ),
            f"{self.kills} kills, {self.redeliveries} redeliveries",
            f"alerts expected {self.expected}, sent {self.sent}, twice {self.twice}",
        )
        return ["; ".join(beside), ", ".join(figures)]


# --- records --------------------------------------------------------------------------------------


def account_records(stack: Stack, load: Load, bucket: str, report: Report) -> None:
    """Compare the records that the functions read, each source once, with those put in."""
    put: dict[_Source, Counter[str]] = {}
    for flow_log in load.objects.values():
        put[f"s3://{bucket}/{flow_log.key}", flow_log.lines.counts.total()] = flow_log.lines.counts
    for events in load.log_events:
        put[f"{LOG_GROUP}:{events.stream}", events.lines.counts.total()] = events.lines.counts
    report.objects, report.log_events = len(load.objects), len(load.log_events)
    report.records = sum(counts.total() for counts in put.values())

    read: dict[_Source, Counter[str]] = {}
    for function in READERS:
        _account_function(stack, function, read, report)
    for counts in read.values():
        report.accounted += counts
    for source, counts in put.items():
        report.check(
            holds=read.get(source) == counts,
            otherwise=f"{source}: put {dict(counts)}, read {read.get(source)}",
        )
    report.check(
        holds=read.keys() <= put.keys(),
        otherwise=f"read, but never put: {sorted(read.keys() - put.keys())}",
    )


def _account_function(
    stack: Stack, function: str, read: dict[_Source, Counter[str]], report: Report
) -> None:
    messages = log_events(stack, function)
    failed = _failed(messages)
    report.failed += len(failed)
    lines = [json.loads(text) for _, text in messages if text.startswith("{")]
    # Records read, those read by invocations that succeeded, and those in the metrics.
    whole, ended, measured = Counter[str](), Counter[str](), Counter[str]()
    for line in lines:
        if line.get("message") == "flow logs read":
            counts = Counter(
                {kind: line["counts"][kind] for kind in _KINDS if line["counts"][kind]}
            )
            source = (line["source"], line["counts"]["records"])
            report.redeliveries += source in read
            report.check(
                holds=read.setdefault(source, counts) == counts,
                otherwise=f"{source} was read as two different things",
            )
            whole += counts
            whole["records"] += counts.total()
            if line["function_request_id"] not in failed:
                ended += counts
                ended["records"] += counts.total()
        report.redeliveries += line.get("message") == "read before, not read again"
        for kind, metric in _MEASURED.items():
            value = line.get(metric, 0)
            measured[kind] += int(sum(value) if isinstance(value, list) else value)
    report.read += whole["records"]
    report.measured += measured["records"]
    for kind in _MEASURED:
        # An invocation may be killed after it wrote its metrics and before it answered.
        at_least, at_most = ended[kind], whole[kind]
        report.check(
            holds=at_least <= measured[kind] <= at_most,
            otherwise=(
                f"{function} measured {measured[kind]} {kind}, should be {at_least} to {at_most}"
            ),
        )


def ended_well(stack: Stack, function: str) -> int:
    """Count the invocations of a function that ended without failing."""
    messages = log_events(stack, function)
    return sum(text.startswith(_START) for _, text in messages) - len(_failed(messages))


def _failed(messages: Sequence[tuple[str, str]]) -> frozenset[str]:
    """Return the ids of failed invocations: killed, stopped at the time limit, or with an error."""
    found = (_FAILED.fullmatch(text) for _, text in messages)
    return frozenset(match["id"] for match in found if match is not None)


# --- alerts ---------------------------------------------------------------------------------------


class Truth:
    """The same sources, each read once and all evaluated together, in memory."""

    def __init__(self, rules: Place, load: Load, bucket: str, hourly_limit: int) -> None:
        self.store, outbox = MemoryStore(), Outbox()
        observability, evidence = Observability("soak"), MemoryEvidence()
        with patch.dict(os.environ, rules.environment()), redirect_stdout(io.StringIO()):
            source = Ec2Config(
                clients=client_factory(),
                logger=observability.logger,
                default_region=REGION,
                own_account=ACCOUNT_ID,
                reader_role=None,
            )
            functions = memory_functions(
                store=self.store,
                evidence=evidence,
                publisher=outbox,
                configs=lambda: BudgetedConfigSource(source),
                hourly_limit=hourly_limit,
            )
            ingestion = functions.reader.begin()
            for flow_log in load.objects.values():
                ref = ObjectRef(bucket=bucket, key=flow_log.key)
                ingestion.ingest(
                    ref.source_id,
                    ref.name,
                    SourcePlace.of_object(flow_log.key),
                    partial(_read_object, flow_log.text, ref.name),
                )
            origin = Origin(account_id=ACCOUNT_ID, region=REGION)
            for number, events in enumerate(load.log_events):
                name = f"{LOG_GROUP}:{events.stream}"
                reading = partial(_read_log_events, events.lines.texts, name, origin)
                ingestion.ingest(
                    f"log-events-{number}",
                    name,
                    SourcePlace.of_stream(origin, LOG_GROUP, name),
                    reading,
                )
            assert ingestion.finish() == {}
            functions.evaluate_all()
        self.messages: Mapping[str, Notification] = {
            notification.fingerprint: notification for notification in outbox.sent
        }


def _read_object(text: str, name: str, seed: int) -> SourceRead:
    return read_object(io.BytesIO(gzip.compress(text.encode())), name=name, seed=seed)


def _read_log_events(messages: Sequence[str], name: str, origin: Origin, seed: int) -> SourceRead:
    return read_log_events(
        messages, name=name, formats=(RecordFormat.from_text(HEADER),), origin=origin, seed=seed
    )


def account_alerts(
    stack: Stack, truth: Truth, messages: Sequence[Mapping[str, Any]], report: Report
) -> None:
    """Compare the open alerts and every message with the truth."""
    table, client = stack.outputs["AlertTableName"], stack.place.client("dynamodb")
    pages = client.get_paginator("scan").paginate(TableName=table, ProjectionExpression="pk")
    keys = [item["pk"]["S"] for page in pages for item in page["Items"]]
    names = [key.partition("#")[2] for key in keys if key.startswith("alert#")]
    store = DynamoDbStore(client, table)
    found, expected = _open(store, names), _open(truth.store, truth.store.states)
    stored = store.load(names)
    for name in sorted(found.keys() | expected.keys()):
        report.check(
            holds=found.get(name) == expected.get(name),
            otherwise=(
                f"{name} is {found.get(name)}, should be {expected.get(name)}"
                f"{_without_rules(stored.get(name), truth.store.states.get(name))}"
            ),
        )
    unsent = [state.notification.title for state in stored.values() if state.pending is not None]
    report.check(holds=not unsent, otherwise=f"still to be sent: {unsent}")

    by_name: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for message in messages:
        by_name[message["fingerprint"]].append(message)
    report.expected = len(truth.messages)
    for name in sorted(by_name.keys() | truth.messages.keys()):
        _account_messages(name, by_name[name], truth.messages.get(name), report)
    report.check(
        holds=report.twice <= report.kills,
        otherwise=f"{report.twice} messages were sent twice by {report.kills} kills",
    )
    report.check(
        holds=report.unheard <= report.kills,
        otherwise=(
            f"{report.unheard} corrections were of messages never sent, with {report.kills} kills"
        ),
    )


def _open(store: AlertStore, names: Collection[str]) -> dict[str, tuple[object, ...]]:
    """Return the facts of the open alerts, without texts: those of the last window are stored."""
    return {
        name: (
            notification.kind,
            notification.severity,
            (
                notification.verdict,
                notification.leg,
                notification.service_port,
                notification.confidence,
            )
            if isinstance(notification, Alert)
            else None,
            notification.counts.records,
            notification.counts.flows,
            notification.counts.packets,
            notification.counts.bytes,
            sorted(notification.counts.confidences),
        )
        for name, state in store.load(names).items()
        if state.is_open
        for notification in [state.notification]
    }


def _account_messages(
    name: str, messages: Sequence[Mapping[str, Any]], expected: Notification | None, report: Report
) -> None:
    """Compare the messages of one alert with the truth: a message in error must be corrected."""
    times = Counter(
        (message["status"], message.get("opened_at"), message["severity"]) for message in messages
    )
    report.twice += sum(count - 1 for count in times.values())
    begun = {opened for status, opened, _ in times if status == Status.FIRING}
    ended = {opened for status, opened, _ in times if status == Status.RESOLVED}
    report.corrected += len(ended)
    # Whether a killed worker had sent the message that it stored cannot be known, so the correction
    # is sent in any case.
    report.unheard += len(ended - begun)
    open_episodes = begun - ended
    severities = {
        Severity(severity)
        for status, opened, severity in times
        if status == Status.FIRING and opened in open_episodes
    }
    # A malformed line or SKIPDATA that arrives later lowers what an alert was sent as. No message
    # says so: the alert is as open as before.
    sent = expected is not None and any(
        severity.rank <= expected.severity.rank for severity in severities
    )
    report.sent += sent
    right = not open_episodes if expected is None else len(open_episodes) == 1 and sent
    report.check(
        holds=right and max(times.values(), default=0) <= 2,  # once more after a kill
        otherwise=_mismatch(name, messages, expected),
    )


def _without_rules(found: AlertState | None, expected: AlertState | None) -> str:
    """Name the case of an alert that was last judged while its rules could not be read in time."""
    if found is None or expected is None:
        return ""
    ours, theirs = found.notification, expected.notification
    if not (isinstance(ours, Alert) and isinstance(theirs, Alert)):
        return ""
    return _JUDGED_WITHOUT_RULES if ours.rules_read_at is None and theirs.rules_read_at else ""


def _mismatch(
    name: str, messages: Sequence[Mapping[str, Any]], expected: Notification | None
) -> str:
    required = None if expected is None else (expected.severity, expected.title)
    fields = ("status", "opened_at", "severity", "title", "status_reason", "rules_read_at")
    sent = [tuple(message.get(field) for field in fields) for message in messages]
    # Every network of the soak has rules; a notice has no such key.
    lacks = any(message.get("rules_read_at", "") is None for message in messages)
    case = _JUDGED_WITHOUT_RULES if lacks else ""
    return f"{name} should be sent as {required}, was sent as {sent}{case}"
