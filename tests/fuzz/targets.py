"""What is fuzzed: each target takes any bytes, reads them as one decoder would, and checks what the decoder promises.

A target raises ``AssertionError`` where a promise is broken, lets every unexpected exception through, and says whether the
input was taken or refused. It needs no fuzzer: ``test_seeds.py`` runs the seeds through it, ``engine.py`` what atheris makes of
them.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import tempfile
import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from flowverdict.alerts.codec import notification_from_json
from flowverdict.alerts.grouping import detections, group
from flowverdict.alerts.model import Alert, Notice
from flowverdict.core.errors import (
    MAX_ERROR_TEXT,
    ConfigError,
    EnvelopeError,
    FlowVerdictError,
    FormatError,
    NotificationError,
    PolicyError,
)
from flowverdict.core.formatting import isoformat
from flowverdict.delivery import sns
from flowverdict.delivery.renderers import RENDERERS, email, ocsf, pagerduty, slack
from flowverdict.flowlog.cloudwatch_logs import decode
from flowverdict.flowlog.fields import FIELDS, MAX_EPOCH, MAX_PORT, TRANSIT_GATEWAY_FIELDS
from flowverdict.flowlog.line_reader import (
    MAX_SAMPLES,
    LineReader,
    header_format,
    read_file,
    read_messages,
)
from flowverdict.flowlog.parquet import MAGIC
from flowverdict.flowlog.records import (
    DEFAULT_FORMAT,
    MalformedLine,
    MalformedReason,
    RecordCounts,
    RecordFormat,
)
from flowverdict.flowlog.s3_events import is_sqs_event, objects_in, objects_in_message, scheduled_at
from flowverdict.network.snapshot import load_snapshot, parse_snapshot
from flowverdict.policy.document import parse_policy
from flowverdict.verdict.batch import Batch, FixedConfig
from flowverdict.verdict.contract import to_json
from flowverdict.verdict.explain import explain_one

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flowverdict.alerts.model import Notification
    from flowverdict.flowlog.s3_events import ObjectRef
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.network.configuration import NetConfig

SCENARIOS = Path(__file__).parents[1] / "scenarios"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A decoder under test.

    Parameters
    ----------
    check
        Runs an input; true if it was taken, false if it was refused by name.
    breaks
        The function of this module that stands for the decoder: a test replaces it, to see that the target would notice.
    tokens
        Words that the decoder knows, parted by blanks, for the fuzzer to put into inputs.
    is_json
        Whether the input is JSON, and so worth mutating as such.
    max_bytes
        Longest input that the fuzzer tries.
    """

    check: Callable[[bytes], bool]
    breaks: str
    tokens: str = ""
    is_json: bool = False
    max_bytes: int = 4_096


def refused(error: FlowVerdictError | MalformedLine) -> bool:
    """Check what every refusal promises: one printable line of bounded length."""
    text = str(error)
    assert text
    assert text.isprintable()
    assert len(text) <= MAX_ERROR_TEXT
    return False


# --- text files -------------------------------------------------------------------------------------------------------


class Dribble:
    """A stream that gives at most so many bytes at a time, as networks do."""

    def __init__(self, content: bytes, most: int) -> None:
        self._content = io.BytesIO(content)
        self._most = most

    def read(self, size: int) -> bytes:
        return self._content.read(min(size, self._most))


type Outcome = tuple[tuple[object, ...], Mapping[str, int], tuple[str, ...]] | str


