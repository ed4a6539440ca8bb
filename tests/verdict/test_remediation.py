"""Fixes: rule numbers, ranges, both ends, and cases without a fix."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from flowverdict.core.availability import NotAvailable
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.model import NetworkAcl, NetworkAclEntry, PortRange
from flowverdict.network.packet import Outcome, Packet
from flowverdict.verdict.remediation import AclChange, GroupChange, Remediation, find_remediation
from tests.helpers.connection import evaluate_connection
from tests.helpers.shop import APP, DATABASE, SHOP, WEB

if TYPE_CHECKING:
    from flowverdict.network.configuration import NetConfig

WEB_ACL = "acl-0aaa0000000000001"


def packet(source: str, destination: str, port: int, protocol: int = 6) -> Packet:
    return Packet(
        source=ip_address(source),
        destination=ip_address(destination),
        protocol=protocol,
        source_port=50_122,
        destination_port=port,
    )


UNWANTED = packet("198.51.100.77", "10.0.1.5", 443)


def remediation_of(
    config: NetConfig, interface_id: str, request: Packet, direction: FlowDirection
) -> Remediation | NotAvailable:
    interface = config.interface(interface_id)
    assert interface is not None
    found = find_remediation(config, interface, request, direction)
    if isinstance(found, Remediation):
        for change in found.changes:
            config = change.apply(config)
        changed = config.interface(interface_id)
        assert changed is not None
        assert evaluate_connection(config, changed, request, direction).outcome is Outcome.ALLOW
    return found


def with_acl(config: NetConfig, acl: NetworkAcl) -> NetConfig:
    acls = config.network_acls or ()
    return replace(
        config,
        network_acls=tuple(
            acl if other.network_acl_id == acl.network_acl_id else other for other in acls
        ),
    )


def entries(config: NetConfig, acl_id: str) -> tuple[NetworkAcl, tuple[NetworkAclEntry, ...]]:
    acl = config.network_acl(acl_id)
    assert acl is not None
    assert acl.entries is not None
    return acl, acl.entries


def test_a_reply_is_let_out_behind_all_entries_to_whom_may_ask() -> None:
    found = remediation_of(
        SHOP, WEB, packet("203.0.113.12", "10.0.1.5", 443), FlowDirection.INGRESS
    )
    assert isinstance(found, Remediation)
    (change,) = found.changes
    assert isinstance(change, AclChange)
    assert (change.network_acl_id, change.entry.rule_number, change.entry.egress) == (
        WEB_ACL,
        120,
        True,
    )
    assert (change.entry.network, change.entry.ports) == (
        ip_network("0.0.0.0/0"),
        PortRange(first=32_768, last=65_535),
    )
    assert change.opens == (
        "TCP to ports 32768-65535 to 0.0.0.0/0 out of every interface of subnet-0aaa0000000000001"
    )


def test_where_an_entry_denies_on_purpose_one_address_alone_is_let_in() -> None:
    found = remediation_of(SHOP, WEB, UNWANTED, FlowDirection.INGRESS)
    assert isinstance(found, Remediation)
    first, second = found.changes
    assert isinstance(first, AclChange)
    assert isinstance(second, AclChange)
    assert (first.entry.rule_number, str(first.entry.network)) == (89, "198.51.100.77/32")
    assert (second.entry.egress, str(second.entry.network)) == (True, "198.51.100.77/32")


def test_the_next_lower_free_number_is_taken() -> None:
    acl, listed = entries(SHOP, WEB_ACL)
    taken = tuple(
        replace(listed[0], rule_number=number, network=ip_network("192.0.2.1/32"))
        for number in (88, 89)
    )
    found = remediation_of(
        with_acl(SHOP, replace(acl, entries=(*listed, *taken))),
        WEB,
        packet("198.51.100.77", "10.0.1.5", 443),
        FlowDirection.INGRESS,
    )
    assert isinstance(found, Remediation)
    assert isinstance(found.changes[0], AclChange)
    assert found.changes[0].entry.rule_number == 87


def test_without_a_free_number_none_is_offered() -> None:
    acl, listed = entries(SHOP, WEB_ACL)
    deny = next(entry for entry in listed if entry.rule_number == 90)
    crowded = tuple(replace(deny, rule_number=number) for number in range(1, 4))
    rest = tuple(entry for entry in listed if entry is not deny)
    found = remediation_of(
        with_acl(SHOP, replace(acl, entries=(*crowded, *rest))),
        WEB,
        packet("198.51.100.77", "10.0.1.5", 443),
        FlowDirection.INGRESS,
    )
    assert found == NotAvailable(f"none offered: {WEB_ACL} has no free rule number before 1")


@pytest.mark.parametrize(
    ("highest", "number"), [(32_000, 32_010), (32_760, 32_761), (32_765, 32_766)]
)
def test_behind_the_last_entry_there_is_room_up_to_32766(highest: int, number: int) -> None:
    acl, listed = entries(SHOP, WEB_ACL)
    last = replace(listed[0], rule_number=highest, egress=True, network=ip_network("192.0.2.1/32"))
    found = remediation_of(
        with_acl(SHOP, replace(acl, entries=(*listed, last))),
        WEB,
        packet("203.0.113.12", "10.0.1.5", 443),
        FlowDirection.INGRESS,
    )
    assert isinstance(found, Remediation)
    assert isinstance(found.changes[0], AclChange)
    assert found.changes[0].entry.rule_number == number


def test_both_ends_are_mended_where_both_block() -> None:
    # From the app to the web server's SSH: the app's security group allows nothing out to the web
    # server, whose security group allows only the office in.
    found = remediation_of(SHOP, APP, packet("10.0.2.20", "10.0.1.5", 22), FlowDirection.EGRESS)
    assert isinstance(found, Remediation)
    assert [
        change.rule.group_id if isinstance(change, GroupChange) else change.network_acl_id
        for change in found.changes
    ] == [
        "sg-0bbb0000000000002",
        "sg-0aaa0000000000001",
    ]


def test_a_group_is_opened_to_the_clients_group_in_the_vpc_and_to_an_address_elsewhere() -> None:
    inside = remediation_of(
        SHOP, DATABASE, packet("10.0.2.20", "10.0.3.30", 5432), FlowDirection.INGRESS
    )
    assert isinstance(inside, Remediation)
    (command,) = inside.commands("eu-west-1")
    assert command == (
        "aws ec2 authorize-security-group-ingress --region eu-west-1 "
        "--group-id sg-0ccc0000000000003 --ip-permissions 'IpProtocol=tcp,FromPort=5432,"
        "ToPort=5432,UserIdGroupPairs=[{GroupId=sg-0bbb0000000000002}]'"
    )
    outside = remediation_of(
        SHOP, APP, packet("10.0.2.20", "172.31.4.4", 443), FlowDirection.EGRESS
    )
    assert isinstance(outside, Remediation)
    assert "IpRanges=[{CidrIp=172.31.4.4/32}]" in outside.commands(None)[0]


def test_icmp_is_let_in_with_all_its_types() -> None:
    found = remediation_of(
        SHOP,
        APP,
        replace(packet("10.0.2.20", "10.0.3.30", 0, 1), source_port=0),
        FlowDirection.EGRESS,
    )
    assert isinstance(found, Remediation)
    commands = found.commands("eu-west-1")
    assert (
        "'IpProtocol=icmp,FromPort=-1,ToPort=-1,UserIdGroupPairs=[{GroupId=sg-0ccc0000000000003}]'"
        in commands[0]
    )
    assert any("--protocol 1 --icmp-type-code Type=-1,Code=-1" in command for command in commands)


def test_ipv6_is_opened_by_ipv6_range() -> None:
    found = remediation_of(
        SHOP, APP, packet("2001:db8::1", "2001:db8:1::1", 443), FlowDirection.EGRESS
    )
    # The network ACL's IPv6 boundary is not known: the subnets list no IPv6 range.
    assert (
        isinstance(found, NotAvailable)
        or "Ipv6Ranges=[{CidrIpv6=2001:db8:1::1/128}]" in found.commands(None)[0]
    )
    ranges = (ip_network(f"2001:db8:0:{index}::/64") for index in range(10))
    subnets = tuple(
        replace(subnet, cidrs=(*subnet.cidrs, block))
        for subnet, block in zip(SHOP.subnets or (), ranges, strict=False)
    )
    certain = remediation_of(
        replace(SHOP, subnets=subnets),
        APP,
        packet("2001:db8::1", "2001:db8:1::1", 443),
        FlowDirection.EGRESS,
    )
    assert isinstance(certain, Remediation)
    commands = certain.commands(None)
    assert "Ipv6Ranges=[{CidrIpv6=2001:db8:1::1/128}]" in commands[0]
    assert all("--ipv6-cidr-block 2001:db8:1::1/128" in command for command in commands[1:])


def test_what_passes_already_needs_no_fix() -> None:
    found = remediation_of(SHOP, APP, packet("10.0.1.5", "10.0.2.20", 8080), FlowDirection.INGRESS)
    assert found == NotAvailable("none needed: the rules let the packet and its reply pass")


def test_no_fix_is_offered_on_rules_that_are_not_known() -> None:
    found = remediation_of(
        replace(SHOP, network_acls=None),
        DATABASE,
        packet("10.0.2.20", "10.0.3.30", 5432),
        FlowDirection.INGRESS,
    )
    assert isinstance(found, NotAvailable)
    assert found.reason.startswith("none offered: the rules leave open whether it would work")
