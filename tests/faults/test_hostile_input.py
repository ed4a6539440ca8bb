"""Input that means harm, through the real handlers: counted or refused by name, in bounded memory and time, and its neighbours'
alerts go out.

Requirement: "Gzip bombs, 10 MB lines, a million columns, NULs, invalid UTF-8, ports of 10^30, negative counts, times in the year
9999, addresses that are not, keys with `../`, `%`, quotes and newlines [...] CloudWatch payloads that are not base64, not gzip, not
JSON: bounded memory and time, counted, the clean neighbours unaffected."
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import time
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import pytest

from flowverdict.core.errors import MAX_ERROR_TEXT, EnvelopeError
from flowverdict.flowlog.cloudwatch_logs import MAX_PAYLOAD_BYTES
from flowverdict.flowlog.s3_events import ObjectRef
from flowverdict.verdict.batch import Batch
from tests.app.test_events_to_alerts import (
    BUCKET,
    KEY,
    SCENARIOS,
    failed,
    notification,
    put_scenario,
    queue_event,
)
from tests.helpers.measured import measured

if TYPE_CHECKING:
    from pathlib import Path

    from flowverdict_cli.local_aws import Invocation, LocalAws

CLEAN = "outbound-request"  # the neighbour, whose alert is of a request
HEADER, ACCEPT, REJECT = (
    (SCENARIOS / "outbound-response.log").read_bytes().splitlines(keepends=True)
)  # of a response
MIB = 1 << 20


def bomb(before: bytes, block: bytes, blocks: int) -> bytes:
    """Gzip ``before`` and then ``blocks`` times ``block``, in one member, packed as tightly as can be and in no time."""

    def deflated(content: bytes) -> bytes:
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return packer.compress(content) + packer.flush(
            zlib.Z_FULL_FLUSH
        )  # what follows refers to nothing before it

    checksum = zlib.crc32(before)
    for _ in range(blocks):
        checksum = zlib.crc32(block, checksum)
    size = (len(before) + blocks * len(block)) % (1 << 32)
    start = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    return (
        start
        + deflated(before)
        + deflated(block) * blocks
        + b"\x03\0"
        + struct.pack("<II", checksum, size)
    )


def legs(aws: LocalAws) -> list[str]:
    """Give the legs of the alerts that went out: ``response`` is the hostile file's, ``request`` the neighbour's."""
    return sorted(alert["leg"] for alert in aws.alerts())


def counts_of(invocation: Invocation, key: str) -> dict[str, int]:
    """Give what the log says of one object, without zeros."""
    (counts,) = [
        line["counts"]
        for line in invocation.log
        if line.get("source") == f"s3://{BUCKET}/{key}" and "counts" in line
    ]
    return {name: count for name, count in counts.items() if count}


# --- lines ------------------------------------------------------------------------------------------------------------

LINES: dict[str, tuple[bytes, str]] = {
    "a port of 10^30": (REJECT.replace(b" 443 ", b" 1%s " % (b"0" * 30)), "out-of-range"),
    "a port of 60,000 digits": (
        REJECT.replace(b" 443 ", b" %s " % (b"9" * 60_000)),
        "out-of-range",
    ),
    "a negative count": (REJECT.replace(b" 240 ", b" -240 "), "integer"),
    "a count with a sign": (REJECT.replace(b" 240 ", b" +240 "), "integer"),
    "a second too late for year 9999": (
        REJECT.replace(b" 1795348825 ", b" 253402300800 "),
        "out-of-range",
    ),
    "an address that is none": (REJECT.replace(b"203.0.113.12", b"203.0.113.256"), "address"),
    "an address with a zone": (REJECT.replace(b"203.0.113.12", b"fe80::1%eth0"), "address"),
    "an address in octal": (REJECT.replace(b"203.0.113.12", b"0313.0.113.12"), "address"),
    "NUL": (REJECT.replace(b"eni-", b"eni\0"), "encoding"),
    "invalid UTF-8": (REJECT.replace(b"eni-", b"\xff\xfe\xc0"), "encoding"),
    "an escape sequence": (REJECT.replace(b"eni-", b"\x1b[2J"), "encoding"),
    "a line of 10 MB": (b"x" * 10_000_000 + b"\n", "line-too-long"),
    "a million columns": (b"1 " * 1_000_000 + b"\n", "line-too-long"),
    "as many columns as a line may have": (b"1 " * 32_000 + b"\n", "field-count"),
    "a text that no AWS field has": (REJECT.replace(b"eni-", b"x" * 3_000), "out-of-range"),
    "an action that is none": (REJECT.replace(b" REJECT ", b" DROP "), "action"),
    "a status that is none": (REJECT.replace(b" OK ", b" 'OR'1'='1 "), "log-status"),
    "a direction that is none": (REJECT.replace(b" egress ", b" sideways "), "flow-direction"),
}


def test_hostile_lines_are_counted_by_their_reasons_and_cost_nobody_an_alert(aws: LocalAws) -> None:
    assert not {ACCEPT, REJECT} & {line for line, _ in LINES.values()}
    key = KEY % "hostile"
    content = HEADER + b"".join(line + ACCEPT for line, _ in LINES.values()) + REJECT
    aws.put_object(ObjectRef(bucket=BUCKET, key=key), gzip.compress(content))

    invocation = aws.invoke(queue_event(notification(key), notification(put_scenario(aws, CLEAN))))

    assert failed(invocation) == []
    assert counts_of(invocation, key) == {
        "records": 2 * len(LINES) + 1,
        "accepted": len(LINES),
        "rejected": 1,
        "header_lines": 1,
        "malformed": len(LINES),
        **{
            f"malformed.{reason}": count
            for reason, count in Counter(reason for _, reason in LINES.values()).items()
        },
    }
    assert invocation.metrics["RecordsMalformed"] == len(LINES)
    (told,) = [line for line in invocation.log if line["message"] == "malformed lines"]
    assert all(sample.isprintable() and len(sample) < 200 for sample in told["samples"])
    assert legs(aws) == ["request", "response"]


@pytest.mark.parametrize("what", LINES)
def test_a_hostile_line_has_its_reason(what: str) -> None:
    line, reason = LINES[what]
    batch = Batch()
    batch.add_file(io.BytesIO(HEADER + REJECT + line), name=what)
    assert batch.counts.malformed == {reason: 1}


@pytest.mark.parametrize(
    ("start", "end"), [(253402300799, 253402300799), (0, 0), (253402300799, 0)]
)
def test_times_at_the_ends_of_the_calendar_are_told_resolved_and_do_not_hide_what_comes_later(
    aws: LocalAws, start: int, end: int
) -> None:
    odd = REJECT.replace(b" 1795348805 1795348825 ", b" %d %d " % (start, end))
    aws.put_object(ObjectRef(bucket=BUCKET, key=KEY % "odd"), HEADER + odd)
    assert (
        failed(
            aws.invoke(
                queue_event(notification(KEY % "odd"), notification(put_scenario(aws, CLEAN)))
            )
        )
        == []
    )
    assert len(aws.alerts()) == 2

    aws.later()
    assert {alert["status"] for alert in aws.alerts()} == {"resolved"}

    now = int(time.time()) + 100_000
    aws.put_object(
        ObjectRef(bucket=BUCKET, key=KEY % "now"),
        HEADER + REJECT.replace(b"1795348825", b"%d" % now),
    )
    aws.invoke(queue_event(notification(KEY % "now")))
    assert [alert["status"] for alert in aws.alerts()] == ["firing"]


# --- whole objects ----------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[bytes, str]] = {
    "a header of a million columns": (
        b"version " * 1_000_000 + b"\n",
        "its first line is over 65536 bytes long",
    ),
    "a header of 10,000 columns": (
        b" ".join(b"a%d" % number for number in range(9_000)) + b" action action\n",
        "its header is wrong: it lacks interface-id, srcaddr",
    ),
    "NULs": (bytes(MIB), "its first line is over 65536 bytes long"),
    "few NULs": (bytes(1_000), "its first line is not a header"),
    "nothing but blank lines": (gzip.compress(b"\n" * MIB), "empty"),
    "gzip in gzip in gzip": (
        gzip.compress(gzip.compress(gzip.compress(HEADER + REJECT))),
        "its first line is not a header",
    ),
    "a bomb of NULs": (bomb(b"", bytes(MIB), 100), "its first line is over 65536 bytes long"),
    "a bomb that is no gzip in the end": (
        bomb(HEADER, REJECT * 100, 100)[:-8] + b"\0" * 8,
        "broken gzip",
    ),
    "lines of which none is a record": (
        HEADER + b"\0\n" * 1_000,
        "none of its 1,000 lines is a record",
    ),
}


def test_hostile_objects_are_refused_by_name_and_cost_nobody_an_alert(aws: LocalAws) -> None:
    keys = [KEY % f"hostile{number}" for number in range(len(REFUSED))]
    for key, (content, _) in zip(keys, REFUSED.values(), strict=True):
        aws.put_object(ObjectRef(bucket=BUCKET, key=key), content)

    invocation = aws.invoke(
        queue_event(*map(notification, keys), notification(put_scenario(aws, CLEAN)))
    )

    assert failed(invocation) == [f"message-{number}" for number in range(len(REFUSED))]
    for key, (_, reason), line in zip(keys, REFUSED.values(), invocation.failures, strict=True):
        assert line.startswith(f"s3://{BUCKET}/{key}: ")
        assert reason in line
        assert line.isprintable()
        assert len(line) < 500
    assert legs(aws) == ["request"]


READ: dict[str, tuple[bytes, dict[str, int]]] = {
    "a bomb of one endless line": (
        bomb(HEADER + REJECT, b"x" * MIB, 100),
        {
            "records": 2,
            "rejected": 1,
            "malformed": 1,
            "malformed.line-too-long": 1,
            "header_lines": 1,
        },
    ),
    "a bomb of blank lines": (
        bomb(HEADER + REJECT, b"\n" * MIB, 2),
        {"records": 1, "rejected": 1, "blank_lines": 2 * MIB, "header_lines": 1},
    ),
    "a bomb of valid records": (
        bomb(HEADER, REJECT * 1_000, 20),
        {"records": 20_000, "rejected": 20_000, "header_lines": 1},
    ),
    "a hundred thousand gzip members": (
        gzip.compress(HEADER + REJECT) + gzip.compress(b"") * 100_000,
        {"records": 1, "rejected": 1, "header_lines": 1},
    ),
    "a thousand headers": (
        b"".join(
            b"%s x%d\n%s x\n" % (HEADER.strip(), number, REJECT.strip()) for number in range(1_000)
        ),
        {"records": 1_000, "rejected": 1_000, "header_lines": 1_000},
    ),
}


def test_what_is_only_much_is_read_and_counted(aws: LocalAws) -> None:
    keys = [KEY % f"much{number}" for number in range(len(READ))]
    for key, (content, _) in zip(keys, READ.values(), strict=True):
        aws.put_object(ObjectRef(bucket=BUCKET, key=key), content)

    invocation = aws.invoke(
        queue_event(*map(notification, keys), notification(put_scenario(aws, CLEAN)))
    )

    assert failed(invocation) == []
    assert [counts_of(invocation, key) for key in keys] == [counts for _, counts in READ.values()]
    assert legs(aws) == ["request", "response"]


# --- memory and time --------------------------------------------------------------------------------------------------

# The functions have 1,024 MiB by default and 512 at the least; Python, boto3 and the rules kept take some 150.
BOMBS: dict[str, tuple[bytes, str | None]] = {
    "1 GiB of NULs": (bomb(b"", bytes(MIB), 1_024), "first line is over 65536 bytes"),
    "1 GiB in one line after a record": (bomb(HEADER + REJECT, b"x" * MIB, 1_024), None),
    "256 MiB in one line, a member for each MiB": (
        gzip.compress(HEADER + REJECT) + gzip.compress(b"x" * MIB) * 256,
        None,
    ),
    "a line of 10 MB, plain": (HEADER + b"x" * 10_000_000 + b"\n" + REJECT, None),
    "a million columns, plain": (b"version " * 1_000_000 + b"\n", "first line"),
    "4 MiB of blank lines": (bomb(HEADER + REJECT, b"\n" * MIB, 4), None),
    "20,000 times one record": (bomb(HEADER, REJECT * 1_000, 20), None),
    "a name of 5 MB in the gzip's header": (
        b"\x1f\x8b\x08\x08"
        + bytes(6)
        + b"x" * 5_000_000
        + b"\0"
        + gzip.compress(HEADER + REJECT)[10:],
        "broken gzip: Gzip header exceeds",
    ),
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_file_takes_little_memory_whatever_it_unpacks_to(tmp_path: Path, what: str) -> None:
    content, refusal = BOMBS[what]
    path = tmp_path / what
    path.write_bytes(content)

    told = measured("file", path)

    assert (told.refusal is None) == (refusal is None)
    assert refusal is None or refusal in str(told.refusal)
    assert told.refusal is not None or told.counts["rejected"] >= 1
    assert told.mib < 16  # two buffers of 256 KiB, lines of 64 KiB, and what the allocator keeps
    assert told.seconds < 60  # 3 s on the machine that this was written on


def test_reading_stops_soon_after_its_time_is_over_and_the_neighbours_go_on(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A GiB of blank lines takes minutes. The function has 5 s here, of which it reads for 3.
    monkeypatch.setattr(
        "flowverdict_cli.local_aws._LambdaContext.get_remaining_time_in_millis", lambda _: 5_000
    )
    key = KEY % "bomb"
    aws.put_object(ObjectRef(bucket=BUCKET, key=key), bomb(HEADER + REJECT, b"\n" * MIB, 1_024))
    neighbours = [notification(put_scenario(aws, name)) for name in (CLEAN, "inbound-request")]

    started = time.monotonic()
    invocation = aws.invoke(queue_event(neighbours[0], notification(key), neighbours[1]))

    # Without a limit for how much is unpacked between two looks at the clock: 3 s and some 40 more.
    assert time.monotonic() - started < 20
    # What came after it has not been looked at, and goes back to the queue with it.
    assert failed(invocation) == ["message-1", "message-2"]
    assert all("not read to its end within the 3 s" in line for line in invocation.failures)
    assert legs(aws) == ["request"]

    assert failed(aws.invoke(queue_event(neighbours[1]))) == []
    assert legs(aws) == ["request"]


# --- names ------------------------------------------------------------------------------------------------------------

KEYS = {
    "steps up": "../../../../etc/passwd",
    "steps up, encoded": "%2e%2e%2fetc%2fpasswd",
    "percent signs": "100%/%zz%25%",
    "quotes": """a'b"c`d$(e);{f}""",
    "line ends": "a\nb\r\nc\u2028d",
    "an escape sequence": "a\x1b[2Jb",
    "other alphabets": "журнал/日誌\U0001f600",
    "right to left": "a\u202eb",
    "blanks and pluses": " a + b ",
    "the longest there can be": "x" * 1_024,
}


