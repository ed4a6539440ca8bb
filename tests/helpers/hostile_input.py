"""Build hostile objects and events, beside a clean neighbour whose alert must go out."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

from tests.helpers.events import BUCKET, SCENARIOS

if TYPE_CHECKING:
    from flowverdict_cli.local_aws import LocalAws

CLEAN = "outbound-request"  # the scenario of the neighbour, whose alert is of a request
# A flow log whose alert is of a response.
HEADER, ACCEPT, REJECT = (
    (SCENARIOS / "outbound-response.log").read_bytes().splitlines(keepends=True)
)
MIB = 1 << 20


def bomb(before: bytes, block: bytes, blocks: int) -> bytes:
    """Gzip ``before`` and then ``blocks`` times ``block``, in one member of little size."""

    def deflated(content: bytes) -> bytes:
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return packer.compress(content) + packer.flush(
            zlib.Z_FULL_FLUSH
        )  # the next block refers to nothing before it

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
    """Return the legs of the alerts sent.

    ``response`` is that of the hostile file, ``request`` that of the neighbour.
    """
    return sorted(alert["leg"] for alert in aws.alerts())


def eventbridge(key: str) -> dict[str, Any]:
    """Build the event by which EventBridge announces a new object."""
    detail = {"bucket": {"name": BUCKET}, "object": {"key": key}}
    return {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