def outcome_of(
    content: bytes, headerless: tuple[RecordFormat, ...], most: int | None = None
) -> Outcome:
    """Read a file; give everything that came of it, or the text of the refusal."""
    reader = LineReader(headerless)
    stream = io.BytesIO(content) if most is None else cast("BinaryIO", Dribble(content, most))
    try:
        records = tuple(read_file(stream, name="file", reader=reader, headerless=headerless))
    except FlowVerdictError as error:
        refused(error)
        return str(error)
    counts = reader.counts.as_mapping()
    assert len(records) == counts["records"] - counts["malformed"] - counts["transit_gateway"]
    assert len(reader.samples) == min(MAX_SAMPLES, counts["malformed"])
    assert all(sample.isprintable() and len(sample) < 1_000 for sample in reader.samples)
    assert {
        reason.removeprefix("malformed.") for reason in counts if reason.startswith("malformed.")
    } <= {*MalformedReason}
    return records, counts, tuple(reader.samples)


def check_text_file(data: bytes) -> bool:
    """Every line of a plain file is counted; gzipped or in small pieces it reads the same. The first byte is options."""
    options, content = (data[0] if data else 0), data[1:]
    headerless = (DEFAULT_FORMAT,) if options & 1 else ()
    outcome = outcome_of(content, headerless)
    assert outcome_of(content, headerless, most=1 + options % 61) == outcome
    if content.startswith(b"\x1f\x8b"):
        return not isinstance(outcome, str)
    assert outcome_of(gzip.compress(content, 1, mtime=0), headerless) == outcome
    if isinstance(outcome, str):
        return False
    counts = outcome[1]
    lines = content.count(b"\n") + (not content.endswith(b"\n"))
    assert counts["records"] + counts["header_lines"] + counts["blank_lines"] == lines
    return True


def check_gzip_file(data: bytes) -> bool:
    """What comes in as gzip reads as what it unpacks to, or is refused; in small pieces too."""
    content = data if data.startswith(b"\x1f\x8b") else b"\x1f\x8b" + data
    outcome = outcome_of(content, ())
    assert outcome_of(content, (), most=1 + len(data) % 61) == outcome
    try:
        plain = gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        assert isinstance(outcome, str)
        return False
    if not plain.startswith(b"\x1f\x8b"):
        assert outcome == outcome_of(plain, ())
    return not isinstance(outcome, str)


def check_parquet_file(data: bytes) -> bool:
    """What is taken for a Parquet file is refused, or as many records are counted as it has; in small pieces too."""
    content = data if data.startswith(MAGIC) else MAGIC + data
    outcomes: list[RecordCounts | str] = []
    for stream in (io.BytesIO(content), cast("BinaryIO", Dribble(content, 1 + len(data) % 61))):
        try:
            reading = Batch().add_file(stream, name="file")
        except FlowVerdictError as error:
            refused(error)
            outcomes.append(str(error))
            continue
        assert reading.counts.header_lines == 1
        assert all(sample.isprintable() and len(sample) < 1_000 for sample in reading.samples)
        outcomes.append(reading.counts)
    assert outcomes[0] == outcomes[1]
    return not isinstance(outcomes[0], str)


def check_record_format(data: bytes) -> bool:
    """A format gives itself back, as header and as EC2 writes it; what a line was read to, it is written to and read again."""
    head, _, rest = data.partition(b"\n")
    text = head.decode("utf-8", "surrogateescape")
    try:
        record_format = RecordFormat.from_text(text)
    except FormatError as error:
        assert header_format(head) is None or "${" in text
        return refused(error)
    assert RecordFormat.from_header(" ".join(record_format.names)) == record_format
    assert (
        RecordFormat.from_log_format(" ".join(f"${{{name}}}" for name in record_format.names))
        == record_format
    )
    assert header_format(head) in {None, record_format}
    try:
        record = record_format.parse(rest.decode("utf-8", "surrogateescape"))
    except MalformedLine as malformed:
        return refused(malformed)
    line = record_format.render(record)
    assert line.isascii()
    assert line.isprintable()
    assert record_format.parse(line) == record
    assert all(port is None or 0 <= port <= MAX_PORT for port in (record.srcport, record.dstport))
    assert all(time is None or 0 <= time <= MAX_EPOCH for time in (record.start, record.end))
    assert all(
        count is None or count >= 0
        for count in (record.packets, record.bytes, record.protocol, record.tcp_flags)
    )
    return True


