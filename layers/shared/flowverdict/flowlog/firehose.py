"""Read objects that Amazon Data Firehose writes of a CloudWatch Logs subscription.

Firehose puts records one after another into an object, without anything between them
(https://docs.aws.amazon.com/firehose/latest/dev/basic-deliver.html). CloudWatch Logs sends each
record as gzip of one JSON document
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html), so an object is
many members of gzip in a row. Firehose's own compression packs them once more; its decompression
leaves the JSON documents, with a line break between them or without
(https://docs.aws.amazon.com/firehose/latest/dev/writing-with-cloudwatch-logs.html). Its "message
extraction" leaves bare records, without account, log group and format: such an object is refused.
A flow log that writes to Firehose itself sends objects with a ``message`` each, which
``json_records`` reads.

What an object is, its first bytes decide, never its name. A document is bounded as an event of a
function is, and so is what an object unpacks to.
"""

from __future__ import annotations

import codecs
import zlib
from typing import TYPE_CHECKING, BinaryIO, cast

from flowverdict.core.errors import NotAFlowLogError, ObjectError
from flowverdict.flowlog.cloudwatch_logs import MAX_PAYLOAD_BYTES, UNFIT, batch_of
from flowverdict.flowlog.json_text import JsonText
from flowverdict.flowlog.line_reader import plain_bytes, unpacking

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

    from flowverdict.flowlog.cloudwatch_logs import LogBatch


_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 31  # zlib's window bits for gzip
_SNIFFED_BYTES = 1_024
_READ_BYTES = 1 << 16
# Firehose gathers 128 MB at the most before it writes an object
# (https://docs.aws.amazon.com/firehose/latest/APIReference/API_BufferingHints.html), and JSON of
# flow logs packs to a tenth. A bomb of gzip in gzip would unpack to a million times its size.
MAX_OBJECT_BYTES = 2 << 30


def is_log_object(start: bytes) -> bool:
    """Whether an object that starts with these bytes holds JSON documents, packed twice or less."""
    return plain_start(start).lstrip(b" \t\r\n").startswith(b"{")


def plain_start(start: bytes, most: int = _SNIFFED_BYTES, times: int = 2) -> bytes:
    """Return what the first bytes of an object are, unpacked so often; empty if broken."""
    for _ in range(times):
        if start.startswith(_GZIP_MAGIC):
            try:
                start = zlib.decompressobj(_GZIP).decompress(start, most)
            except zlib.error:
                return b""
    return start


def is_of_subscription(start: bytes) -> bool:
    """Whether an object of JSON that starts with these bytes holds envelopes of CloudWatch Logs."""
    return b'"messageType"' in plain_start(start)


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
    for document in JsonText(text_chunks(stream, name), name, MAX_PAYLOAD_BYTES).documents():
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


def text_chunks(stream: BinaryIO, name: str) -> Iterator[str]:
    """Yield the text of a stream, packed twice or less, in pieces.

    Raises
    ------
    ObjectError
        The gzip or the text is broken, or the text is too long.
    """
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
