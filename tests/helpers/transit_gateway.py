"""Records of a transit gateway, in AWS's default format.

https://docs.aws.amazon.com/vpc/latest/tgw/tgw-flow-logs.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.flowlog.records import TRANSIT_GATEWAY_FORMAT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

GATEWAY = "tgw-0bbbbbbbbbbbbbbb1"
ATTACHMENT = "tgw-attach-0aaaaaaaaaaaaaaa1"
HEADER = " ".join(TRANSIT_GATEWAY_FORMAT.names)
NAME = (
    "AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/11/22/"
    "123456789012_vpcflowlogs_eu-west-1_fl-0cccccccccccccccc_20261122T1200Z_5f1a0c2e.log.gz"
)
# A packet that came in from a VPC, and that no route leads on: AWS knows no other end of it.
ROW: Mapping[str, str] = {
    **dict.fromkeys(TRANSIT_GATEWAY_FORMAT.names, "-"),
    "version": "6",
    "resource-type": "TransitGateway",
    "account-id": "123456789012",
    "tgw-id": GATEWAY,
    "tgw-attachment-id": ATTACHMENT,
    "tgw-src-vpc-account-id": "210987654321",
    "tgw-src-vpc-id": "vpc-0ddddddddddddddd1",
    "tgw-src-subnet-id": "subnet-0eeeeeeeeeeeeeee1",
    "tgw-src-eni": "eni-0fffffffffffffff1",
    "tgw-src-az-id": "euw1-az1",
    "srcaddr": "10.0.1.5",
    "dstaddr": "10.9.0.7",
    "srcport": "41200",
    "dstport": "5432",
    "protocol": "6",
    "packets": "5",
    "bytes": "300",
    "start": "1795348805",
    "end": "1795348850",
    "log-status": "OK",
    "type": "IPv4",
    "packets-lost-no-route": "0",
    "packets-lost-blackhole": "0",
    "packets-lost-mtu-exceeded": "0",
    "packets-lost-ttl-expired": "0",
    "tcp-flags": "2",
    "region": "eu-west-1",
    "flow-direction": "ingress",
}


def line(**values: object) -> str:
    """Return a record without a lost packet, with other values by attribute (``dstaddr``)."""
    named = {name.replace("_", "-"): str(value) for name, value in values.items()}
    assert named.keys() <= ROW.keys()
    return " ".join({**ROW, **named}.values())


def file_of(lines: Iterable[str]) -> bytes:
    """Return a text file as AWS writes it: a header, and a line for each record."""
    return "\n".join((HEADER, *lines, "")).encode()
