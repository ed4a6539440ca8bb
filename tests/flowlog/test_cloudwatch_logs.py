"""Decode subscription payloads, and look up their formats at EC2."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber

from flowverdict.core.errors import EnvelopeError, FormatUnknownError
from flowverdict.flowlog.cloudwatch_logs import LogBatch, decode
from flowverdict.flowlog.log_formats import FORMAT_CACHE_SECONDS, DescribedFormats, FixedFormat
from flowverdict.flowlog.records import DEFAULT_FORMATS, RecordFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_ec2 import EC2Client

MESSAGE = (
    "2 123456789012 eni-1235b8ca123456789 172.31.9.69 172.31.9.12 49761 3389 6 20 4249 "
    "1418530010 1418530070 REJECT OK"
)
PAYLOAD: dict[str, Any] = {
    "messageType": "DATA_MESSAGE",
    "owner": "123456789012",
    "logGroup": "vpc-flow-logs",
    "logStream": "eni-1235b8ca123456789-all",
    "subscriptionFilters": ["flow-verdict"],
    "logEvents": [
        {
            "id": "37976342262953223179038144714945888722564951965555163136",
            "timestamp": 1418530070000,
            "message": MESSAGE,
        },
        {
            "id": "37976342262953223179038144714945888722564951965555163137",
            "timestamp": 1418530070000,
            "message": "second",
        },
    ],
}


def event_of(payload: object) -> dict[str, Any]:
    """Pack a payload as CloudWatch Logs does."""
    return event_of_bytes(gzip.compress(json.dumps(payload).encode()))


def event_of_bytes(data: bytes) -> dict[str, Any]:
    """Pack bytes that may be anything."""
    return {"awslogs": {"data": base64.b64encode(data).decode()}}


# --- payloads ------------------------------------------------------------------------------------


def test_payload_yields_its_messages_and_their_owner() -> None:
    assert decode(event_of(PAYLOAD)) == LogBatch(
        account_id="123456789012",
        log_group="vpc-flow-logs",
        log_stream="eni-1235b8ca123456789-all",
        messages=(MESSAGE, "second"),
        event_ids=tuple(log_event["id"] for log_event in PAYLOAD["logEvents"]),
    )


def test_a_batch_that_is_delivered_again_is_known_by_its_events_ids() -> None:
    first, again = (
        decode(event_of(PAYLOAD)),
        decode(event_of(PAYLOAD | {"subscriptionFilters": ["another"]})),
    )
    other = decode(event_of(PAYLOAD | {"logEvents": PAYLOAD["logEvents"][:1]}))
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.source_id == again.source_id != other.source_id


def test_name_is_group_and_stream() -> None:
    decoded = decode(event_of(PAYLOAD))
    assert decoded is not None
    assert decoded.name == "vpc-flow-logs:eni-1235b8ca123456789-all"


def test_additions_of_account_level_filters_do_not_matter() -> None:
    assert decode(event_of(PAYLOAD | {"policyLevel": "ACCOUNT_LEVEL_POLICY"})) == decode(
        event_of(PAYLOAD)
    )


def test_payload_without_events_has_no_messages() -> None:
    decoded = decode(event_of(PAYLOAD | {"logEvents": []}))
    assert decoded is not None
    assert decoded.messages == ()


def test_control_message_is_none() -> None:
    control = {
        "messageType": "CONTROL_MESSAGE",
        "owner": "CloudwatchLogs",
        "logGroup": "",
        "logStream": "",
        "subscriptionFilters": [],
        "logEvents": [
            {
                "id": "",
                "timestamp": 1695110400000,
                "message": "CWL CONTROL MESSAGE: Checking health of destination",
            }
        ],
    }
    assert decode(event_of(control)) is None


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"awslogs": None},
        {"awslogs": {}},
        {"awslogs": "data"},
        {"awslogs": {"data": None}},
        {"awslogs": {"data": 1}},
        {"awslogs": {"data": ""}},
        {"awslogs": {"data": "a"}},
        {"awslogs": {"data": "\u00e9"}},
        event_of_bytes(json.dumps(PAYLOAD).encode()),
        event_of_bytes(gzip.compress(json.dumps(PAYLOAD).encode())[:-20]),
        event_of_bytes(b"\x1f\x8b\x08" + b"\xff" * 40),
        event_of_bytes(gzip.compress(b"")),
        event_of_bytes(gzip.compress(b"not JSON")),
        event_of_bytes(gzip.compress(b"\xff\xfe")),
        event_of([]),
        event_of(None),
        event_of("text"),
        event_of({}),
        *(
            event_of({name: value for name, value in PAYLOAD.items() if name != missing})
            for missing in ("messageType", "owner")
        ),
        *(
            event_of({name: value for name, value in PAYLOAD.items() if name != missing})
            for missing in ("logGroup", "logStream")
        ),
        event_of({name: value for name, value in PAYLOAD.items() if name != "logEvents"}),
        event_of(PAYLOAD | {"logEvents": None}),
        event_of(PAYLOAD | {"logEvents": ["text"]}),
        event_of(PAYLOAD | {"logEvents": [{"id": "1", "timestamp": 1}]}),
    ],
)
def test_other_payload_is_refused_in_one_line(event: dict[str, Any]) -> None:
    with pytest.raises(
        EnvelopeError, match=r"^not a CloudWatch Logs subscription event: "
    ) as raised:
        decode(event)
    assert len(str(raised.value)) < 300
    assert "\n" not in str(raised.value)


# --- formats -------------------------------------------------------------------------------------

GROUP = "vpc-flow-logs"
CUSTOM = "${version} ${srcaddr} ${dstaddr} ${action}"
CUSTOM_FORMAT = RecordFormat(("version", "srcaddr", "dstaddr", "action"))
OTHER = "${action} ${vpc-id}"
OTHER_FORMAT = RecordFormat(("action", "vpc-id"))


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(scope="module")
def client() -> EC2Client:
    """Return a client to stub: sockets are off, and the caller's profile is not read."""
    with pytest.MonkeyPatch.context() as patched:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patched.delenv(name)
        patched.setenv("AWS_CONFIG_FILE", os.devnull)
        patched.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        session = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing")  # noqa: S106 - nobody's
        return session.client("ec2", region_name="eu-west-1")