def eventbridge(key: str) -> dict[str, Any]:
    detail = {"bucket": {"name": BUCKET}, "object": {"key": key}}
    return {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}


def test_objects_are_found_under_their_hostile_keys(aws: LocalAws) -> None:
    for key in KEYS.values():
        aws.put_object(ObjectRef(bucket=BUCKET, key=key), HEADER + ACCEPT + REJECT)
    clean = notification(put_scenario(aws, CLEAN))

    by_s3 = aws.invoke(
        queue_event(*(notification(quote_plus(key)) for key in KEYS.values()), clean)
    )
    by_eventbridge = aws.invoke(queue_event(*map(eventbridge, KEYS.values())))

    assert (failed(by_s3), failed(by_eventbridge)) == ([], [])
    assert by_s3.metrics["RecordsRejected"] == len(KEYS) + 1
    assert by_eventbridge.metrics["SourcesDeliveredAgain"] == len(
        KEYS
    )  # the same ones, however they are named
    assert legs(aws) == ["request", "response"]


def test_hostile_keys_of_no_object_fail_alone_and_are_told_in_one_line(aws: LocalAws) -> None:
    invocation = aws.invoke(
        queue_event(*map(eventbridge, KEYS.values()), notification(put_scenario(aws, CLEAN)))
    )

    assert failed(invocation) == [f"message-{number}" for number in range(len(KEYS))]
    for line in invocation.failures:
        assert line.startswith(f"s3://{BUCKET}/")
        assert ": cannot be read from S3: " in line
        assert line.isprintable()
    assert legs(aws) == ["request"]


