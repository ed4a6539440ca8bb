"""Write a change of rules as AWS CLI commands: what makes the change, and what takes it back.

Each command is one line of plain words for a POSIX shell. Ids come from a snapshot or from AWS and
are quoted all the same. Syntax: https://docs.aws.amazon.com/cli/latest/reference/ec2/.
"""

from __future__ import annotations

import shlex
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from flowverdict.core.untrusted import is_region
from flowverdict.network.model import GroupReference, PrefixListReference

if TYPE_CHECKING:
    from flowverdict.network.model import NetworkAclEntry, Peer, SecurityGroupRule


def region_option(region: str | None) -> str:
    """Return the option that names the Region; empty if the Region is unknown or invalid."""
    return f" --region {region}" if region is not None and is_region(region) else ""


def create_entry(network_acl_id: str, entry: NetworkAclEntry, region: str) -> str:
    """Write the command that adds an allowing entry to a network ACL."""
    options = f"{_entry_place(network_acl_id, entry)} --rule-number {entry.rule_number}"
    options += f" --rule-action allow --protocol {entry.protocol}"
    if entry.ports is not None:
        options += f" --port-range From={entry.ports.first},To={entry.ports.last}"
    if entry.icmp is not None:
        options += f" --icmp-type-code Type={entry.icmp.type},Code={entry.icmp.code}"
    family = "--cidr-block" if isinstance(entry.network, IPv4Network) else "--ipv6-cidr-block"
    return f"aws ec2 create-network-acl-entry{region} {options} {family} {entry.network}"


def delete_entry(network_acl_id: str, entry: NetworkAclEntry, region: str) -> str:
    """Write the command that takes an entry out of a network ACL."""
    place = _entry_place(network_acl_id, entry)
    return f"aws ec2 delete-network-acl-entry{region} {place} --rule-number {entry.rule_number}"


def _entry_place(network_acl_id: str, entry: NetworkAclEntry) -> str:
    way = "egress" if entry.egress else "ingress"
    return f"--network-acl-id {shlex.quote(network_acl_id)} --{way}"


def authorize(rule: SecurityGroupRule, region: str) -> str:
    """Write the command that adds a rule to a security group."""
    return _group_command("authorize", rule, region)


def revoke(rule: SecurityGroupRule, region: str) -> str:
    """Write the command that takes a rule out of a security group."""
    return _group_command("revoke", rule, region)


def _group_command(verb: str, rule: SecurityGroupRule, region: str) -> str:
    parts = [f"IpProtocol={rule.protocol}"]
    if rule.from_port is not None:
        parts += [f"FromPort={rule.from_port}", f"ToPort={rule.to_port}"]
    parts.append(_peer(rule.peer))
    way = "egress" if rule.egress else "ingress"
    permission = shlex.quote(",".join(parts))
    options = f"--group-id {shlex.quote(rule.group_id)} --ip-permissions {permission}"
    return f"aws ec2 {verb}-security-group-{way}{region} {options}"


def _peer(peer: Peer | None) -> str:
    match peer:
        case GroupReference():
            owner = "" if peer.account_id is None else f",UserId={peer.account_id}"
            return f"UserIdGroupPairs=[{{GroupId={peer.group_id}{owner}}}]"
        case PrefixListReference():
            return f"PrefixListIds=[{{PrefixListId={peer.prefix_list_id}}}]"
        case IPv4Network():
            return f"IpRanges=[{{CidrIp={peer}}}]"
        case _:
            return f"Ipv6Ranges=[{{CidrIpv6={peer}}}]"
