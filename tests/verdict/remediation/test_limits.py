"""What cannot be run is not offered: quotas, rule numbers, owners, managed groups."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from flowverdict.network.model import (
    NetworkAcl,
    NetworkAclEntry,
    SecurityGroup,
    Vpc,
)
from flowverdict.verdict.remediation.limits import (
    Ledger,
    entry_room,
    manager_of,
    managing_service,
    rule_number,
)
from flowverdict.verdict.remediation.model import AclChange
from flowverdict.verdict.remediation.offers import OpenOffers
from tests.helpers.fixes import NETWORK, crowded, fix_of, reason_of, rejected, with_group

if TYPE_CHECKING:
    from flowverdict.network.configuration import NetConfig

APP_TO_WEB = rejected("web", "10.60.1.20", "10.60.1.10", (40_100, 8080), "ingress")


def entry(number: int, *, egress: bool = False, action: str = "allow") -> NetworkAclEntry:
    return NetworkAclEntry(
        rule_number=number,
        egress=egress,
        action=action,
        protocol="6",
        network=ip_network("192.0.2.0/24"),
    )


VPC = "vpc-0f60000000000060"
WITHOUT_IPV6 = NETWORK


def with_ipv6() -> NetConfig:
    ranges = (ip_network("10.60.0.0/16"), ip_network("2001:db8:60::/56"))
    return replace(NETWORK, vpcs=(Vpc(vpc_id=VPC, cidrs=ranges),))


def ledger() -> Ledger:
    return Ledger(open_offers=OpenOffers())


def acl_with(*numbers: int) -> NetworkAcl:
    entries = tuple(entry(number) for number in numbers)
    return NetworkAcl(network_acl_id="acl-0a1", vpc_id=VPC, entries=entries)


@pytest.mark.parametrize(
    ("numbers", "room"),
    [
        (range(1, 1), 19),  # the closing * counts even where the data does not list it
        (range(1, 19), 1),
        (range(1, 20), 0),
        (range(1, 21), 19),  # 21 with the *: the quota was raised
        (range(1, 40), 0),
        ((*range(1, 18), 32_767, 32_768), 1),
    ],
)
def test_entries_of_a_direction_are_counted_with_the_closing_one(numbers: range, room: int) -> None:
    assert entry_room(WITHOUT_IPV6, acl_with(*numbers), ledger(), egress=False) == room
    assert entry_room(WITHOUT_IPV6, acl_with(*numbers), ledger(), egress=True) == 19


@pytest.mark.parametrize(
    ("numbers", "room"),
    [
        (range(1, 1), 18),  # the closing * of IPv4 and of IPv6, where the data lists neither
        (range(1, 18), 1),
        (range(1, 19), 0),
        ((*range(1, 18), 32_767), 1),
        ((*range(1, 18), 32_767, 32_768), 1),
    ],
)
def test_in_a_vpc_with_ipv6_two_closing_entries_count(numbers: range, room: int) -> None:
    acl = acl_with(*numbers)
    assert entry_room(with_ipv6(), acl, ledger(), egress=False) == room
    # A VPC that was not read may have IPv6.
    not_read = replace(NETWORK, vpcs=None)
    assert entry_room(not_read, acl, ledger(), egress=False) == room


def test_what_other_fixes_take_counts_too() -> None:
    taken = ledger()
    taken.take(AclChange(network_acl_id="acl-0a1", entry=entry(500)))
    assert entry_room(WITHOUT_IPV6, acl_with(*range(1, 19)), taken, egress=False) == 0
    copied = taken.copy()
    copied.take(AclChange(network_acl_id="acl-0a1", entry=entry(510)))
    assert taken.numbers["acl-0a1 ingress"].keys() == {500}


@pytest.mark.parametrize("before", [32_767, 1_500, 120])
def test_a_number_is_free_behind_the_entries_before_and_the_same_each_time(before: int) -> None:
    acl, taken = acl_with(90, 100, before), ledger()
    found = {}
    for content in map(str, range(8)):
        number = rule_number(acl, taken, content, egress=False, before=before)
        assert number is not None
        assert number == rule_number(acl, taken, content, egress=False, before=before)
        assert 100 < number < before
        taken.numbers["acl-0a1 ingress"][number] = content
        found[content] = number
    assert len(set(found.values())) == 8
    for content, number in found.items():
        assert number == rule_number(acl, taken, content, egress=False, before=before)


@pytest.mark.parametrize(("highest", "number"), [(32_765, 32_766), (32_766, None)])
def test_the_last_number_is_32766(highest: int, number: int | None) -> None:
    acl = acl_with(highest)
    assert rule_number(acl, ledger(), "a", egress=False, before=32_767) == number


def test_no_number_is_free_right_behind_an_entry() -> None:
    assert rule_number(acl_with(100, 101), ledger(), "a", egress=False, before=101) is None


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("GuardDutyManagedSecurityGroup-vpc-0a1", "Amazon GuardDuty"),
        ("ElasticMapReduce-master", "Amazon EMR"),
        ("rds-ec2-1", "Amazon RDS"),
        ("eks-cluster-sg-shop-17", "Amazon EKS"),
        ("d-0123456789_controllers", "AWS Directory Service"),
        ("app", None),
        ("my-eks-cluster-sg-notes", None),
    ],
)
def test_groups_that_a_service_made_are_known_by_name(name: str, service: str | None) -> None:
    assert managing_service(SecurityGroup(group_id="sg-0a1", name=name)) == service


@pytest.mark.parametrize(
    ("tags", "manager"),
    [
        ({"aws:cloudformation:stack-name": "shop\nIgnore: this"}, "CloudFormation stack shop Igno"),
        ({"Terraform": "true"}, "Terraform"),
        ({"Terraform": "false"}, None),
        ({"ManagedBy": "Terraform Cloud"}, "Terraform"),
        ({"managed-by": "pulumi"}, "Pulumi"),
        ({"managed-by": "the network team"}, None),
        ({}, None),
    ],
)
def test_tags_say_what_manages_a_rule(tags: dict[str, str], manager: str | None) -> None:
    found = manager_of(tags)
    assert found is None if manager is None else (found or "").startswith(manager)


def test_a_group_takes_sixty_rules_and_more_where_the_quota_was_raised() -> None:
    for rules in (59, 61, 199):
        fix_of(APP_TO_WEB, config=with_group("sg-0f60web", lambda g, n=rules: crowded(g, n)))  # type: ignore[misc]
    for rules in (60, 200):
        config = with_group("sg-0f60web", lambda g, n=rules: crowded(g, n))  # type: ignore[misc]
        assert "sg-0f60web would exceed AWS's quota" in reason_of(APP_TO_WEB, config=config)


def test_rules_times_groups_of_an_interface_are_a_thousand() -> None:
    config = with_group("sg-0f60web", lambda group: crowded(group, 100))
    fix_of(APP_TO_WEB, config=config)
    held = tuple(f"sg-{number}" for number in range(10))
    interfaces = tuple(
        replace(each, group_ids=held) if each.interface_id == "eni-0fother0" else each
        for each in config.interfaces or ()
    )
    reason = reason_of(APP_TO_WEB, config=replace(config, interfaces=interfaces))
    assert "sg-0f60web would exceed AWS's quota" in reason


def test_a_group_of_another_account_is_not_changed() -> None:
    config = with_group("sg-0f60web", lambda group: replace(group, owner_id="999988887777"))
    assert reason_of(APP_TO_WEB, config=config) == (
        "none offered: sg-0f60web belongs to account 999988887777, and only that account can "
        "change it"
    )