@contextmanager
def stubbed(client: EC2Client) -> Iterator[Stubber]:
    """Return a stubber; each of its answers must have been used."""
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def asked(group: str = GROUP, **more: str) -> dict[str, Any]:
    """Return the parameters that the look-up of a group must have."""
    return {"Filters": [{"Name": "log-group-name", "Values": [group]}], **more}


def described(*log_formats: str | None, **more: str) -> dict[str, Any]:
    """Return the response of EC2."""
    flow_logs = [
        {"FlowLogId": f"fl-{number}"} | ({} if text is None else {"LogFormat": text})
        for number, text in enumerate(log_formats)
    ]
    return {"FlowLogs": flow_logs, **more}


def formats_of(client: EC2Client, clock: Clock | None = None) -> DescribedFormats:
    """Return the tested object with a plain logger."""
    logger = logging.LoggerAdapter(logging.getLogger("test"), {})
    return DescribedFormats(client, logger, clock if clock is not None else Clock())


def answer(client: EC2Client, *answers: dict[str, Any]) -> tuple[RecordFormat, ...]:
    """Return the formats that a look-up with these answers finds."""
    with stubbed(client) as stubber:
        for one in answers:
            stubber.add_response("describe_flow_logs", one, None)
        return formats_of(client).formats(GROUP)


def test_group_is_looked_up_by_its_name(client: EC2Client) -> None:
    with stubbed(client) as stubber:
        stubber.add_response("describe_flow_logs", described(CUSTOM), asked())
        assert formats_of(client).formats(GROUP) == (CUSTOM_FORMAT,)


@pytest.mark.parametrize(
    ("log_formats", "expected"),
    [
        ((CUSTOM, OTHER), (CUSTOM_FORMAT, OTHER_FORMAT)),
        ((OTHER, CUSTOM, OTHER), (OTHER_FORMAT, CUSTOM_FORMAT)),
        ((), DEFAULT_FORMATS),
        ((None,), DEFAULT_FORMATS),
        (("",), DEFAULT_FORMATS),
        ((None, CUSTOM), (CUSTOM_FORMAT,)),
        (("${action} ${tomorrows-field}",), (RecordFormat(("action", "tomorrows-field")),)),
    ],
)
def test_distinct_formats_are_given_in_the_order_of_ec2(
    client: EC2Client, log_formats: tuple[str | None, ...], expected: tuple[RecordFormat, ...]
) -> None:
    assert answer(client, described(*log_formats)) == expected


