"""Objects of Firehose: every shape, and what is broken, too deep or too large."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc

import pytest

from flowverdict.core.errors import NotAFlowLogError, ObjectError
from flowverdict.flowlog import firehose
from flowverdict.flowlog.cloudwatch_logs import MAX_PAYLOAD_BYTES
from flowverdict.flowlog.firehose import is_log_object, log_batches
from tests.helpers.firehose_objects import CONTROL, SHAPES, envelope, joined, members, on_lines

FIRST, SECOND = (
    envelope([f"{stream} é message", "another"], log_group="/vpc", log_stream=stream)
    for stream in ("eni-1-all", "eni-2-all")
)


def streams(content: bytes) -> list[str]:
    return [batch.log_stream for batch in log_batches(io.BytesIO(content), "object")]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_yields_the_same_batches_without_control_messages(shape: str) -> None:
    content = SHAPES[shape]([CONTROL, FIRST, CONTROL, SECOND])
    assert is_log_object(content[:4_096])
    first, second = log_batches(io.BytesIO(content), "object")
    assert (first.log_stream, second.log_stream) == ("eni-1-all", "eni-2-all")
    assert (first.account_id, first.log_group) == ("123456789012", "/vpc")
    assert first.messages == ("eni-1-all é message", "another")


def test_a_batch_that_comes_twice_is_yielded_once() -> None:
    assert streams(members([FIRST, SECOND, FIRST])) == ["eni-1-all", "eni-2-all"]


def test_documents_that_end_anywhere_in_a_chunk_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    content = on_lines([FIRST, SECOND] * 2)
    for size in (1, 2, 3, 7, 100):
        monkeypatch.setattr(firehose, "_READ_BYTES", size)
        assert streams(content) == ["eni-1-all", "eni-2-all"]


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"version account-id interface-id",
        gzip.compress(b"version account-id"),
        b"PAR1",
        b"\x1f\x8bnothing that is gzip",
        gzip.compress(gzip.compress(gzip.compress(b"{}"))),
    ],
    ids=["nothing", "a header", "a header, packed", "parquet", "broken", "packed three times"],
)
def test_what_does_not_begin_as_json_is_none(start: bytes) -> None:
    assert not is_log_object(start)


BROKEN = {
    "cut in a document": (joined([FIRST])[:-5], ObjectError, "truncated or broken JSON"),
    "cut in a member": (members([FIRST, SECOND])[:-20], ObjectError, "truncated gzip"),
    "no JSON after a document": (joined([FIRST]) + b"version", ObjectError, "broken JSON"),
    "no gzip after a member": (members([FIRST]) + b"rest", ObjectError, "broken gzip"),
    "not UTF-8": (b'{"messageType": "\xff"}', ObjectError, "not UTF-8"),
    "half a character at the end": (joined([FIRST]) + "é".encode()[:1], ObjectError, "UTF-8"),
    "another document": (b'{"message": "2 1 eni-1"}', NotAFlowLogError, "KeyError"),
    "a list": (joined([FIRST]) + b"[1]", NotAFlowLogError, "TypeError"),
    "messages that are numbers": (
        json.dumps(FIRST | {"logEvents": [{"id": "1", "message": 1}]}).encode(),
        NotAFlowLogError,
        "not text",
    ),
    "half a surrogate pair for a group": (
        json.dumps(FIRST | {"logGroup": "\ud800"}).encode(),
        NotAFlowLogError,
        "UnicodeEncodeError",
    ),
    "nested too deeply": (b'{"a":' * 100_000, NotAFlowLogError, "nested too deeply"),
    "a document that never ends": (
        gzip.compress(b'{"a": "' + b"x" * (MAX_PAYLOAD_BYTES * 3)),
        ObjectError,
        "a JSON document of more than",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_refused_whole_in_one_line(what: str) -> None:
    content, error, reason = BROKEN[what]
    with pytest.raises(error, match=reason) as raised:
        streams(content)
    assert str(raised.value).startswith("object: ")
    assert str(raised.value).isprintable()


def test_a_bomb_of_gzip_in_gzip_ends_at_a_bound_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firehose, "MAX_OBJECT_BYTES", 2 << 20)
    content = members([FIRST]) + gzip.compress(b" " * (16 << 20))
    with pytest.raises(ObjectError, match="unpacks to more than"):
        streams(gzip.compress(content))


@pytest.mark.slow
def test_many_documents_take_the_memory_of_a_few() -> None:
    content = gzip.compress((json.dumps(CONTROL).encode() + b" " * 2_000) * 5_000)
    tracemalloc.start()
    try:
        assert streams(content) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20
