"""The AWS CLI's own parser takes every offered command, and a local EC2 does what is meant."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from tests.helpers.simulated import explained
from tests.simulator import simulate
from tests.simulator.commands import RULE_QUOTAS, applied, parse
from tests.simulator.fix_scoring import problems_of
from tests.simulator.world import ANY_V4, Acl, AclEntry, Group, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mypy_boto3_ec2 import EC2Client

pytestmark = pytest.mark.slow

IDS = re.compile(r"\b(?:acl|sg|pl|vpc)-[0-9a-f]{8,}\b")
CODE = re.compile(r"\((?P<code>[A-Za-z.]+)\) when calling")
SEEDS = (0, 3, 7)
KINDS = ("fixes", "plain", "transit-gateway", "rule-change")


@pytest.fixture
def aws_cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[str], str]]:
    """Return a function that runs a command line, and returns the code of an error or nothing."""
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    # It takes a second to import, which only these tests need.
    from awscli.clidriver import create_clidriver  # noqa: PLC0415

    with mock_aws():
        driver = create_clidriver()

        def run(text: str) -> str:
            status = driver.main(shlex.split(text)[1:])
            said = capsys.readouterr().err
            if status == 0:
                return ""
            found = CODE.search(said)
            assert found is not None, said
            return found["code"]

        yield run


@dataclass(slots=True)
class Copy:
    """A world's rules in a local EC2, with the ids there by the ids of the world."""

    ec2: EC2Client
    ids: dict[str, str] = field(default_factory=dict)

    def fill(self, world: World) -> None:
        """Create VPCs, lists, groups and network ACLs with the rules that they have."""
        for vpc in world.vpcs.values():
            made = self.ec2.create_vpc(
                CidrBlock=str(vpc.block), AmazonProvidedIpv6CidrBlock=vpc.block_v6 is not None
            )
            self.ids[vpc.vpc_id] = made["Vpc"].get("VpcId", "")
        for list_id, (_, blocks) in world.prefix_lists.items():
            listed = self.ec2.create_managed_prefix_list(
                PrefixListName=f"list {list_id}",
                MaxEntries=len(blocks),
                AddressFamily="IPv4",
                Entries=[{"Cidr": str(block)} for block in blocks],
            )
            self.ids[list_id] = listed["PrefixList"].get("PrefixListId", "")
        for group in world.groups.values():
            self.ids[group.group_id] = self.ec2.create_security_group(
                GroupName=f"{group.name} {group.group_id}",
                Description="a group",
                VpcId=self.ids[group.vpc_id],
            )["GroupId"]
        for acl in world.acls.values():
            created = self.ec2.create_network_acl(VpcId=self.ids[acl.vpc_id])
            self.ids[acl.acl_id] = created["NetworkAcl"].get("NetworkAclId", "")
            for entry in acl.entries:
                self.ec2.create_network_acl_entry(**self._entry(acl, entry))

    def _entry(self, acl: Acl, entry: AclEntry) -> dict[str, Any]:
        block = "CidrBlock" if entry.block.version == ANY_V4.version else "Ipv6CidrBlock"
        options: dict[str, Any] = {
            "NetworkAclId": self.ids[acl.acl_id],
            "RuleNumber": entry.number,
            "Egress": entry.egress,
            "Protocol": str(entry.protocol),
            "RuleAction": "allow" if entry.allow else "deny",
            block: str(entry.block),
        }
        if entry.ports is not None:
            options["PortRange"] = {"From": entry.ports[0], "To": entry.ports[1]}
        if entry.icmp is not None:
            options["IcmpTypeCode"] = {"Type": entry.icmp[0], "Code": entry.icmp[1]}
        return options

    def text(self, command: str) -> str:
        """Return a command with the ids of the local EC2."""
        return IDS.sub(lambda found: self.ids[found[0]], command)

    def entries(self, acl: Acl) -> set[tuple[object, ...]]:
        """Return the entries that a network ACL has there, without the closing ones.

        The local EC2 keeps no ICMP types.
        """
        (shown,) = self.ec2.describe_network_acls(NetworkAclIds=[self.ids[acl.acl_id]])[
            "NetworkAcls"
        ]
        return {
            (
                entry.get("RuleNumber"),
                entry.get("Egress"),
                entry.get("RuleAction"),
                entry.get("Protocol"),
                entry.get("CidrBlock") or entry.get("Ipv6CidrBlock"),
                _ports(entry.get("PortRange")),
            )
            for entry in shown.get("Entries", [])
            if entry.get("RuleNumber", 0) < 32_767
        }

    def expected(self, acl: Acl) -> set[tuple[object, ...]]:
        """Return the entries that a network ACL should have there."""
        return {
            (
                entry.number,
                entry.egress,
                "allow" if entry.allow else "deny",
                str(entry.protocol),
                str(entry.block),
                entry.ports,
            )
            for entry in acl.entries
        }

    def rules(self, group: Group) -> int:
        """Return how many rules a group has there, each peer counted."""
        (shown,) = self.ec2.describe_security_groups(GroupIds=[self.ids[group.group_id]])[
            "SecurityGroups"
        ]
        peers = ("IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs")
        permissions: list[Mapping[str, Any]] = [
            *shown.get("IpPermissions", []),
            *shown.get("IpPermissionsEgress", []),
        ]
        return sum(len(each.get(peer, [])) for each in permissions for peer in peers)


