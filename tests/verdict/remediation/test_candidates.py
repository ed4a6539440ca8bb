"""Which change is chosen: the group, the peer, the range, the ports."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from flowverdict.core.availability import NotAvailable
from flowverdict.network.model import Interface
from tests.helpers.fixes import (
    NETWORK,
    explained,
    fix_of,
    reason_of,
    rejected,
    with_acl,
    with_group,
)
from tests.helpers.shop import SHOP
from tests.helpers.shop import explain as explain_in_shop
from tests.helpers.shop import line as shop_line

if TYPE_CHECKING:
    from flowverdict.network.configuration import NetConfig

APP_TO_WEB = rejected("web", "10.60.1.20", "10.60.1.10", (40_100, 8080), "ingress")


def with_holders(group_id: str, count: int) -> NetConfig:
    others = tuple(
        Interface(
            interface_id=f"eni-0fextra{number}",
            group_ids=(group_id,),
            vpc_id="vpc-0f60000000000060",
            subnet_id="subnet-0f6007",
            ipv4_addresses=(ip_address(f"10.60.7.{number + 10}"),),  # type: ignore[arg-type]
            ipv6_addresses=(),
        )
        for number in range(count)
    )
    return replace(NETWORK, interfaces=(*(NETWORK.interfaces or ()), *others))


def test_the_client_is_named_by_the_group_that_fewest_hold() -> None:
    assert "GroupId=sg-0f60app" in fix_of(APP_TO_WEB).commands(None)[0]
    more = fix_of(APP_TO_WEB, config=with_holders("sg-0f60app", 9))
    assert "GroupId=sg-0f60fleet" in more.commands(None)[0]


def test_the_rule_is_on_the_group_that_fewest_hold() -> None:
    two_groups = replace(
        with_holders("sg-0f60web", 5),
        interfaces=tuple(
            replace(each, group_ids=("sg-0f60web", "sg-0f60api"))
            if each.interface_id == "eni-0fweb"
            else each
            for each in with_holders("sg-0f60web", 5).interfaces or ()
        ),
    )
    assert "--group-id sg-0f60api " in fix_of(APP_TO_WEB, config=two_groups).commands(None)[0]


def test_a_client_with_the_default_group_alone_is_named_by_its_address() -> None:
    record = rejected("app1", "10.60.1.50", "10.60.1.20", (40_100, 8080), "ingress")
    fix = fix_of(record)
    assert "IpRanges=[{CidrIp=10.60.1.50/32}]" in fix.commands(None)[0]


def test_the_only_group_is_changed_though_it_is_the_default_one_and_that_is_said() -> None:
    record = rejected("other0", "10.60.1.20", "10.60.1.50", (40_100, 8080), "ingress")
    fix = fix_of(record)
    assert "--group-id sg-00f60default " in fix.commands(None)[0]
    assert fix.if_wanted is not None
    assert "default group" in fix.if_wanted
    assert (
        fix.opens == "lets 3 interfaces with sg-0f60app reach TCP port 8080 of 4 interfaces with "
        "sg-00f60default"
    )


def test_what_is_open_by_now_is_not_counted_as_newly_open() -> None:
    # Two of the four holders let the port in by another group that they hold.
    config = replace(
        NETWORK,
        interfaces=tuple(
            replace(each, group_ids=("sg-00f60default", "sg-0f60api"))
            if each.interface_id in {"eni-0fother1", "eni-0fother2"}
            else each
            for each in NETWORK.interfaces or ()
        ),
    )
    record = rejected("other0", "10.60.1.20", "10.60.1.50", (40_100, 8443), "ingress")
    assert "of 2 interfaces with sg-00f60default" in fix_of(record, config=config).opens


@pytest.mark.parametrize(
    ("hosts", "ranges"),
    [
        (["10.60.7.10", "10.60.7.11"], ["10.60.7.10/31"]),
        (["10.60.7.10", "10.60.7.12"], ["10.60.7.10/32", "10.60.7.12/32"]),
        ([f"10.60.7.{number}" for number in range(10, 40, 5)], ["10.60.7.0/24"]),
    ],
    ids=["neighbours", "a few hosts", "a subnet"],
)
def test_hosts_are_named_one_by_one_while_they_are_few(hosts: list[str], ranges: list[str]) -> None:
    records = [rejected("api", host, "10.60.2.10", (40_100, 8443), "ingress") for host in hosts]
    commands = fix_of(*records).commands(None)
    assert [command.split("--cidr-block ")[1] for command in commands] == ranges


def test_clients_of_many_networks_are_a_decision() -> None:
    hosts = ["10.99.1.1", "10.98.1.1", "10.97.1.1", "10.96.1.1"]
    records = [rejected("api", host, "10.60.2.10", (40_100, 8443), "ingress") for host in hosts]
    config = with_group(
        "sg-0f60api",
        lambda group: replace(
            group,
            ingress=tuple(
                replace(rule, peer=ip_network("10.0.0.0/8")) for rule in group.ingress or ()
            ),
        ),
    )
    reasons = {str(one.remediation) for one in explained(*records, config=config)}
    assert reasons == {
        (
            "none offered: 4 addresses would have to be named one by one; which of their networks "
            "may pass is a decision"
        )
    }


def test_requests_to_many_ports_are_a_decision() -> None:
    records = [
        rejected("web", "10.60.1.20", "10.60.1.10", (20_000 + port, 50_000 + port), "ingress")
        for port in range(6)
    ]
    assert "many ports" in reason_of(*records)


def test_the_fix_is_the_same_for_every_flow_of_a_problem() -> None:
    records = [
        rejected("api", f"10.60.1.{host}", "10.60.2.10", (40_100, 8443), "ingress")
        for host in (20, 21)
    ]
    first, second = explained(*records)
    assert first.remediation == second.remediation
    assert not isinstance(first.remediation, NotAvailable)


def test_a_list_too_long_for_a_network_acl_gets_no_half_of_it() -> None:
    long = tuple(ip_network(f"52.219.{number}.0/24") for number in range(0, 60, 2))
    config = replace(
        NETWORK,
        prefix_lists=tuple(
            replace(each, cidrs=(*long, ip_network("3.5.134.0/23")))
            if each.prefix_list_id == "pl-0f60s3"
            else each
            for each in NETWORK.prefix_lists or ()
        ),
    )
    record = rejected("batch", "10.60.6.10", "3.5.134.9", (40_100, 443), "egress")
    assert "31 more exceed AWS's quota" in reason_of(record, config=config)


def test_a_list_that_was_cut_gets_no_part_of_it_in_a_network_acl() -> None:
    lists = tuple(replace(each, is_cut=True) for each in NETWORK.prefix_lists or ())
    record = rejected("batch", "10.60.6.10", "52.219.45.7", (40_100, 443), "egress")
    assert fix_of(record).changes
    reason = reason_of(record, config=replace(NETWORK, prefix_lists=lists))
    assert "only some entries of pl-0f60s3 are known" in reason


def test_an_unknown_far_side_is_said_and_not_called_verified() -> None:
    record = rejected("web", "10.60.7.99", "10.60.1.10", (40_100, 8080), "ingress")
    fix = fix_of(record)
    assert not fix.verified
    assert fix.tried == (
        "this side",
        "reply path",
        "far side: not tried, no interface with 10.60.7.99 was read",
    )


def test_a_peer_in_another_region_is_named_by_range_and_not_tried() -> None:
    (peering,) = NETWORK.peerings or ()
    far_region = replace(
        NETWORK,
        peerings=(replace(peering, accepter=replace(peering.accepter, region="us-east-1")),),
    )
    record = rejected("web", "10.61.1.10", "10.60.1.10", (40_100, 8080), "ingress")
    assert "GroupId=sg-0f61ledger" in fix_of(record).commands(None)[0]
    fix = fix_of(record, config=far_region)
    assert "CidrIp=10.61.1.10/32" in fix.commands(None)[0]
    assert fix.tried[2] == "far side: not tried, it is in another Region"
    assert not fix.verified


def test_rules_that_are_not_known_here_leave_no_fix() -> None:
    unread = with_acl("acl-0f60closed", lambda acl: replace(acl, entries=None))
    record = rejected("api", "10.60.1.20", "10.60.2.10", (40_100, 5432), "ingress")
    assert reason_of(record, config=unread).startswith("none offered:")


def test_a_ping_is_opened_by_its_type_and_its_answer() -> None:
    tail = "- 10.0.2.20 10.0.3.30 egress -"
    explanation = explain_in_shop(
        shop_line("eni-0aaaaaaaaaaaaaaa2", "10.0.2.20 10.0.3.30", "0 0", tail, more="1 REJECT"),
        config=SHOP,
    )
    assert not isinstance(explanation.remediation, NotAvailable), explanation.remediation.reason
    commands = explanation.remediation.commands(None)
    assert "'IpProtocol=icmp,FromPort=8,ToPort=-1," in commands[0]
    assert any("--icmp-type-code Type=0,Code=-1" in command for command in commands)
    assert explanation.remediation.tried[0] == "this side, as a ping: flow logs show no ICMP type"