# --- CloudWatch Logs --------------------------------------------------------------------------------------------------


def check_log_messages(data: bytes) -> bool:
    """Every message is counted, and read the same whatever stands beside it. The first line has the formats, parted by ``|``."""
    head, *lines = data.decode("utf-8", "surrogateescape").split("\n")
    try:
        formats = tuple(RecordFormat.from_text(text) for text in head.split("|")[:4])
    except FormatError as error:
        return refused(error)
    reader = LineReader(formats, headers=False)
    records = list(read_messages(lines, reader))
    counts = reader.counts
    assert counts.records + counts.blank_lines == len(lines)
    assert counts.header_lines == 0
    assert all(sample.isprintable() for sample in reader.samples)
    alone = [
        record
        for line in lines
        for record in read_messages([line], LineReader(formats, headers=False))
    ]
    assert alone == records
    return bool(records)


def check_subscription(data: bytes) -> bool:
    """A payload that is taken says what its JSON says. The input is what stands in the gzip."""
    event = {"awslogs": {"data": base64.b64encode(gzip.compress(data, 1, mtime=0)).decode()}}
    try:
        batch = decode(event)
    except EnvelopeError as error:
        return refused(error)
    payload = json.loads(data)
    if batch is None:
        assert payload["messageType"] == "CONTROL_MESSAGE"
        return True
    assert (batch.account_id, batch.log_group, batch.log_stream) == (
        payload["owner"],
        payload["logGroup"],
        payload["logStream"],
    )
    assert [*batch.messages] == [event["message"] for event in payload["logEvents"]]
    assert [*batch.event_ids] == [event["id"] for event in payload["logEvents"]]
    assert all(
        isinstance(text, str)
        for text in (*batch.messages, *batch.event_ids, batch.account_id, batch.name)
    )
    assert replace(batch, event_ids=batch.event_ids[::-1]).source_id == batch.source_id
    reader = LineReader((DEFAULT_FORMAT,), headers=False)
    assert len([*read_messages(batch.messages, reader)]) <= len(batch.messages)
    assert reader.counts.records + reader.counts.blank_lines == len(batch.messages)
    return True


def check_subscription_data(data: bytes) -> bool:
    """The same for what stands in the base64, and for what is no base64 at all."""
    taken = False
    for text in (base64.b64encode(data).decode(), data.decode("latin-1")):
        try:
            taken |= decode({"awslogs": {"data": text}}) is not None
        except EnvelopeError as error:
            refused(error)
    return taken


# --- envelopes --------------------------------------------------------------------------------------------------------


def objects_or_none(event: object) -> tuple[ObjectRef, ...] | None:
    try:
        return objects_in(event)
    except EnvelopeError as error:
        refused(error)
        return None


def check_envelope(data: bytes) -> bool:
    """Bucket and key are text that S3 can have; a message says what its event says, and so it does through SNS."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        refs = objects_in_message(text)
    except EnvelopeError as error:
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            return refused(error)
        assert is_sqs_event(event) in {True, False}
        assert objects_or_none(event) is None
        return refused(error)
    event = json.loads(text)
    assert objects_or_none(event) == refs
    for ref in refs:
        assert 1 <= len(ref.bucket.encode()) <= 1_024  # S3's limit
        assert 1 <= len(ref.key.encode()) <= 1_024
        assert len(ref.source_id) == 40
    wrapped = objects_or_none({"Type": "Notification", "Message": text})
    through_sns = event.get("Type") == "Notification" or is_of_sns(event)
    assert wrapped == (None if through_sns else refs)
    return True


def is_of_sns(event: Mapping[str, Any]) -> bool:
    records = event.get("Records")
    first = records[0] if isinstance(records, list) and records else None
    return isinstance(first, dict) and first.get("EventSource") == "aws:sns"


def check_scheduled(data: bytes) -> bool:
    """The time of a scheduled event is one that can be shown."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return False
    try:
        at = scheduled_at(event)
    except EnvelopeError as error:
        return refused(error)
    assert isoformat(at) is not None
    assert scheduled_at(event) == at
    return True