# --- messages ---------------------------------------------------------------------------------------------------------


def in_sns(text: str, depth: int) -> str:
    for _ in range(depth):
        # As small as JSON can be escaped, so that it goes deep: doubling backslashes would end at 20.
        text = (
            '{"Type":"Notification","Message":"'
            + text.replace("\\", "\\u005c").replace('"', "\\u0022")
            + '"}'
        )
    return text


BODIES: dict[str, tuple[object, str]] = {
    "brackets without end": ("[" * 200_000, "no JSON"),
    "objects without end": ('{"a":' * 100_000, "no JSON"),
    "SNS in SNS": (in_sns(json.dumps(notification("x")), 2), "unknown shape"),
    "SNS in SNS, deeper than Python goes": (in_sns("{}", 120), "unknown shape"),
    "a number of a million digits": ("1" * 1_000_000, "no JSON"),
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
        assert "exception" not in line  # no traceback: it is expected that such things come
    assert legs(aws) == ["request"]


@pytest.mark.parametrize("depth", [1, 150])
def test_a_direct_event_that_nests_is_read_or_refused(aws: LocalAws, depth: int) -> None:
    event: dict[str, Any] = json.loads(
        in_sns(json.dumps(notification(put_scenario(aws, CLEAN))), depth)
    )

    invocation = aws.invoke(event)

    assert isinstance(invocation.error, EnvelopeError) is (depth > 1)
    assert legs(aws) == ([] if depth > 1 else ["request"])


# --- CloudWatch Logs --------------------------------------------------------------------------------------------------

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


# Whether it is refused, and how many MiB it may take: what is unpacked is held three times over for a moment, and of all JSON
# empty lists are the worst: 3 bytes become 64.
LOG_BOMBS: dict[str, tuple[bytes, bool, int]] = {
    "2 GiB of blanks": (bomb(b"", b" " * MIB, 2_048), True, 32),
    "2 GiB in a message": (
        bomb(json.dumps(PAYLOAD).encode()[:-2] + b'{"message":"', b"x" * MIB, 2_048),
        True,
        32,
    ),
    "as many lists as are read": (
        bomb(b'{"messageType":[1', b",[]" * 50_000, MAX_PAYLOAD_BYTES // 150_000),
        True,
        300,
    ),
    "as many messages as are read": (
        gzip.compress(
            json.dumps(
                PAYLOAD | {"logEvents": [{"id": "0" * 56, "message": "x" * 200}] * 25_000}
            ).encode()
        ),
        False,
        40,
    ),
}


@pytest.mark.parametrize("what", LOG_BOMBS)
def test_a_log_event_takes_little_memory_whatever_it_unpacks_to(tmp_path: Path, what: str) -> None:
    content, refused, most = LOG_BOMBS[what]
    path = tmp_path / what
    path.write_bytes(content)

    told = measured("log-event", path)

    assert (told.refusal is not None) == refused
    assert told.mib < most
    assert told.mib > most / 4  # or nothing was measured
    assert told.seconds < 30
