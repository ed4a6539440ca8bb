"""Decide whether a change can be run: quotas, free rule numbers, owners, managed groups.

- Quotas: https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
- Only the owner of a shared VPC changes its network ACLs:
  https://docs.aws.amazon.com/vpc/latest/userguide/vpc-sharing.html
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

from flowverdict.core.availability import NotAvailable
from flowverdict.core.untrusted import one_line
from flowverdict.network.model import PrefixListReference
from flowverdict.verdict.remediation.model import (
    LAST_RULE_NUMBER,
    AclChange,
    Change,
    GroupChange,
    place_of,
)
from flowverdict.verdict.remediation.offers import MAX_OFFERS, OpenOffers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowverdict.core.addresses import Network
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import (
        NetworkAcl,
        Peer,
        PrefixList,
        SecurityGroup,
        SecurityGroupRule,
    )

# Entries of a network ACL in one direction, both IP versions and the closing `*` counted. AWS
# raises the quota to 40 at most.
_DEFAULT_ENTRIES, _MOST_ENTRIES = 20, 40
# Rules of a security group in one direction, each IP version apart. Rules times groups of an
# interface is 1,000 at most; by default an interface has 5 groups.
_DEFAULT_RULES, _MOST_RULES = 60, 200
_DEFAULT_GROUPS, _RULES_TIMES_GROUPS = 5, 1_000
_IPV6 = 6
_STEP = 10  # between the numbers that people give to entries
_SPREAD = 1_000  # numbers behind the last entry among which a fix chooses

# What a reference to an AWS-managed list counts:
# https://docs.aws.amazon.com/vpc/latest/userguide/working-with-aws-managed-prefix-lists.html
_WEIGHTS = {
    "cloudfront.origin-facing": 55,
    "dynamodb": 1,
    "ec2-instance-connect": 2,
    "groundstation": 5,
    "route53-healthchecks": 25,
    "s3": 1,
    "s3express": 6,
    "vpc-lattice": 10,
}


@dataclass(slots=True, kw_only=True)
class Ledger:
    """What the fixes that are planned together take, and what other open fixes offer.

    Parameters
    ----------
    numbers
        The content of each new entry, by direction of a network ACL and by rule number.
    rules
        The new rules, by direction of a security group.
    """

    open_offers: OpenOffers
    numbers: defaultdict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    rules: defaultdict[str, set[SecurityGroupRule]] = field(
        default_factory=lambda: defaultdict(set)
    )

    def copy(self) -> Ledger:
        """Return a ledger that can be changed without this one."""
        copied = Ledger(open_offers=self.open_offers)
        copied.numbers.update({key: dict(taken) for key, taken in self.numbers.items()})
        copied.rules.update({key: set(taken) for key, taken in self.rules.items()})
        return copied

    def take(self, change: Change) -> None:
        """Note that a change is offered."""
        if isinstance(change, AclChange):
            self.numbers[change.place][change.rule_number] = change.content
        else:
            self.rules[change.place].add(change.rule)

    def numbers_of(self, place: str, content: str) -> list[int]:
        """Return the rule numbers that open fixes have for an entry, the oldest first."""
        planned = [number for number, each in self.numbers[place].items() if each == content]
        offered = [
            offer.rule_number
            for offer in self.open_offers.at(place)
            if offer.change == content and offer.rule_number is not None
        ]
        return [*planned, *offered]

    def numbers_of_all(self, place: str) -> set[int | None]:
        """Return all rule numbers that open fixes have in one direction of a network ACL."""
        offered = {offer.rule_number for offer in self.open_offers.at(place)}
        return offered | set(self.numbers[place])

    def entries_to_come(self, acl: NetworkAcl, *, egress: bool) -> dict[int, str]:
        """Return the entries, by number, that a network ACL may get from open fixes."""
        place = place_of(acl.network_acl_id, egress=egress)
        entries = {
            offer.rule_number: offer.change
            for offer in self.open_offers.at(place)
            if offer.rule_number is not None
        } | self.numbers[place]
        present = {entry.rule_number for entry in acl.entries or () if entry.egress is egress}
        return {number: entries[number] for number in entries.keys() - present}

    def rules_to_come(self, place: str) -> set[str]:
        """Return the content of the rules that open fixes offer in one direction of a group."""
        return {offer.change for offer in self.open_offers.at(place)}

    def has_room(self, place: str) -> bool:
        """Return whether another offer of a place can be kept."""
        return len(self.open_offers.at(place)) + len(self.numbers[place]) < MAX_OFFERS


# --- network ACLs ---------------------------------------------------------------------------------


def entry_room(config: NetConfig, acl: NetworkAcl, ledger: Ledger, *, egress: bool) -> int:
    """Return how many entries can still be added to a network ACL in one direction.

    What open fixes offer counts too, since somebody may run it first. With more entries than the
    default quota, the quota was raised, to at most 40.
    """
    present = _entries(config, acl, egress=egress)
    most = _DEFAULT_ENTRIES if present <= _DEFAULT_ENTRIES else _MOST_ENTRIES
    return most - present - len(ledger.entries_to_come(acl, egress=egress))


def _entries(config: NetConfig, acl: NetworkAcl, *, egress: bool) -> int:
    """Count the entries of one direction as the quota counts them.

    The closing ``*`` of each IP version counts, listed or not: ``*`` for IPv6 is there where the
    VPC has an IPv6 range, which a VPC that was not read may have
    (https://docs.aws.amazon.com/vpc/latest/userguide/nacl-rules.html).
    """
    listed = [entry for entry in acl.entries or () if entry.egress is egress]
    closing = sum(entry.is_closing for entry in listed)
    vpc = None if acl.vpc_id is None else config.vpc(acl.vpc_id)
    without_v6 = vpc is not None and all(cidr.version != _IPV6 for cidr in vpc.cidrs)
    return len(listed) - closing + max(closing, 1 if without_v6 else 2)


def full_acl(config: NetConfig, acl: NetworkAcl, offered: int, needed: int, *, egress: bool) -> str:
    """Say that a network ACL has no room for the entries of a fix beside those of open fixes."""
    way = "outbound" if egress else "inbound"
    present = _entries(config, acl, egress=egress)
    added = f", open fixes add {offered}" if offered else ""
    return (
        f"{acl.network_acl_id} has {present} {way} entries with the closing *{added}, and "
        f"{needed} more exceed AWS's quota of {_DEFAULT_ENTRIES} a direction ({_MOST_ENTRIES} at "
        "most, on request): join entries, or have the quota raised"
    )


def rule_number(
    acl: NetworkAcl, ledger: Ledger, content: str, *, egress: bool, before: int
) -> int | None:
    """Return the rule number of a new entry, behind all entries that stand before ``before``.

    The number that an open fix has for the same entry, else a number that no open fix has. Where
    the search begins follows from the content of the entry, so that two evaluations that know
    nothing of each other rarely choose one number for two entries. ``None`` if none is free.
    """
    place = place_of(acl.network_acl_id, egress=egress)
    present = {entry.rule_number for entry in acl.entries or () if entry.egress is egress}
    present -= set(ledger.numbers[place])  # entries that this fix has added by now
    highest = max((number for number in present if number < before), default=0)
    last = min(before - 1, LAST_RULE_NUMBER)
    for number in ledger.numbers_of(place, content):
        if highest < number <= last:
            return number
    if not ledger.has_room(place):
        return None
    offered = ledger.numbers_of_all(place)
    stepped = range((highest // _STEP + 1) * _STEP, min(last, highest + _SPREAD) + 1, _STEP)
    start = zlib.crc32(f"{place} {content}".encode())
    for slots in (stepped, range(highest + 1, last + 1)):
        for step in range(len(slots)):
            number = slots[(start + step) % len(slots)]
            if number not in offered:
                return number
    return None


def foreign_acl(
    config: NetConfig, acl: NetworkAcl, subnet_id: str | None, account_id: str | None
) -> str | None:
    """Say that another account owns a network ACL; ``None`` if not, or if that is not known."""
    subnet = None if subnet_id is None else config.subnet(subnet_id)
    vpc = None if acl.vpc_id is None else config.vpc(acl.vpc_id)
    owners = (
        acl.owner_id,
        None if subnet is None else subnet.owner_id,
        None if vpc is None else vpc.owner_id,
    )
    owner = next((each for each in owners if each is not None), None)
    if owner is None or account_id is None or owner == account_id:
        return None
    return f"{acl.network_acl_id} belongs to account {owner}, and only that account can change it"


# --- security groups ------------------------------------------------------------------------------

# Groups that a service or a controller made for itself, and resets, by name or by the key of a tag.
_MANAGED_NAMES = (
    (re.compile(r"GuardDutyManagedSecurityGroup-"), "Amazon GuardDuty"),
    (re.compile(r"ElasticMapReduce-"), "Amazon EMR"),
    (
        re.compile(r"(rds-ec2|ec2-rds|rds-lambda|lambda-rds|rds-rdsproxy|rdsproxy-rds)-"),
        "Amazon RDS",
    ),
    (re.compile(r"(rdsproxy-lambda|lambda-rdsproxy)-"), "Amazon RDS"),
    (re.compile(r"eks-cluster-sg-"), "Amazon EKS"),
    (re.compile(r"d-[0-9a-f]{10}_(controllers|workspacesMembers)"), "AWS Directory Service"),
    (re.compile(r"aws-cloud9-"), "AWS Cloud9"),
    (re.compile(r"k8s-"), "the Kubernetes load balancer controller"),
    (re.compile(r"security-group-for-(in|out)bound-nfs-d-"), "Amazon SageMaker"),
)
_MANAGED_TAGS = {
    "aws:eks:cluster-name": "Amazon EKS",
    "GuardDutyManaged": "Amazon GuardDuty",
    "elbv2.k8s.aws/cluster": "the Kubernetes load balancer controller",
}


def managing_service(group: SecurityGroup) -> str | None:
    """Return the service that manages a security group for itself; ``None`` for a user's group."""
    for pattern, service in _MANAGED_NAMES:
        if pattern.match(group.name or ""):
            return service
    return next((name for key, name in _MANAGED_TAGS.items() if key in group.tags), None)


def is_default(group: SecurityGroup) -> bool:
    """Return whether this is the default group of its VPC, a name that no other group can have."""
    return group.name == "default"


def with_room(
    config: NetConfig, rules: Sequence[SecurityGroupRule], ledger: Ledger
) -> list[SecurityGroupRule]:
    """Return the rules that can still be added to their groups, beside those of open fixes.

    With more rules than the default quota, the quota was raised.
    """
    ledger.open_offers.load([place_of(rule.group_id, egress=rule.egress) for rule in rules])
    return [rule for rule in rules if _has_room(config, rule, ledger)]


def _has_room(config: NetConfig, rule: SecurityGroupRule, ledger: Ledger) -> bool:
    group = config.security_group(rule.group_id)
    if group is None:
        return False
    place = place_of(rule.group_id, egress=rule.egress)
    listed = {*((group.egress if rule.egress else group.ingress) or ())} | ledger.rules[place]
    offered = ledger.rules_to_come(place)
    if rule in listed or GroupChange(rule=rule).content in offered:
        return True
    offered -= {GroupChange(rule=each).content for each in listed}
    for version in (4, 6):
        added = _weight(config, rule.peer, version)
        present = sum(_weight(config, each.peer, version) for each in listed)
        others = sum(_weight_of_offer(config, content, version) for content in offered)
        most = _DEFAULT_RULES if present <= _DEFAULT_RULES else _most_rules(config)
        if added and present + others + added > most:
            return False
    return True


def _most_rules(config: NetConfig) -> int:
    """Return the highest quota of rules that goes with the groups that an interface may have."""
    held = max((len(each.group_ids or ()) for each in config.interfaces or ()), default=0)
    return min(_MOST_RULES, _RULES_TIMES_GROUPS // max(held, _DEFAULT_GROUPS))


def full_group(rules: Sequence[SecurityGroupRule], ledger: Ledger) -> str:
    """Say that no group has room for another rule, one rule of each group that was tried."""
    names = ", ".join(rule.group_id for rule in rules)
    places = (place_of(rule.group_id, egress=rule.egress) for rule in rules)
    offered = any(ledger.rules_to_come(place) for place in places)
    also = ", and what open fixes add counts too" if offered else ""
    return (
        f"{names} would exceed AWS's quota of {_DEFAULT_RULES} rules a direction (a prefix list "
        f"counts with all that it may hold{also}): join rules, or have the quota raised"
    )


def _weight(config: NetConfig, peer: Peer | None, version: int) -> int:
    match peer:
        case IPv4Network() | IPv6Network():
            return int(peer.version == version)
        case PrefixListReference():
            return _weight_of_list(config, peer.prefix_list_id)
        case _:
            return 1


def _weight_of_offer(config: NetConfig, content: str, version: int) -> int:
    """Return what the rule of an offer counts; its peer is the last word of its content."""
    peer = content.rpartition(" ")[2]
    if peer.startswith("pl-"):
        return _weight_of_list(config, peer)
    try:
        return int(ip_network(peer).version == version)
    except ValueError:
        return 1  # a group


def _weight_of_list(config: NetConfig, prefix_list_id: str) -> int:
    listed = config.prefix_list(prefix_list_id)
    if listed is None:
        return 1
    if listed.max_entries is not None:
        return listed.max_entries
    name = listed.name or ""
    weights = [weight for suffix, weight in _WEIGHTS.items() if name.endswith(f".{suffix}")]
    return weights[0] if weights else max(len(listed.cidrs or ()), 1)


def ranges_of_list(listed: PrefixList | None, version: int) -> tuple[Network, ...] | NotAvailable:
    """Return the ranges of a prefix list for a network ACL, which cannot refer to the list."""
    if listed is None or listed.cidrs is None:
        return NotAvailable("the entries of the prefix list are not known")
    if listed.is_cut:
        return NotAvailable(f"only some entries of {listed.prefix_list_id} are known")
    return tuple(network for network in listed.cidrs if network.version == version)


# --- rules as code --------------------------------------------------------------------------------

_MAX_NAME = 128  # characters; the longest name of a stack
_STACK = "aws:cloudformation:stack-name"
_TERRAFORM_KEYS = frozenset({"terraform", "terraform-managed", "terraform_managed"})
_MANAGER_KEYS = frozenset({"managedby", "managed-by", "managed_by", "provisioner", "createdby"})
_CODE_TOOLS = {
    "terraform": "Terraform",
    "opentofu": "OpenTofu",
    "pulumi": "Pulumi",
    "cdk": "the AWS CDK",
    "terragrunt": "Terragrunt",
    "crossplane": "Crossplane",
}


def manager_of(tags: Mapping[str, str]) -> str | None:
    """Return what manages a resource as code, by its tags: ``CloudFormation stack shop``."""
    if _STACK in tags:
        return f"CloudFormation stack {one_line(tags[_STACK]).strip()[:_MAX_NAME]}"
    for key in sorted(tags):
        name, value = key.casefold(), tags[key].casefold()
        if name in _TERRAFORM_KEYS and value not in {"false", "no", "0"}:
            return "Terraform"
        if name in _MANAGER_KEYS:
            tool = next((_CODE_TOOLS[each] for each in _CODE_TOOLS if each in value), None)
            if tool is not None:
                return tool
    return None