# --- documents --------------------------------------------------------------------------------------------------------


def check_policy(data: bytes) -> bool:
    """A policy that is taken can be asked about every flow, and is the same whatever the blanks of its JSON."""
    try:
        policy = parse_policy(data)
    except PolicyError as error:
        return refused(error)
    told = json.loads(data)
    assert parse_policy(json.dumps(told, indent=1)) == policy
    assert len(policy.silences) == len(told.get("silences", ()))
    assert len(policy.expected) == len(told.get("expected", ()))
    explanations = [explain_one(flow, None) for flow in sample_flows()]
    sifted = policy.sift(explanations, datetime(2026, 11, 22, tzinfo=UTC))
    assert len(sifted.kept) + len(sifted.muted) == len(explanations)
    assert all(muted.place in policy.matching(muted.explanation) for muted in sifted.muted)
    return True


def check_snapshot(data: bytes) -> bool:
    """Rules that are taken can be asked about every flow: the verdict, its words and its fix come out."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            config = load_snapshot(Path(file.name))
        except ConfigError as error:
            return refused(error)
    assert parse_snapshot(json.loads(data)) == config
    explanations = [explain_one(flow, config) for flow in sample_flows()]
    for explanation in explanations:
        assert to_json(explanation).isascii()
    detections = group(explanations)
    for detection in detections:
        assert notification_from_json(detection.notification.to_json()) == detection.notification
        assert email.body(
            detection.notification
        )  # the other faces take ten times as long, and have a target of their own
    assert sum(detection.notification.records for detection in detections) == sum(
        flow.traffic.records for flow in sample_flows()
    )
    return True


@cache
def sample_flows() -> tuple[RejectedFlow, ...]:
    """Give rejected flows of several kinds, all of the world that ``shop.config.json`` describes."""
    batch = Batch()
    for name in (
        "rules-inbound-request",
        "rules-outbound-response",
        "rules-peering",
        "rules-nat-gateway",
        "rules-icmp",
    ):
        with (SCENARIOS / f"{name}.log").open("rb") as file:
            batch.add_file(file, name=name)
    return tuple(batch.flows.rejected())


@cache
def sample_config() -> NetConfig:
    return load_snapshot(SCENARIOS / "shop.config.json")


def check_document(data: bytes) -> bool:
    """A document that is taken gives itself back, and every face can show it."""
    try:
        notification = notification_from_json(data)
    except NotificationError as error:
        return refused(error)
    shown_by_every_face(notification)
    return True


def shown_by_every_face(notification: Notification) -> None:
    assert notification_from_json(notification.to_json()) == notification
    subject = email.subject(notification)
    assert len(subject) < 100  # SNS's limit
    assert subject.isprintable()
    assert email.body(notification)
    for renderer in RENDERERS.values():
        assert renderer.render(notification)
    assert slack.characters(slack.blocks(notification)) > 0
    assert len(sns.attributes(notification)) <= 10  # SNS's limit for raw delivery to queues
    for told in (ocsf.finding(notification, found_at=0), pagerduty.event(notification, "0" * 32)):
        assert json.loads(json.dumps(told)) == told


# --- the whole way ----------------------------------------------------------------------------------------------------


def check_alerts(data: bytes) -> bool:
    """Whatever a file's records hold, its rejected flows become documents that every face can show; each record is in one."""
    config, content = (sample_config() if data[:1] > b"\x7f" else None), data[1:]
    batch = Batch()
    try:
        batch.add_file(io.BytesIO(content), name="AWSLogs/123456789012/vpcflowlogs/eu-west-1/file")
    except FlowVerdictError as error:
        assert batch.counts.records == 0
        return refused(error)
    explanations = batch.explanations(None if config is None else FixedConfig(config))
    seen = detections(explanations, batch.flows)
    for detection in seen:
        shown_by_every_face(detection.notification)
    assert (
        sum(explanation.flow.traffic.records for explanation in explanations)
        == batch.counts.rejected
    )
    assert (
        sum(one.notification.records for one in seen if isinstance(one.notification, Alert))
        == batch.counts.rejected
    )
    assert (
        sum(one.notification.records for one in seen if isinstance(one.notification, Notice))
        == batch.counts.skip_data
    )
    return bool(explanations)