def _ports(shown: Mapping[str, Any] | None) -> tuple[int, int] | None:
    return None if not shown else (int(shown["From"]), int(shown["To"]))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_offered_commands_run_as_they_are_and_are_undone(
    kind: str, seed: int, aws_cli: Callable[[str], str]
) -> None:
    simulation = simulate(seed, kind=kind, fmt="v5")
    world = simulation.world
    copy = Copy(boto3.client("ec2", region_name=world.region))
    copy.fill(world)
    rules_before = {group_id: copy.rules(group) for group_id, group in world.groups.items()}
    problems = problems_of(simulation, explained(simulation, with_config=True))
    done: list[tuple[str, str]] = []
    after = world
    for problem in problems:
        undo = problem.remedy["undo"][::-1]
        for command, undoing in zip(problem.remedy["commands"], undo, strict=True):
            if command in dict(done):
                assert aws_cli(copy.text(command)) == "InvalidPermission.Duplicate"
                continue
            assert aws_cli(copy.text(command)) == "", command
            after = applied(after, parse(command), account_id=problem.account_id(world))
            done.append((command, undoing))
    assert done
    for acl_id, acl in after.acls.items():
        assert copy.entries(acl) == copy.expected(acl), acl_id
    for group_id, group in after.groups.items():
        added = len(group.rules) - len(world.groups[group_id].rules)
        assert copy.rules(group) - rules_before[group_id] == added, group_id
    for command, _ in done:
        assert aws_cli(copy.text(command)) in {
            "NetworkAclEntryAlreadyExists",
            "InvalidPermission.Duplicate",
        }
    for _, undoing in reversed(done):
        assert aws_cli(copy.text(undoing)) == "", undoing
    for acl in world.acls.values():
        assert copy.entries(acl) == copy.expected(acl)
    assert {each: copy.rules(group) for each, group in world.groups.items()} == rules_before


def test_a_full_group_is_refused_as_the_simulator_refuses_it(
    aws_cli: Callable[[str], str],
) -> None:
    ec2 = boto3.client("ec2", region_name="eu-west-1")
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"].get("VpcId", "")
    group_id = ec2.create_security_group(GroupName="g", Description="g", VpcId=vpc_id)["GroupId"]
    text = (
        f"aws ec2 authorize-security-group-ingress --region eu-west-1 --group-id {group_id} "
        "--ip-permissions 'IpProtocol=tcp,FromPort=443,ToPort=443,IpRanges=[{CidrIp=10.0.0.%d/32}]'"
    )
    codes = [aws_cli(text % number) for number in range(RULE_QUOTAS[0] + 1)]
    assert codes == [*[""] * RULE_QUOTAS[0], "RulesPerSecurityGroupLimitExceeded"]
