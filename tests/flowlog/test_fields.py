"""The table of fields against AWS's own list and against the record it describes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from types import NoneType
from typing import TYPE_CHECKING, get_args, get_type_hints

import pytest

from flowverdict.flowlog.fields import (
    DEFAULT_FIELDS,
    FIELDS,
    TRANSIT_GATEWAY_DEFAULT_FIELDS,
    TRANSIT_GATEWAY_FIELDS,
    FieldKind,
)
from flowverdict.flowlog.records import Action, FlowDirection, FlowRecord, LogStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

# https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html, in the order of its table;
# version 6 of https://docs.aws.amazon.com/vpc/latest/tgw/tgw-flow-logs.html.
AWS_FIELDS_BY_VERSION = {
    2: "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes "
    "start end action log-status",
    3: "vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr",
    4: "region az-id sublocation-type sublocation-id",
    5: "pkt-src-aws-service pkt-dst-aws-service flow-direction traffic-path",
    6: "resource-type tgw-id tgw-attachment-id tgw-src-vpc-account-id tgw-dst-vpc-account-id "
    "tgw-src-vpc-id tgw-dst-vpc-id tgw-src-subnet-id tgw-dst-subnet-id tgw-src-eni tgw-dst-eni "
    "tgw-src-az-id tgw-dst-az-id tgw-pair-attachment-id packets-lost-no-route "
    "packets-lost-blackhole packets-lost-mtu-exceeded packets-lost-ttl-expired",
    7: (
        "ecs-cluster-arn ecs-cluster-name ecs-container-instance-arn"
        " ecs-container-instance-id ecs-container-id"
        " ecs-second-container-id ecs-service-name ecs-task-definition-arn ecs-task-arn ecs-task-id"
    ),
    8: "reject-reason",
    9: "resource-id",
    10: "encryption-status",
    11: (
        "instance-tag instance-tag-2 interface-tag interface-tag-2 asg-tag asg-tag-2"
        " interface-type next-hop-interface-id"
        " next-hop-subnet-id next-hop-az-id next-hop-vpc-id next-hop-interface-type"
    ),
}

# The default format of https://docs.aws.amazon.com/vpc/latest/tgw/tgw-flow-logs.html, versions 2-6.
AWS_TRANSIT_GATEWAY_FORMAT = (
    "version resource-type account-id tgw-id tgw-attachment-id tgw-src-vpc-account-id"
    " tgw-dst-vpc-account-id tgw-src-vpc-id"
    " tgw-dst-vpc-id tgw-src-subnet-id tgw-dst-subnet-id tgw-src-eni tgw-dst-eni"
    " tgw-src-az-id tgw-dst-az-id"
    " tgw-pair-attachment-id srcaddr dstaddr srcport dstport protocol packets bytes start end"
    " log-status type"
    " packets-lost-no-route packets-lost-blackhole packets-lost-mtu-exceeded"
    " packets-lost-ttl-expired tcp-flags region"
    " flow-direction pkt-src-aws-service pkt-dst-aws-service"
)

PYTHON_TYPES: dict[FieldKind, frozenset[type]] = {
    FieldKind.INTEGER: frozenset({int}),
    FieldKind.TEXT: frozenset({str}),
    FieldKind.ACCOUNT: frozenset({str}),
    FieldKind.ID: frozenset({str}),
    FieldKind.ADDRESS: frozenset({IPv4Address, IPv6Address}),
    FieldKind.ACTION: frozenset({Action}),
    FieldKind.LOG_STATUS: frozenset({LogStatus}),
    FieldKind.FLOW_DIRECTION: frozenset({FlowDirection}),
    # Text and not an enum: a reason that AWS adds tomorrow must not make the record malformed.
    FieldKind.REJECT_REASON: frozenset({str}),
}


def flattened(hint: object) -> Iterator[object]:
    """Yield the plain types of unions and aliases."""
    hint = getattr(hint, "__value__", hint)
    if parts := get_args(hint):
        for part in parts:
            yield from flattened(part)
    else:
        yield hint


@pytest.mark.parametrize(("version", "names"), AWS_FIELDS_BY_VERSION.items())
def test_every_field_of_the_version_is_known_under_its_aws_name(version: int, names: str) -> None:
    assert [field.name for field in FIELDS.values() if field.since == version] == names.split()


def test_no_field_is_known_that_aws_does_not_document() -> None:
    documented = {name for names in AWS_FIELDS_BY_VERSION.values() for name in names.split()}
    assert set(FIELDS) == documented
    assert len(FIELDS) == 72


def test_default_format_is_version_2_in_the_order_of_the_table() -> None:
    assert " ".join(DEFAULT_FIELDS) == AWS_FIELDS_BY_VERSION[2]


def test_transit_gateway_fields_are_those_that_vpc_flow_logs_lack() -> None:
    documented = AWS_TRANSIT_GATEWAY_FORMAT.split()
    shared = {name for name in documented if FIELDS[name].since != 6}
    assert set(documented) - shared == TRANSIT_GATEWAY_FIELDS


def test_default_format_of_a_transit_gateway_is_in_the_order_of_its_table() -> None:
    assert " ".join(TRANSIT_GATEWAY_DEFAULT_FIELDS) == AWS_TRANSIT_GATEWAY_FORMAT


def test_the_record_has_exactly_the_attributes_of_the_table_in_its_order() -> None:
    assert [field.attribute for field in FIELDS.values()] == list(FlowRecord._fields)


def test_the_record_declares_the_types_that_the_kinds_read() -> None:
    hints = get_type_hints(FlowRecord)
    assert {field.name: {*flattened(hints[field.attribute])} for field in FIELDS.values()} == {
        field.name: PYTHON_TYPES[field.kind] | {NoneType} for field in FIELDS.values()
    }


def test_integers_and_only_integers_are_bounded() -> None:
    assert [name for name, field in FIELDS.items() if field.maximum > 0] == [
        name for name, field in FIELDS.items() if field.kind is FieldKind.INTEGER
    ]


@pytest.mark.parametrize(
    ("name", "maximum"),
    [
        ("srcport", 65_535),
        ("dstport", 65_535),
        ("protocol", 255),
        ("packets", 2**63 - 1),
        ("bytes", 2**63 - 1),
        ("packets-lost-no-route", 2**63 - 1),
        ("tcp-flags", 2**31 - 1),
    ],
)
def test_bound_is_what_the_field_can_hold(name: str, maximum: int) -> None:
    assert FIELDS[name].maximum == maximum


def test_attribute_is_the_name_with_underscores() -> None:
    assert FIELDS["ecs-second-container-id"].attribute == "ecs_second_container_id"
    assert FIELDS["interface-tag-2"].attribute == "interface_tag_2"


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        FIELDS["made-up"] = FIELDS["version"]  # type: ignore[index]