# --- all of them ------------------------------------------------------------------------------------------------------

_FIELD_NAMES = " ".join((*FIELDS, *TRANSIT_GATEWAY_FIELDS))
_VALUES = """REJECT ACCEPT OK NODATA SKIPDATA ingress egress BPA EC - 10.0.1.5 203.0.113.12 2001:db8::1 ::ffff:10.0.0.1 253402300799
    253402300800 65535 65536 9223372036854775807 -1 +1 1_0 %25 \\x00 eni-0aaaaaaaaaaaaaaa1 123456789012 unknown"""
_JSON = r"""null true NaN -Infinity 1e999 [[[[ {"": \\ud800 \\u0000 \\n"""
_EVENT = """Records eventSource EventSource aws:s3 aws:sqs aws:sns Sns Message Type Notification eventVersion eventName
    ObjectCreated:Put s3 bucket name object key detail detail-type source aws.s3 Event s3:TestEvent time %2E%2E%2F ../ +"""
_LOGS = "messageType DATA_MESSAGE CONTROL_MESSAGE owner logGroup logStream logEvents id message"
_POLICY = "version minimum_severity silences expected match until reason cidr port interface_id vpc_id verdict"
_DOCUMENT = """schema_version kind reject scan digest status severity first_seen targets owners remedy confidence_counts sections
    top_remotes 9999-12-31T23:59:59Z"""

TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "text-file": Target(
            check=check_text_file, breaks="read_file", tokens=f"{_FIELD_NAMES} {_VALUES}"
        ),
        # Half a KiB of gzip unpacks to half a MiB at most, which is read three times
        "gzip-file": Target(check=check_gzip_file, breaks="read_file", max_bytes=512),
        "parquet-file": Target(check=check_parquet_file, breaks="Batch", max_bytes=8_192),
        "record-format": Target(
            check=check_record_format,
            breaks="header_format",
            tokens=f"{_FIELD_NAMES} {_VALUES} ${{ }}",
        ),
        "log-messages": Target(
            check=check_log_messages, breaks="read_messages", tokens=f"{_FIELD_NAMES} {_VALUES} |"
        ),
        "subscription": Target(
            check=check_subscription, breaks="decode", tokens=f"{_LOGS} {_JSON}", is_json=True
        ),
        "subscription-data": Target(
            check=check_subscription_data, breaks="decode", max_bytes=1_024
        ),
        "envelope": Target(
            check=check_envelope,
            breaks="objects_in_message",
            tokens=f"{_EVENT} {_JSON}",
            is_json=True,
        ),
        "scheduled": Target(
            check=check_scheduled, breaks="scheduled_at", tokens=f"{_EVENT} {_JSON}", is_json=True
        ),
        "policy": Target(
            check=check_policy, breaks="parse_policy", tokens=f"{_POLICY} {_JSON}", is_json=True
        ),
        "snapshot": Target(
            check=check_snapshot,
            breaks="load_snapshot",
            tokens=_JSON,
            is_json=True,
            max_bytes=16_384,
        ),
        "document": Target(
            check=check_document,
            breaks="notification_from_json",
            tokens=f"{_DOCUMENT} {_JSON}",
            is_json=True,
        ),
        "alerts": Target(check=check_alerts, breaks="Batch", tokens=f"{_FIELD_NAMES} {_VALUES}"),
    }
)
