"""Flow log lines and files of one server's SSH port, for tests of what is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.flowlog.columnar import WINDOW
from tests.helpers.alert_samples import NOW

if TYPE_CHECKING:
    from collections.abc import Sequence

START = NOW // WINDOW * WINDOW - 2 * WINDOW
NUMBER = START // WINDOW
DEFAULT = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes "
    "start end action log-status"
)
WIDE = (
    f"{DEFAULT} vpc-id subnet-id tcp-flags pkt-srcaddr pkt-dstaddr region flow-direction "
    "reject-reason"
)
CLIENT, SERVER = "203.0.113.7", "10.0.0.5"
_FOLDER = "AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/11/22"


def key_of(flow_log_id: str, number: int = 0) -> str:
    """Return the key of a file of a flow log."""
    name = f"123456789012_vpcflowlogs_eu-west-1_{flow_log_id}_20261122T1150Z_{number:08x}.log"
    return f"{_FOLDER}/{name}"


def request(
    port: int, start: int, seconds: int = 0, packets: int = 1, action: str = "REJECT"
) -> str:
    """Return a request's record in the default format; ``start`` is in seconds after ``START``."""
    return (
        f"2 123456789012 eni-1 {CLIENT} {SERVER} {port} 22 6 {packets} {40 * packets} "
        f"{START + start} {START + start + seconds} {action} OK"
    )


def reply(port: int, start: int, seconds: int = 0, packets: int = 1, action: str = "REJECT") -> str:
    """Return the record of a request's reply in the default format."""
    return (
        f"2 123456789012 eni-1 {SERVER} {CLIENT} 22 {port} 6 {packets} {40 * packets} "
        f"{START + start} {START + start + seconds} {action} OK"
    )


def wide(line: str) -> str:
    """Return the same record as written by a flow log with more fields."""
    source, destination = line.split()[3:5]
    direction, flags = ("ingress", 2) if destination == SERVER else ("egress", 18)
    return f"{line} vpc-1 subnet-1 {flags} {source} {destination} eu-west-1 {direction} -"


def content_of(lines: Sequence[str]) -> bytes:
    """Return the content of a file with the header that fits its lines."""
    header = WIDE if len(lines[0].split()) > len(DEFAULT.split()) else DEFAULT
    return "\n".join([header, *lines]).encode()
