"""Hostile objects, through the real handlers.

They are counted or refused by name, in bounded memory and time, and the alerts of their neighbours
go out. ``test_hostile_events`` has the messages and log events.

Requirement: "Gzip bombs, 10 MB lines, a million columns, NULs, invalid UTF-8, ports of 10^30,
negative counts, times in the year 9999, addresses that are not, keys with `../`, `%`, quotes and
newlines [...]: bounded memory and time, counted, the clean neighbours unaffected."
"""

from __future__ import annotations

import gzip
import io
import time
from collections import Counter
from functools import partial
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import pytest

from flowverdict.app.deadlines import ReadDeadline
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.verdict.batch import Batch
from tests.helpers.events import (
    BUCKET,
    KEY,
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

    from flowverdict_cli.local_aws import Invocation, LocalAws


def counts_of(invocation: Invocation, key: str) -> dict[str, int]:
    """Return the counts that the log has of one object, without zeros."""
    (counts,) = [
        line["counts"]
        for line in invocation.log
        if line.get("source") == f"s3://{BUCKET}/{key}" and "counts" in line
    ]
    return {name: count for name, count in counts.items() if count}


# --- lines ----------------------------------------------------------------------------------------

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
    "a text that no AWS field has": (
        REJECT.replace(b" eu-west-1 ", b" %s " % (b"x" * 3_000)),
        "out-of-range",
    ),
    "an interface of 3,000 characters": (REJECT.replace(b"eni-", b"x" * 3_000), "out-of-range"),
    "an account of letters": (REJECT.replace(b"123456789012", b"12345678901a"), "id"),
    "a VPC that steps up": (REJECT.replace(b"vpc-0123", b"../../0123"), "id"),
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "end"),
    [
        pytest.param(253402300799, 253402300799, marks=pytest.mark.slow),
        pytest.param(0, 0, marks=pytest.mark.slow),
        (253402300799, 0),
    ],
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


# --- whole objects --------------------------------------------------------------------------------

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
        "gzip in gzip, which is not read: unpack it once",
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


@pytest.mark.slow
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


@pytest.mark.slow
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


# --- memory and time ------------------------------------------------------------------------------

# The functions have 1,024 MiB by default and at least 512; Python, boto3 and cached rules take 150.
# Made only where they are needed: a checksum over a GiB takes its time.
BOMBS: dict[str, tuple[Callable[[], bytes], str | None]] = {
    "1 GiB of NULs": (lambda: bomb(b"", bytes(MIB), 1_024), "first line is over 65536 bytes"),
    "1 GiB in one line after a record": (lambda: bomb(HEADER + REJECT, b"x" * MIB, 1_024), None),
    "256 MiB in one line, a member for each MiB": (
        lambda: gzip.compress(HEADER + REJECT) + gzip.compress(b"x" * MIB) * 256,
        None,
    ),
    "a line of 10 MB, plain": (lambda: HEADER + b"x" * 10_000_000 + b"\n" + REJECT, None),
    "a million columns, plain": (lambda: b"version " * 1_000_000 + b"\n", "first line"),
    "4 MiB of blank lines": (lambda: bomb(HEADER + REJECT, b"\n" * MIB, 4), None),
    "20,000 times one record": (lambda: bomb(HEADER, REJECT * 1_000, 20), None),
    "a name of 5 MB in the gzip's header": (
        lambda: (
            b"\x1f\x8b\x08\x08"
            + bytes(6)
            + b"x" * 5_000_000
            + b"\0"
            + gzip.compress(HEADER + REJECT)[10:]
        ),
        "broken gzip: Gzip header exceeds",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", BOMBS)
def test_a_file_takes_little_memory_whatever_it_unpacks_to(tmp_path: Path, what: str) -> None:
    content, refusal = BOMBS[what]
    path = tmp_path / what
    path.write_bytes(content())

    told = measured("file", path)

    assert (told.refusal is None) == (refusal is None)
    assert refusal is None or refusal in str(told.refusal)
    assert told.refusal is not None or told.counts["rejected"] >= 1
    assert told.mib < 16  # two buffers of 256 KiB, lines of 64 KiB, and what the allocator retains


@pytest.mark.slow
def test_reading_stops_soon_after_its_time_is_over_and_the_neighbours_go_on(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The function has 5 s here, of which it reads for 3. Each look at the clock takes 0.25 s, so
    # the time is over at the 12th look. Only if less than 90 MiB is unpacked between two looks does
    # a GiB need so many looks; else the GiB is read to its end.
    monkeypatch.setattr(
        "flowverdict_cli.local_aws._LambdaContext.get_remaining_time_in_millis", lambda _: 5_000
    )
    looks = count()
    monkeypatch.setattr(
        "flowverdict.app.ingest.ReadDeadline",
        partial(ReadDeadline, clock=lambda: next(looks) / 4),
    )
    key = KEY % "bomb"
    aws.put_object(ObjectRef(bucket=BUCKET, key=key), bomb(HEADER + REJECT, b"\n" * MIB, 1_024))
    neighbours = [notification(put_scenario(aws, name)) for name in (CLEAN, "inbound-request")]

    invocation = aws.invoke(queue_event(neighbours[0], notification(key), neighbours[1]))

    # The message after the bomb was not read, and goes back to the queue with the bomb.
    assert failed(invocation) == ["message-1", "message-2"]
    assert all("not read to its end within the 3 s" in line for line in invocation.failures)
    assert legs(aws) == ["request"]

    assert failed(aws.invoke(queue_event(neighbours[1]))) == []
    assert legs(aws) == ["request"]


# --- names ----------------------------------------------------------------------------------------

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


@pytest.mark.slow
def test_objects_are_found_under_their_hostile_keys(aws: LocalAws) -> None:
    for key in KEYS.values():
        aws.put_object(ObjectRef(bucket=BUCKET, key=key), HEADER + ACCEPT + REJECT)
    clean = notification(put_scenario(aws, CLEAN))

    by_s3 = aws.invoke(
        queue_event(*(notification(quote_plus(key)) for key in KEYS.values()), clean)
    )
    by_eventbridge = aws.invoke(queue_event(*map(eventbridge, KEYS.values())))

    assert (failed(by_s3), failed(by_eventbridge)) == ([], [])
    assert by_s3.counts["records_rejected"] == len(KEYS) + 1
    assert by_eventbridge.counts["sources_delivered_again"] == len(
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
