"""Objects as Amazon Data Firehose writes them of a CloudWatch Logs subscription."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

OWNER: Final = "123456789012"
CONTROL: Final = {
    "messageType": "CONTROL_MESSAGE",
    "owner": "CloudwatchLogs",
    "logGroup": "",
    "logStream": "",
    "subscriptionFilters": [],
    "logEvents": [
        {
            "id": "",
            "timestamp": 1_695_110_427_817,
            "message": "CWL CONTROL MESSAGE: Checking health of destination Firehose.",
        }
    ],
}


def envelope(
    messages: Sequence[str], *, log_group: str, log_stream: str, owner: str = OWNER
) -> dict[str, Any]:
    """Return the document that a subscription sends of some messages of a log stream."""
    return {
        "messageType": "DATA_MESSAGE",
        "owner": owner,
        "logGroup": log_group,
        "logStream": log_stream,
        "subscriptionFilters": ["flowverdict"],
        "logEvents": [
            {"id": f"{zlib.crc32(f'{log_stream} {message}'.encode()):056d}", "timestamp": 0}
            | {"message": message}
            for message in messages
        ],
    }


def _bytes(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode()


def members(documents: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the documents as CloudWatch Logs packs them, without anything in between."""
    return b"".join(gzip.compress(_bytes(document), mtime=0) for document in documents)


def joined(documents: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the documents as Firehose's decompression leaves them."""
    return b"".join(map(_bytes, documents))


def on_lines(documents: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the same with a line break after each."""
    return b"".join(_bytes(document) + b"\n" for document in documents)


SHAPES: Final[Mapping[str, Callable[[Sequence[Mapping[str, Any]]], bytes]]] = {
    "members of gzip": members,
    "members of gzip, packed once more": lambda documents: gzip.compress(members(documents)),
    "unpacked, without anything in between": joined,
    "unpacked, on lines": on_lines,
    "unpacked, on lines, packed": lambda documents: gzip.compress(on_lines(documents)),
}
