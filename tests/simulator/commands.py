"""Do to a world what AWS CLI commands would do to the accounts that it stands for.

A command is read as text. What EC2 refuses is refused here too, with the code of EC2's error:
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html. Quotas are AWS's
defaults, or the most that AWS grants where more is there already:
https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from ipaddress import ip_network

from tests.simulator.world import (
    ANY_PROTOCOL,
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    Acl,
    AclEntry,
    Group,
    GroupRule,
    World,
)

ENTRY_QUOTAS = (20, 40)  # of one direction, with the closing entry of each IP version
RULE_QUOTAS = (60, 200)  # of one direction, for each IP version
LAST_NUMBER = 32_766
_PROTOCOLS = {"tcp": TCP, "udp": UDP, "icmp": ICMP, "icmpv6": ICMPV6, "-1": ANY_PROTOCOL}
_LIST_WEIGHTS = {".s3": 1}  # what the lists of AWS in these worlds count
_PAIRS = re.compile(r"(?P<key>\w+)=(?:\[\{(?P<inner>[^}]*)\}\]|(?P<plain>[^,\[\]{}]*))(?:,|$)")


class RefusedError(Exception):
    """What EC2 answers to a command that it does not carry out."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(f"{code}: {what}")
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command of the AWS CLI: the operation of EC2, its options by name, and its flags."""

    text: str
    operation: str
    options: dict[str, str]
    flags: frozenset[str]

    @property
    def egress(self) -> bool:
        """Whether the command is about rules for what leaves."""
        return "--egress" in self.flags or self.operation.endswith("-egress")

    @property
    def target(self) -> str:
        """The network ACL or the group that the command changes."""
        return self.options.get("--network-acl-id") or self.options["--group-id"]


def parse(text: str) -> Command:
    """Parse a command as a shell and the AWS CLI do; ``ValueError`` if either would not."""
    program, service, operation, *words = shlex.split(text)
    if (program, service) != ("aws", "ec2"):
        raise ValueError(f"no command of EC2: {text}")
    flags = frozenset({"--ingress", "--egress"} & set(words))
    values = [word for word in words if word not in flags]
    return Command(
        text=text,
        operation=operation,
        options=dict(zip(values[::2], values[1::2], strict=True)),
        flags=flags,
    )


def applied(world: World, command: Command, *, account_id: str) -> World:
    """Return the world after an account ran the command; ``RefusedError`` if EC2 would refuse."""
    if command.options["--region"] != world.region:
        raise RefusedError("InvalidGroup.NotFound", f"another Region: {command.text}")
    if command.operation == "create-network-acl-entry":
        return _with_entry(world, command, account_id)
    if command.operation == "delete-network-acl-entry":
        return _without_entry(world, command, account_id)
    if command.operation.startswith("authorize-security-group-"):
        return _with_rule(world, command, account_id)
    if command.operation.startswith("revoke-security-group-"):
        return _without_rule(world, command, account_id)
    raise ValueError(f"no command of a fix: {command.text}")


# --- network ACLs ---


def _acl(world: World, command: Command, account_id: str) -> Acl:
    acl = world.acls.get(command.target)
    if acl is None:
        raise RefusedError("InvalidNetworkAclID.NotFound", command.text)
    if world.owner_of_vpc(acl.vpc_id) != account_id:
        raise RefusedError("UnauthorizedOperation", f"another account owns it: {command.text}")
    return acl


def _with_entry(world: World, command: Command, account_id: str) -> World:
    acl, options = _acl(world, command, account_id), command.options
    number = int(options["--rule-number"])
    if not 1 <= number <= LAST_NUMBER:
        raise RefusedError("InvalidParameterValue", command.text)
    present = [entry for entry in acl.entries if entry.egress is command.egress]
    if number in {entry.number for entry in present}:
        raise RefusedError("NetworkAclEntryAlreadyExists", command.text)
    counted = len(present) + closing_entries(world, acl)
    if counted >= _quota(counted, ENTRY_QUOTAS):
        raise RefusedError("NetworkAclEntryLimitExceeded", command.text)
    protocol = int(options["--protocol"])
    ports = _range(options.get("--port-range"), "From", "To")
    icmp = _range(options.get("--icmp-type-code"), "Type", "Code")
    if (ports is None) is (protocol in {TCP, UDP}) or (icmp is None) is (
        protocol in {ICMP, ICMPV6}
    ):
        raise RefusedError("MissingParameter", command.text)
    entry = AclEntry(
        number=number,
        egress=command.egress,
        allow=options["--rule-action"] == "allow",
        protocol=protocol,
        block=ip_network(options.get("--cidr-block") or options["--ipv6-cidr-block"]),
        ports=ports,
        icmp=icmp,
    )
    return world.with_acl(replace(acl, entries=(*acl.entries, entry)))


def closing_entries(world: World, acl: Acl) -> int:
    """Return how many closing entries count against the quota of one direction.

    One for each IP version of the VPC, whether the description shows them or not.
    """
    return 2 if world.vpcs[acl.vpc_id].block_v6 is not None else 1


def _without_entry(world: World, command: Command, account_id: str) -> World:
    acl, number = _acl(world, command, account_id), int(command.options["--rule-number"])
    left = tuple(
        entry for entry in acl.entries if (entry.number, entry.egress) != (number, command.egress)
    )
    if len(left) == len(acl.entries):
        raise RefusedError("InvalidNetworkAclEntry.NotFound", command.text)
    return world.with_acl(replace(acl, entries=left))


def _range(text: str | None, first: str, last: str) -> tuple[int, int] | None:
    if text is None:
        return None
    pairs = dict(part.split("=", 1) for part in text.split(","))
    return int(pairs[first]), int(pairs[last])


def _quota(present: int, quotas: tuple[int, int]) -> int:
    """Return the quota of what holds so many: the default, or the raised one where exceeded."""
    usual, most = quotas
    return usual if present <= usual else most


# --- security groups ---


def _group(world: World, command: Command, account_id: str) -> Group:
    group = world.groups.get(command.target)
    if group is None or world.owner_of_group(group.group_id) != account_id:
        raise RefusedError("InvalidGroup.NotFound", command.text)
    return group


def _with_rule(world: World, command: Command, account_id: str) -> World:
    group = _group(world, command, account_id)
    rule = rule_of(command)
    _check_peer(world, group, rule, command)
    if rule in group.rules:
        raise RefusedError("InvalidPermission.Duplicate", command.text)
    for version in (4, 6):
        present = sum(
            weight(world, each, version) for each in group.rules if each.egress is rule.egress
        )
        added = weight(world, rule, version)
        if added and present + added > _quota(present, RULE_QUOTAS):
            raise RefusedError("RulesPerSecurityGroupLimitExceeded", command.text)
    return world.with_group(replace(group, rules=(*group.rules, rule)))


def _without_rule(world: World, command: Command, account_id: str) -> World:
    group, rule = _group(world, command, account_id), rule_of(command)
    if rule not in group.rules:
        raise RefusedError("InvalidPermission.NotFound", command.text)
    return world.with_group(
        replace(group, rules=tuple(each for each in group.rules if each != rule))
    )


def _permission(command: Command) -> dict[str, str]:
    """Return the parts of a permission by name; ``ValueError`` if it is misspelt."""
    text = command.options["--ip-permissions"]
    found: dict[str, str] = {}
    end = 0
    for match in _PAIRS.finditer(text):
        if match.start() != end:
            break
        end = match.end()
        inner = match["inner"]
        if inner is None:
            found[match["key"]] = match["plain"]
        else:
            found |= dict(part.split("=", 1) for part in inner.split(","))
    if end != len(text):
        raise ValueError(f"no shorthand syntax: {text}")
    return found


def rule_of(command: Command) -> GroupRule:
    """Return the rule that a command for a group names."""
    found = _permission(command)
    block = found.get("CidrIp") or found.get("CidrIpv6")
    return GroupRule(
        egress=command.egress,
        protocol=_PROTOCOLS.get(found["IpProtocol"]) or int(found["IpProtocol"]),
        from_port=int(found["FromPort"]) if "FromPort" in found else None,
        to_port=int(found["ToPort"]) if "ToPort" in found else None,
        block=None if block is None else ip_network(block),
        prefix_list_id=found.get("PrefixListId"),
        group_id=found.get("GroupId"),
    )


def _check_peer(world: World, group: Group, rule: GroupRule, command: Command) -> None:
    """Check that AWS can refer to what the rule names."""
    if rule.prefix_list_id is not None and rule.prefix_list_id not in world.prefix_lists:
        raise RefusedError("InvalidPrefixListID.NotFound", command.text)
    if rule.group_id is None:
        return
    other = world.groups.get(rule.group_id)
    if other is None:
        raise RefusedError("InvalidGroup.NotFound", command.text)
    peering = world.peering_between(group.vpc_id, other.vpc_id)
    peered = peering is not None and peering.status == "active"
    if other.vpc_id != group.vpc_id and not peered:
        raise RefusedError("InvalidGroup.NotFound", f"another VPC: {command.text}")
    owner = world.owner_of_group(group.group_id)
    if _permission(command).get("UserId", owner) != world.owner_of_group(other.group_id):
        raise RefusedError("InvalidGroup.NotFound", f"another account: {command.text}")


def weight(world: World, rule: GroupRule, version: int) -> int:
    """Return what a rule counts against the quota of its direction for one IP version."""
    if rule.block is not None:
        return int(rule.block.version == version)
    if rule.prefix_list_id is not None:
        name, blocks = world.prefix_lists[rule.prefix_list_id]
        return next(
            (count for end, count in _LIST_WEIGHTS.items() if name.endswith(end)), len(blocks)
        )
    return 1