def test_all_pages_are_read(client: EC2Client) -> None:
    with stubbed(client) as stubber:
        stubber.add_response("describe_flow_logs", described(CUSTOM, NextToken="page-2"), asked())
        stubber.add_response(
            "describe_flow_logs", described(NextToken="page-3"), asked(NextToken="page-2")
        )
        stubber.add_response(
            "describe_flow_logs", described(CUSTOM, OTHER), asked(NextToken="page-3")
        )
        assert formats_of(client).formats(GROUP) == (CUSTOM_FORMAT, OTHER_FORMAT)


def test_answer_is_cached_until_it_is_too_old(client: EC2Client) -> None:
    clock = Clock()
    formats = formats_of(client, clock)
    with stubbed(client) as stubber:
        stubber.add_response("describe_flow_logs", described(CUSTOM), asked())
        assert formats.formats(GROUP) == (CUSTOM_FORMAT,)
        clock.seconds += FORMAT_CACHE_SECONDS - 1
        # A second call would find no answer and fail.
        assert formats.formats(GROUP) == (CUSTOM_FORMAT,)
    clock.seconds += 1
    with stubbed(client) as stubber:
        stubber.add_response("describe_flow_logs", described(OTHER), asked())
        assert formats.formats(GROUP) == (OTHER_FORMAT,)


def test_each_group_has_its_own_answer(client: EC2Client) -> None:
    formats = formats_of(client)
    with stubbed(client) as stubber:
        stubber.add_response("describe_flow_logs", described(CUSTOM), asked())
        stubber.add_response("describe_flow_logs", described(OTHER), asked("other-group"))
        assert formats.formats(GROUP) == (CUSTOM_FORMAT,)
        assert formats.formats("other-group") == (OTHER_FORMAT,)
        assert formats.formats(GROUP) == (CUSTOM_FORMAT,)


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "AccessDenied"])
def test_default_is_assumed_with_a_warning_where_ec2_refuses(
    client: EC2Client, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    with stubbed(client) as stubber:
        stubber.add_client_error("describe_flow_logs", service_error_code=code)
        assert formats_of(client).formats(GROUP) == DEFAULT_FORMATS
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages == ["flow log format not known, default assumed"]


def test_an_assumed_format_is_not_cached_so_that_the_event_can_be_tried_again(
    client: EC2Client,
) -> None:
    formats = formats_of(client)
    with stubbed(client) as stubber:
        stubber.add_client_error("describe_flow_logs", service_error_code="UnauthorizedOperation")
        stubber.add_response("describe_flow_logs", described(CUSTOM), asked())
        assert [formats.formats(GROUP) for _ in range(3)] == [
            DEFAULT_FORMATS,
            (CUSTOM_FORMAT,),
            (CUSTOM_FORMAT,),
        ]


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "InternalError"])
def test_no_format_is_assumed_where_another_try_may_succeed(client: EC2Client, code: str) -> None:
    with stubbed(client) as stubber:
        stubber.add_client_error("describe_flow_logs", service_error_code=code)
        formats = formats_of(client)
        with pytest.raises(FormatUnknownError, match=code):
            formats.formats(GROUP)
        stubber.add_response("describe_flow_logs", described(CUSTOM))
        assert formats.formats(GROUP) == (CUSTOM_FORMAT,)


def test_default_is_assumed_with_a_warning_where_ec2_names_no_known_field(
    client: EC2Client, caplog: pytest.LogCaptureFixture
) -> None:
    assert answer(client, described("${made-up}")) == DEFAULT_FORMATS
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "flow log format cannot be read"),
        ("WARNING", "flow log format not known, default assumed"),
    ]


def test_a_format_that_was_assumed_is_told_where_ec2_knows_no_flow_log(
    client: EC2Client, caplog: pytest.LogCaptureFixture
) -> None:
    assert answer(client, described()) == DEFAULT_FORMATS
    (line,) = caplog.records
    assert line.message == "flow log format not known, default assumed"


def test_no_warning_where_ec2_answers(client: EC2Client, caplog: pytest.LogCaptureFixture) -> None:
    answer(client, described(CUSTOM))
    assert caplog.records == []


def test_one_unreadable_format_does_not_hide_the_others(client: EC2Client) -> None:
    assert CUSTOM_FORMAT in answer(client, described(CUSTOM, "${made-up}"))


def test_configured_format_applies_to_every_group() -> None:
    fixed = FixedFormat(CUSTOM_FORMAT)
    assert fixed.formats(GROUP) == fixed.formats("any other") == (CUSTOM_FORMAT,)
