"""What the simulator refuses, and what it finds in a fix that opens too much."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from tests.helpers.small_network import ALL_BOTH_WAYS, allows, entry, small_world
from tests.simulator.commands import RefusedError, applied, parse
from tests.simulator.evaluator import PacketView
from tests.simulator.fix_exposure import newly_open
from tests.simulator.fix_statements import RuleStatement, statements
from tests.simulator.world import TCP, AclEntry, GroupRule, World

ENTRY = (
    "aws ec2 create-network-acl-entry --region eu-west-1 --network-acl-id acl-1 --ingress "
    "--rule-number {number} --rule-action allow --protocol 6 --port-range From=443,To=443 "
    "--cidr-block {block}"
)
RULE = (
    "aws ec2 authorize-security-group-ingress --region eu-west-1 --group-id sg-1 "
    "--ip-permissions 'IpProtocol=tcp,FromPort=443,ToPort=443,{peer}'"
)
BY_GROUP = "UserIdGroupPairs=[{GroupId=sg-2}]"
BY_RANGE = "IpRanges=[{CidrIp=10.0.2.12/32}]"


def run(world: World, *texts: str, account_id: str = "123456789012") -> World:
    for text in texts:
        world = applied(world, parse(text), account_id=account_id)
    return world


def many_entries(count: int) -> tuple[AclEntry, ...]:
    return tuple(entry(number, allow=True, ports=(22, 22)) for number in range(1, count + 1))


def many_rules(count: int) -> tuple[GroupRule, ...]:
    return tuple(
        replace(allows(TCP, 22), block=block)
        for block in list(IPv4Network("203.0.113.0/24").subnets(new_prefix=32))[:count]
    )


def test_a_command_changes_what_the_evaluator_reads() -> None:
    world = small_world(entries=())
    after = run(world, ENTRY.format(number=20, block="10.0.2.0/24"), RULE.format(peer=BY_GROUP))
    (added,) = after.acls["acl-1"].entries
    assert (added.number, added.egress, added.ports) == (20, False, (443, 443))
    assert after.groups["sg-1"].rules == (allows(TCP, 443, group_id="sg-2"),)


@pytest.mark.parametrize(
    ("entries", "rules", "text", "code"),
    [
        (many_entries(3), (), ENTRY.format(number=2, block="10.0.2.0/24"), "AlreadyExists"),
        (many_entries(19), (), ENTRY.format(number=99, block="10.0.2.0/24"), "LimitExceeded"),
        ((), (), ENTRY.format(number=32_767, block="10.0.2.0/24"), "InvalidParameterValue"),
        ((), (allows(TCP, 443, group_id="sg-2"),), RULE.format(peer=BY_GROUP), "Duplicate"),
        ((), many_rules(60), RULE.format(peer=BY_RANGE), "RulesPerSecurityGroupLimitExceeded"),
        ((), (), RULE.format(peer="UserIdGroupPairs=[{GroupId=sg-9}]"), "InvalidGroup.NotFound"),
        (
            (),
            (),
            RULE.format(peer="UserIdGroupPairs=[{GroupId=sg-2,UserId=999999999999}]"),
            "another account",
        ),
        ((), (), RULE.format(peer="PrefixListIds=[{PrefixListId=pl-9}]"), "PrefixListID.NotFound"),
        ((), (), ENTRY.format(number=9, block="10.0.2.0/24").replace("acl-1", "acl-9"), "NotFound"),
        ((), (), RULE.format(peer=BY_RANGE).replace("eu-west-1", "eu-west-3"), "another Region"),
    ],
)
def test_what_ec2_refuses_is_refused(
    entries: tuple[AclEntry, ...], rules: tuple[GroupRule, ...], text: str, code: str
) -> None:
    with pytest.raises(RefusedError, match=code):
        run(small_world(entries=entries, rules=rules), text)


def test_the_last_free_place_may_be_taken() -> None:
    world = small_world(entries=many_entries(18), rules=many_rules(59))
    after = run(world, ENTRY.format(number=99, block="10.0.2.0/24"), RULE.format(peer=BY_RANGE))
    assert len(after.acls["acl-1"].entries) == 19
    assert len(after.groups["sg-1"].rules) == 60


def test_only_the_owner_of_a_shared_vpc_changes_its_network_acls() -> None:
    world = small_world(entries=())
    shared = replace(world.vpcs["vpc-1"], owner_id="999999999999")
    world = replace(world, vpcs={"vpc-1": shared})
    command = ENTRY.format(number=9, block="10.0.2.0/24")
    with pytest.raises(RefusedError, match="UnauthorizedOperation"):
        run(world, command)
    assert run(world, command, account_id="999999999999").acls["acl-1"].entries


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("aws s3 ls", "no command of EC2"),
        (RULE.format(peer="IpRanges=[{CidrIp=10.0.2.12/32}"), "no shorthand syntax"),
        (ENTRY.format(number="x", block="10.0.2.0/24"), "invalid literal"),
        (ENTRY.format(number=9, block="10.0.2.1/24"), "host bits set"),
    ],
)
def test_what_is_no_command_is_not_run(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        run(small_world(), text)


SAID = "lets 1 interface with sg-2 reach TCP port 443 of 1 interface with sg-1"


@pytest.mark.parametrize(
    ("command", "said", "found"),
    [
        (
            RULE.format(peer=BY_GROUP),
            SAID.replace("1 interface with sg-2", "9 interfaces with sg-2"),
            0,
        ),
        (RULE.format(peer=BY_RANGE), SAID, 0),
        (RULE.format(peer=BY_GROUP), SAID.replace("443", "444"), 1),
        (RULE.format(peer=BY_GROUP), SAID.replace("of 1 interface with sg-1", "of 10.0.1.1/32"), 1),
        (RULE.format(peer="IpRanges=[{CidrIp=0.0.0.0/0}]"), SAID, 1),
        (RULE.format(peer=BY_GROUP), SAID.replace("of 1", "of 0"), 1),
    ],
)
def test_a_rule_opens_what_is_said_and_no_more(command: str, said: str, found: int) -> None:
    world = small_world(rules=())
    tried = list(newly_open(world, run(world, command), statements(said)))
    assert bool(found) is any(each.beyond is not None for each in tried)
    assert len(tried) > 20


@pytest.mark.parametrize(
    ("block", "said", "beyond"),
    [
        (
            "10.0.2.0/24",
            "lets TCP to port 443 into subnet-1 (2 interfaces) from 10.0.2.0/24",
            False,
        ),
        ("10.0.2.0/24", "lets TCP to ports 400-500 into subnet-1 from 10.0.0.0/16", False),
        ("0.0.0.0/0", "lets TCP to port 443 into subnet-1 (2 interfaces) from 10.0.2.0/24", True),
        ("10.0.2.0/24", "lets TCP to port 443 into subnet-2 (1 interface) from 10.0.2.0/24", True),
        ("10.0.2.0/24", "lets TCP to port 443 out of subnet-1 to 10.0.2.0/24", True),
    ],
)
def test_an_entry_opens_what_is_said_and_no_more(block: str, said: str, beyond: bool) -> None:  # noqa: FBT001
    world = small_world(entries=())
    after = run(world, ENTRY.format(number=20, block=block))
    tried = list(newly_open(world, after, statements(said)))
    assert any(each.beyond is not None for each in tried) is beyond


def test_a_denial_that_someone_wrote_is_not_overruled_in_silence() -> None:
    written = entry(50, allow=False, ports=(443, 443))
    world = small_world(entries=(written, *ALL_BOTH_WAYS))
    said = statements("lets TCP to port 443 into subnet-1 from 10.0.2.0/24")
    for number, overruled in ((20, True), (60, False)):
        after = run(world, ENTRY.format(number=number, block="10.0.2.0/24"))
        tried = list(newly_open(world, after, said))
        assert any(each.overruled is not None for each in tried) is overruled


def test_words_are_read_as_they_are_written() -> None:
    said = (
        "lets every interface with sg-2 reach ICMP type 8 of s3 list (pl-1); "
        "lets 3 interfaces with sg-2 reach UDP port 53 of 10.0.0.0/16"
    )
    first, second = statements(said)
    assert isinstance(first, RuleStatement)
    assert isinstance(second, RuleStatement)
    assert (first.client.count, first.server.prefix_list_id) == (None, "pl-1")
    ping = PacketView(egress=True, peer=IPv4Address("81.2.69.1"), protocol=1, port=0, icmp=(8, 0))
    world = small_world()
    assert first.covers(world, world.interfaces["eni-2"], ping)
    assert not first.covers(world, world.interfaces["eni-2"], replace(ping, icmp=(0, 0)))
    assert not second.covers(world, world.interfaces["eni-2"], ping)
    with pytest.raises(ValueError, match="does not say"):
        statements("opens something")
