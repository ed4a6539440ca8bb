"""Hostile events, through the real handlers: refused in one line; neighbours are unaffected.

Requirement: "CloudWatch payloads that are not base64, not gzip, not JSON: bounded memory and time,
counted, the clean neighbours unaffected."
"""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from flowverdict.core.errors import MAX_ERROR_TEXT, EnvelopeError
from flowverdict.flowlog.cloudwatch_logs import MAX_PAYLOAD_BYTES
from tests.helpers.events import (
    failed,
    notification,
    put_scenario,
    queue_event,
)
from tests.helpers.hostile_input import ACCEPT, CLEAN, HEADER, MIB, REJECT, bomb, eventbridge, legs
from tests.helpers.measured import measured

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flowverdict_cli.local_aws import LocalAws


# --- messages -------------------------------------------------------------------------------------


def in_sns(text: str, depth: int) -> str:
    for _ in range(depth):
        # The shortest escapes of JSON, so that the nesting is deep: doubled backslashes end at 20.
        text = (
            '{"Type":"Notification","Message":"'
            + text.replace("\\", "\\u005c").replace('"', "\\u0022")
            + '"}'
        )
    return text


BODIES: dict[str, tuple[object, str]] = {
    "brackets without end": ("[" * 200_000, "not JSON"),
    "objects without end": ('{"a":' * 100_000, "not JSON"),
    "SNS in SNS": (in_sns(json.dumps(notification("x")), 2), "unknown shape"),
    "SNS in SNS, deeper than Python goes": (in_sns("{}", 120), "unknown shape"),
    "a number of a million digits": ("1" * 1_000_000, "not JSON"),
    "NaN": ("NaN", "float, not an object"),
    "NaN for a key": (
        json.dumps(eventbridge("x")).replace('"x"', "NaN"),
        "bucket and key must be text",
    ),
    "half a surrogate pair for a key": (
        json.dumps(eventbridge("\ud800")),
        "bucket and key must be text",
    ),
    "a key that is too long": (eventbridge("x" * 1_025), "bucket and key must be text"),
    "a bucket that steps up": (
        {**eventbridge("x"), "detail": {"bucket": {"name": "../b"}, "object": {"key": "x"}}},
        "bucket",
    ),
    "a bucket of two lines": (
        {**eventbridge("x"), "detail": {"bucket": {"name": "a\nb"}, "object": {"key": "x"}}},
        "bucket",
    ),
    "the same key twice, the last one counts": (
        '{"Event":"s3:TestEvent","Event":"else"}',
        "unknown shape",
    ),
    "names that are no words": ({"\x1b[2J\n" * 100: 1}, "unknown shape"),
    "ten thousand names": ({f"{number}": 1 for number in range(10_000)}, "unknown shape"),
    "records that are none": ({"Records": [1, [], None]}, "unknown shape"),
}


def test_hostile_messages_fail_alone_in_one_line_each(aws: LocalAws) -> None:
    bodies = [body for body, _ in BODIES.values()]

    invocation = aws.invoke(queue_event(*bodies, notification(put_scenario(aws, CLEAN))))

    assert failed(invocation) == [f"message-{number}" for number in range(len(BODIES))]
    lines = [line for line in invocation.log if line.get("message") == "message failed"]
    for line, (_, reason) in zip(lines, BODIES.values(), strict=True):
        assert reason in line["reason"]
        assert line["reason"].isprintable()
        assert len(line["reason"]) <= MAX_ERROR_TEXT
        assert "exception" not in line  # no traceback: such events are expected
    assert legs(aws) == ["request"]


@pytest.mark.parametrize("depth", [1, 150])
def test_a_direct_event_that_nests_is_read_or_refused(aws: LocalAws, depth: int) -> None:
    event: dict[str, Any] = json.loads(
        in_sns(json.dumps(notification(put_scenario(aws, CLEAN))), depth)
    )

    invocation = aws.invoke(event)

    assert isinstance(invocation.error, EnvelopeError) is (depth > 1)
    assert legs(aws) == ([] if depth > 1 else ["request"])


# --- CloudWatch Logs ------------------------------------------------------------------------------

