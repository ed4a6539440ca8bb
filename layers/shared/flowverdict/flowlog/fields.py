"""The fields of a flow log record, versions 2 to 11, under their AWS names.

The table is AWS's: https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html. The
fields of version 6 belong to Transit Gateway Flow Logs
(https://docs.aws.amazon.com/vpc/latest/tgw/tgw-flow-logs.html), whose records have no ``action``.
A format with one of these fields is a transit gateway's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


MAX_PORT = 65_535
MAX_PROTOCOL = 255
MAX_INT_32 = 2**31 - 1  # Parquet INT_32 in AWS's table
MAX_INT_64 = 2**63 - 1  # Parquet INT_64
MAX_EPOCH = 253_402_300_799  # 9999-12-31T23:59:59Z, the last second a datetime can hold


class FieldKind(StrEnum):
    """The type that a field's text is parsed to."""

    INTEGER = "integer"
    TEXT = "text"
    ACCOUNT = "account"
    ID = "id"
    ADDRESS = "address"
    ACTION = "action"
    LOG_STATUS = "log-status"
    FLOW_DIRECTION = "flow-direction"
    REJECT_REASON = "reject-reason"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a record.

    Parameters
    ----------
    name
        The AWS name, with hyphens.
    since
        The record version that introduced the field.
    kind
        The type of its values.
    maximum
        The largest value of an integer; all integers are non-negative.
    prefix
        What an ID begins with. Swapped columns show by it, since IDs are texts like all others.
    observed
        Whether its values (texts and integers) over all rejected records of a flow are shown to the
        evidence rules, see ``flows/observed.py``.
    """

    name: str
    since: int
    kind: FieldKind = FieldKind.TEXT
    maximum: int = 0
    prefix: str = ""
    observed: bool = False

    @property
    def attribute(self) -> str:
        """The name of the attribute of ``FlowRecord``, and of the Parquet column."""
        return self.name.replace("-", "_")


def _integers(since: int, maximum: int, *names: str, observed: bool = False) -> list[Field]:
    return [
        Field(name=name, since=since, kind=FieldKind.INTEGER, maximum=maximum, observed=observed)
        for name in names
    ]


def _texts(since: int, *names: str, observed: bool = False) -> list[Field]:
    return [Field(name=name, since=since, observed=observed) for name in names]


def _accounts(since: int, *names: str) -> list[Field]:
    return [Field(name=name, since=since, kind=FieldKind.ACCOUNT) for name in names]


def _ids(since: int, prefix: str, *names: str) -> list[Field]:
    return [Field(name=name, since=since, kind=FieldKind.ID, prefix=prefix) for name in names]


def _addresses(since: int, *names: str) -> list[Field]:
    return [Field(name=name, since=since, kind=FieldKind.ADDRESS) for name in names]


_TABLE = (
    *_integers(2, MAX_INT_32, "version"),
    *_accounts(2, "account-id"),
    *_ids(2, "eni-", "interface-id"),
    *_addresses(2, "srcaddr", "dstaddr"),
    *_integers(2, MAX_PORT, "srcport", "dstport"),
    *_integers(2, MAX_PROTOCOL, "protocol"),
    *_integers(2, MAX_INT_64, "packets", "bytes"),
    *_integers(2, MAX_EPOCH, "start", "end"),
    Field(name="action", since=2, kind=FieldKind.ACTION),
    Field(name="log-status", since=2, kind=FieldKind.LOG_STATUS),
    *_ids(3, "vpc-", "vpc-id"),
    *_ids(3, "subnet-", "subnet-id"),
    *_ids(3, "i-", "instance-id"),
    *_integers(3, MAX_INT_32, "tcp-flags"),
    *_texts(3, "type"),
    *_addresses(3, "pkt-srcaddr", "pkt-dstaddr"),
    *_texts(4, "region", "az-id", "sublocation-type", "sublocation-id"),
    *_texts(5, "pkt-src-aws-service", "pkt-dst-aws-service"),
    Field(name="flow-direction", since=5, kind=FieldKind.FLOW_DIRECTION),
    *_integers(5, MAX_INT_32, "traffic-path", observed=True),
    *_texts(6, "resource-type"),
    *_ids(6, "tgw-", "tgw-id"),
    *_ids(6, "tgw-attach-", "tgw-attachment-id"),
    *_accounts(6, "tgw-src-vpc-account-id", "tgw-dst-vpc-account-id"),
    *_ids(6, "vpc-", "tgw-src-vpc-id", "tgw-dst-vpc-id"),
    *_ids(6, "subnet-", "tgw-src-subnet-id", "tgw-dst-subnet-id"),
    *_ids(6, "eni-", "tgw-src-eni", "tgw-dst-eni"),
    *_texts(6, "tgw-src-az-id", "tgw-dst-az-id"),
    *_ids(6, "tgw-attach-", "tgw-pair-attachment-id"),
    *_integers(
        6,
        MAX_INT_64,
        "packets-lost-no-route",
        "packets-lost-blackhole",
        "packets-lost-mtu-exceeded",
        "packets-lost-ttl-expired",
    ),
    *_texts(
        7,
        "ecs-cluster-arn",
        "ecs-cluster-name",
        "ecs-container-instance-arn",
        "ecs-container-instance-id",
        "ecs-container-id",
        "ecs-second-container-id",
        "ecs-service-name",
        "ecs-task-definition-arn",
        "ecs-task-arn",
        "ecs-task-id",
        observed=True,
    ),
    Field(name="reject-reason", since=8, kind=FieldKind.REJECT_REASON, observed=True),
    *_texts(9, "resource-id"),
    *_integers(10, MAX_INT_32, "encryption-status", observed=True),
    *_texts(
        11,
        "instance-tag",
        "instance-tag-2",
        "interface-tag",
        "interface-tag-2",
        "asg-tag",
        "asg-tag-2",
        observed=True,
    ),
    *_texts(11, "interface-type"),
    *_texts(
        11,
        "next-hop-interface-id",
        "next-hop-subnet-id",
        "next-hop-az-id",
        "next-hop-vpc-id",
        "next-hop-interface-type",
        observed=True,
    ),
)

ACCOUNT_DIGITS = 12
# In place of the account, for an interface that an AWS service made
# (https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html).
UNKNOWN_ACCOUNT = "unknown"

FIELDS: Mapping[str, Field] = MappingProxyType({field.name: field for field in _TABLE})

OBSERVED_FIELDS = tuple(field.name for field in _TABLE if field.observed)

_DEFAULT_VERSION = 2
DEFAULT_FIELDS = tuple(field.name for field in _TABLE if field.since == _DEFAULT_VERSION)

_TRANSIT_GATEWAY_VERSION = 6
_TRANSIT_GATEWAY_TABLE = tuple(
    field.name for field in _TABLE if field.since == _TRANSIT_GATEWAY_VERSION
)
TRANSIT_GATEWAY_FIELDS = frozenset(_TRANSIT_GATEWAY_TABLE)
PACKETS_LOST_FIELDS = tuple(
    name for name in _TRANSIT_GATEWAY_TABLE if name.startswith("packets-lost-")
)

# The default format of Transit Gateway Flow Logs: all fields of versions 2 to 6 that they have, in
# the order of AWS's table.
TRANSIT_GATEWAY_DEFAULT_FIELDS = (
    "version",
    "resource-type",
    "account-id",
    *(name for name in _TRANSIT_GATEWAY_TABLE if name.startswith("tgw-")),
    *("srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets", "bytes", "start", "end"),
    *("log-status", "type"),
    *PACKETS_LOST_FIELDS,
    *("tcp-flags", "region", "flow-direction", "pkt-src-aws-service", "pkt-dst-aws-service"),
)


def fields_by_version() -> tuple[tuple[str, ...], ...]:
    """Return all fields of a VPC's flow logs up to each version, in the order of AWS's table."""
    versions = sorted({field.since for field in _TABLE} - {_TRANSIT_GATEWAY_VERSION})
    return tuple(
        tuple(
            field.name
            for field in _TABLE
            if field.since <= version and field.since != _TRANSIT_GATEWAY_VERSION
        )
        for version in versions
    )


# The fields that any rule or report uses: the columns that are read of a Parquet file.
READ_FIELDS = frozenset(
    {
        *DEFAULT_FIELDS,
        *OBSERVED_FIELDS,
        "vpc-id",
        "subnet-id",
        "instance-id",
        "tcp-flags",
        "pkt-srcaddr",
        "pkt-dstaddr",
        "region",
        "pkt-src-aws-service",
        "pkt-dst-aws-service",
        "flow-direction",
        "resource-id",
        "interface-type",
        "tgw-id",
        "tgw-attachment-id",
        "tgw-src-vpc-id",
        "tgw-dst-vpc-id",
        "tgw-src-subnet-id",
        "tgw-dst-subnet-id",
        *PACKETS_LOST_FIELDS,
    }
) - {"version"}
