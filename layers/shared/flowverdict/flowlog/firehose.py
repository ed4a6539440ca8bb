"""Read objects that Amazon Data Firehose writes of a CloudWatch Logs subscription.

Firehose puts records one after another into an object, without anything between them
(https://docs.aws.amazon.com/firehose/latest/dev/basic-deliver.html). CloudWatch Logs sends each
record as gzip of one JSON document
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html), so an object is
many members of gzip in a row. Firehose's own compression packs them once more; its decompression
leaves the JSON documents, with a line break between them or without
(https://docs.aws.amazon.com/firehose/latest/dev/writing-with-cloudwatch-logs.html). Its "message
extraction" leaves bare records, without account, log group and format: such an object is refused.

What an object is, its first bytes decide, never its name. A document is bounded as an event of a
function is, and so is what an object unpacks to.
"""

from __future__ import annotations

import codecs
import json
import zlib
from typing import TYPE_CHECKING, BinaryIO, cast

from flowverdict.core.errors import NotAFlowLogError, ObjectError
from flowverdict.flowlog.cloudwatch_logs import MAX_PAYLOAD_BYTES, UNFIT, batch_of
from flowverdict.flowlog.line_reader import plain_bytes, unpacking

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

    from flowverdict.flowlog.cloudwatch_logs import LogBatch


_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 31  # zlib's window bits for gzip
_SNIFFED_BYTES = 64
_READ_BYTES = 1 << 16
# Firehose gathers 128 MB at the most before it writes an object
# (https://docs.aws.amazon.com/firehose/latest/APIReference/API_BufferingHints.html), and JSON of
# flow logs packs to a tenth. A bomb of gzip in gzip would unpack to a million times its size.
MAX_OBJECT_BYTES = 2 << 30


def is_log_object(start: bytes) -> bool:
    """Whether an object that starts with these bytes holds JSON documents, packed twice or less."""
    for _ in range(2):
        if start.startswith(_GZIP_MAGIC):
            try:
                start = zlib.decompressobj(_GZIP).decompress(start, _SNIFFED_BYTES)
            except zlib.error:
                return False
    return start.lstrip(b" \t\r\n").startswith(b"{")


def log_batches(stream: BinaryIO, name: str) -> Iterator[LogBatch]:
    """Yield the batches of an object, each once; control messages are passed over.

    Raises
    ------
    NotAFlowLogError
        A document is not an envelope of CloudWatch Logs.
    ObjectError
        The object is broken or truncated, or a document or the object is too large.
    """
    seen: set[str] = set()
    for document in _documents(stream, name):
        try:
            batch = batch_of(document)
        except UNFIT as error:
            raise NotAFlowLogError(
                name,
                "a JSON document in it is not an envelope of CloudWatch Logs: "
                f"{type(error).__name__}: {str(error)[:200]}",
            ) from error
        if batch is not None and batch.source_id not in seen:
            seen.add(batch.source_id)
            yield batch


def _documents(stream: BinaryIO, name: str) -> Iterator[object]:
    decoder = json.JSONDecoder()
    chunks = _chunks(stream, name)
    text, begin, ended = "", 0, False
    while True:
        begin = _after_blanks(text, begin)
        if begin < len(text):
            try:
                document, begin = decoder.raw_decode(text, begin)
            except RecursionError as error:
                raise NotAFlowLogError(name, "JSON that is nested too deeply") from error
            except ValueError as error:
                if ended:
                    raise ObjectError(
                        name, f"truncated or broken JSON: {str(error)[:200]}"
                    ) from error
            else:
                yield document
                continue
        if ended:
            return
        text, begin = text[begin:], 0
        if len(text) > MAX_PAYLOAD_BYTES:
            raise ObjectError(
                name, f"a JSON document of more than {MAX_PAYLOAD_BYTES:,} characters"
            )
        # As much again, so that the beginning of a document is parsed a few times only.
        more, ended = _next(chunks, max(_READ_BYTES, len(text)))
        text += more


def _after_blanks(text: str, begin: int) -> int:
    while begin < len(text) and text[begin] in " \t\r\n":
        begin += 1
    return begin


def _next(chunks: Iterator[str], wanted: int) -> tuple[str, bool]:
    """Return at least so many characters, and whether the object ended before."""
    parts: list[str] = []
    size = 0
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size >= wanted:
            return "".join(parts), False
    return "".join(parts), True


def _chunks(stream: BinaryIO, name: str) -> Iterator[str]:
    plain: io.BufferedIOBase = plain_bytes(stream)
    decode = codecs.getincrementaldecoder("utf-8")().decode
    size = 0
    with unpacking(name):
        plain = plain_bytes(cast("BinaryIO", plain))  # what Firehose has packed once more
        while chunk := plain.read(_READ_BYTES):
            stream.read(0)  # a stream with a deadline checks it here
            size += len(chunk)
            if size > MAX_OBJECT_BYTES:
                raise ObjectError(name, f"it unpacks to more than {MAX_OBJECT_BYTES:,} bytes")
            try:
                yield decode(chunk)
            except UnicodeDecodeError as error:
                raise ObjectError(name, f"text that is not UTF-8: {error.reason}") from error
    try:
        yield decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise ObjectError(name, f"text that is not UTF-8: {error.reason}") from error