PAYLOAD = {
    "messageType": "DATA_MESSAGE",
    "owner": "123456789012",
    "logGroup": "/flow",
    "logStream": "eni-1",
    "logEvents": [],
}


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


DATA = {
    "no base64": "no base64 at all!",
    "base64 of what is no gzip": in_base64(json.dumps(PAYLOAD).encode()),
    "gzip of what is no JSON": in_base64(gzip.compress(b"no JSON")),
    "a truncated gzip": in_base64(gzip.compress(json.dumps(PAYLOAD).encode())[:-9]),
    "brackets without end": in_base64(gzip.compress(b"[" * 1_000_000)),
    "a number without end": in_base64(gzip.compress(b'{"messageType":' + b"1" * 1_000_000)),
    "invalid UTF-8": in_base64(gzip.compress(b'{"messageType":"\xff\xfe"}')),
    "messages that are no text": in_base64(
        gzip.compress(json.dumps(PAYLOAD | {"logEvents": [{"id": "1", "message": 1}]}).encode())
    ),
    "a group that is no text": in_base64(
        gzip.compress(json.dumps(PAYLOAD | {"logGroup": ["\n"]}).encode())
    ),
    "half a surrogate pair": in_base64(
        gzip.compress(json.dumps(PAYLOAD | {"logGroup": "\ud800"}).encode())
    ),
    "more than is read": in_base64(bomb(b"", b" " * MIB, 9)),
}


def test_hostile_log_events_are_refused_in_one_line_each_and_the_next_one_is_read(
    aws: LocalAws,
) -> None:
    aws.keep_warm = True
    log_format = {"LOG_FORMAT": HEADER.decode().strip()}
    for data in DATA.values():
        invocation = aws.invoke({"awslogs": {"data": data}}, log_format)
        assert isinstance(invocation.error, EnvelopeError)
        (line,) = [line for line in invocation.log if line["message"] == "event failed"]
        assert line["reason"].startswith("not a CloudWatch Logs subscription event: ")
        assert line["reason"].isprintable()
        assert len(line["reason"]) < 300

    clean = [ACCEPT.decode().strip(), REJECT.decode().strip(), "\ud800\0", "x" * 1_000_000]
    events = [
        {"id": str(number), "timestamp": 0, "message": message}
        for number, message in enumerate(clean)
    ]
    payload = gzip.compress(json.dumps(PAYLOAD | {"logEvents": events}).encode())
    after = aws.invoke({"awslogs": {"data": in_base64(payload)}}, log_format)
    assert after.error is None
    assert after.metrics["RecordsMalformed"] == 2
    assert legs(aws) == ["response"]


# Whether the log event is refused, and how many MiB its reading may take. For a moment three copies
# of the unpacked data are in memory. Of all JSON, empty lists need the most: 3 bytes become 64.
# Made only where they are needed: a checksum over two GiB takes its time.
LOG_BOMBS: dict[str, tuple[Callable[[], bytes], bool, int]] = {
    "2 GiB of blanks": (lambda: bomb(b"", b" " * MIB, 2_048), True, 32),
    "2 GiB in a message": (
        lambda: bomb(json.dumps(PAYLOAD).encode()[:-2] + b'{"message":"', b"x" * MIB, 2_048),
        True,
        32,
    ),
    "as many lists as are read": (
        lambda: bomb(b'{"messageType":[1', b",[]" * 50_000, MAX_PAYLOAD_BYTES // 150_000),
        True,
        300,
    ),
    "as many messages as are read": (
        lambda: gzip.compress(
            json.dumps(
                PAYLOAD | {"logEvents": [{"id": "0" * 56, "message": "x" * 200}] * 25_000}
            ).encode()
        ),
        False,
        40,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", LOG_BOMBS)
def test_a_log_event_takes_little_memory_whatever_it_unpacks_to(tmp_path: Path, what: str) -> None:
    content, refused, most = LOG_BOMBS[what]
    path = tmp_path / what
    path.write_bytes(content())

    told = measured("log-event", path)

    assert (told.refusal is not None) == refused
    assert told.mib < most
    assert told.mib > most / 4  # otherwise nothing was measured
