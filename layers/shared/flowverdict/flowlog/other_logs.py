"""Name what a file is that is not a flow log: another log of AWS, or a packing that is not read.

A log archive holds the files of many services side by side, and a person who picks one of them
should read which one it is, instead of that it is none. The shapes are those of AWS's pages.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


_PACKINGS: Final = (
    (b"PK\x03\x04", "a zip file, which is not read: unpack it first"),
    (b"PK\x05\x06", "an empty zip file"),
    (b"BZh", "a bzip2 file, which is not read: unpack it first"),
    (b"\xfd7zXZ\x00", "an xz file, which is not read: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd file, which is not read: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z file, which is not read: unpack it first"),
    (b"Obj\x01", "an Avro file, which is not read"),
    (b"ORC", "an ORC file, which is not read"),
    (b"%PDF-", "a PDF file"),
    (b"\xd4\xc3\xb2\xa1", "a packet capture (pcap), not a flow log"),
    (b"\xa1\xb2\xc3\xd4", "a packet capture (pcap), not a flow log"),
    (b"\x0a\x0d\x0d\x0a", "a packet capture (pcapng), not a flow log"),
    (b"SQLite format 3\x00", "an SQLite database"),
)
_ENCODED: Final = "text in {}, which is not read: save it as UTF-8 or ASCII"
_FEW_BYTES = 64


def packing_of(start: bytes) -> str | None:
    """Return what the first bytes say of a packing or an encoding that is not read."""
    for magic, what in _PACKINGS:
        if start.startswith(magic):
            return what
    head = start[:_FEW_BYTES]
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")) or _is_utf_32(head):
        return _ENCODED.format("UTF-32")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _ENCODED.format("UTF-16")
    for zeros, letters in ((head[1::2], head[::2]), (head[::2], head[1::2])):
        if len(zeros) > 1 and not zeros.strip(b"\x00") and b"\x00" not in letters:
            return _ENCODED.format("UTF-16")
    return None


def _is_utf_32(head: bytes) -> bool:
    """Return whether three of each four bytes are zero, as in ASCII text that is in UTF-32."""
    return any(
        len(head[letter::4]) > 1
        and b"\0" not in head[letter::4]
        and not any(head[zero::4].strip(b"\0") for zero in range(4) if zero != letter)
        for letter in (0, 3)
    )


def _named(log: str) -> str:
    return f"this is {log}, not a VPC flow log"


# Keys that only one log has; the first entry whose keys an object has all names it.
_BY_KEYS: Final = (
    (("eventVersion", "eventSource", "awsRegion"), "a CloudTrail file"),
    (("CloudTrailEvent", "EventName"), "the output of `aws cloudtrail lookup-events`"),
    (("digestS3Bucket", "logFiles"), "a CloudTrail digest file"),
    (("webaclId", "httpRequest"), "an AWS WAF log"),
    (("query_timestamp", "query_name"), "a Route 53 resolver query log"),
    (("firewall_name", "event_timestamp"), "an AWS Network Firewall log"),
    (("configSnapshotId", "configurationItems"), "an AWS Config snapshot"),
    (("fileVersion", "configurationItems"), "an AWS Config history file"),
    (("configurationItem", "messageType"), "an AWS Config notification"),
    (("schemaVersion", "service", "severity"), "a GuardDuty finding"),
    (("SchemaVersion", "ProductArn"), "a Security Hub finding"),
    (("serviceNetworkArn", "requestMethod"), "a VPC Lattice access log"),
    (("requestId", "httpMethod", "resourcePath"), "an API Gateway access log"),
    (("FlowLogs",), "the output of `aws ec2 describe-flow-logs`, without records"),
    (("NetworkInterfaces",), "the output of `aws ec2 describe-network-interfaces`"),
    (("SecurityGroups",), "the output of `aws ec2 describe-security-groups`"),
    (("logGroups",), "the output of `aws logs describe-log-groups`, without records"),
    (("logStreams",), "the output of `aws logs describe-log-streams`, without records"),
)
_FIRST_KEYS: Final = frozenset(keys[0] for keys, _ in _BY_KEYS)


def log_of_object(document: Mapping[str, object]) -> str | None:
    """Return which other log of AWS a JSON object is of, ``None`` for none that is known."""
    inside = document.get("Records")
    if isinstance(inside, list) and inside and isinstance(inside[0], dict):
        document = inside[0]
        if document.get("eventSource") in {"aws:s3", "aws:sqs"}:
            return _named("an event that names objects (for `flowverdict replay`)")
    if _FIRST_KEYS.isdisjoint(document):
        return None
    for keys, log in _BY_KEYS:
        if all(key in document for key in keys):
            return _named(log)
    return None


_ELB_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"
_TARGET = r"[0-9a-fA-F.:\[\]]+:\d+"
_BY_LINE: Final = (
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
    (
        re.compile(rf"(?:https?|h2|grpcs|wss?) {_ELB_TIME} \S+ {_TARGET} "),
        "an access log of an Application Load Balancer (ELB)",
    ),
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-access-logs.html
    (
        re.compile(r"tls \d+\.\d+ \d{4}-\d\d-\d\dT\S+ \S+ \S+ "),
        "an access log of a Network Load Balancer (ELB)",
    ),
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-connection-logs.html
    (
        re.compile(rf"{_ELB_TIME} [0-9a-fA-F.:]+ \d+ \d+ \S+ \S+ "),
        "a connection log of an Application Load Balancer (ELB)",
    ),
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html
    (
        re.compile(rf"{_ELB_TIME} \S+ {_TARGET} (?:{_TARGET}|-) -?[\d.]+ -?[\d.]+ -?[\d.]+ "),
        "an access log of a Classic Load Balancer (ELB)",
    ),
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html
    (
        re.compile(r"\S+ \S+ \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] \S+ \S+ \S+ "),
        "an S3 server access log",
    ),
    (re.compile(r"#Version: 1\.0"), "a CloudFront standard log"),
    (re.compile(r"#Fields: date time x-edge-location"), "a CloudFront standard log"),
    (
        re.compile(r"\d\.\d \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ Z[0-9A-Z]+ \S+ [A-Z]+ [A-Z]+ "),
        "a Route 53 public DNS query log",
    ),
    (re.compile(r"(?:START|END|REPORT) RequestId: [0-9a-f-]{36}"), "a log of a Lambda function"),
    (re.compile(r"<\?xml|<!DOCTYPE|<html", re.IGNORECASE), "an XML or HTML page"),
)


def log_of_lines(lines: Iterable[str]) -> str | None:
    """Return which other log of AWS the first lines are of, ``None`` for none that is known."""
    for line in lines:
        for pattern, log in _BY_LINE:
            if pattern.match(line):
                return _named(log)
    return None
