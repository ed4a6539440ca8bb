"""Write a change of rules as Terraform resources.

- https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/vpc_security_group_ingress_rule
- https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/network_acl_rule

In a string of HCL a backslash starts an escape, and ``${`` and ``%{`` start templates. Their brace
is written as an escape (https://developer.hashicorp.com/terraform/language/expressions/strings).
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from flowverdict.network.model import GroupReference, PrefixListReference

if TYPE_CHECKING:
    from flowverdict.network.model import NetworkAclEntry, Peer, SecurityGroupRule

type _Value = str | int | bool

_TEMPLATE = re.compile(r"([$%])\{")
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def entry_resource(network_acl_id: str, entry: NetworkAclEntry) -> str:
    """Write the resource of an allowing entry of a network ACL."""
    values: dict[str, _Value] = {
        "network_acl_id": network_acl_id,
        "rule_number": entry.rule_number,
        "egress": entry.egress,
        "protocol": str(entry.protocol),
        "rule_action": "allow",
        "cidr_block" if isinstance(entry.network, IPv4Network) else "ipv6_cidr_block": str(
            entry.network
        ),
    }
    if entry.ports is not None:
        values |= {"from_port": entry.ports.first, "to_port": entry.ports.last}
    if entry.icmp is not None:
        values |= {"icmp_type": entry.icmp.type, "icmp_code": entry.icmp.code}
    way = "egress" if entry.egress else "ingress"
    return _resource("aws_network_acl_rule", f"{network_acl_id}_{way}_{entry.rule_number}", values)


def rule_resource(rule: SecurityGroupRule) -> str:
    """Write the resource of a rule of a security group."""
    values: dict[str, _Value] = {
        "security_group_id": rule.group_id,
        "ip_protocol": str(rule.protocol),
    }
    name = f"{rule.group_id}_{rule.protocol}"
    if rule.from_port is not None and rule.to_port is not None:
        values |= {"from_port": rule.from_port, "to_port": rule.to_port}
        name += f"_{rule.from_port}"
    key, value = _peer(rule.peer)
    values[key] = value
    way = "egress" if rule.egress else "ingress"
    return _resource(f"aws_vpc_security_group_{way}_rule", f"{name}_{value}", values)


def _peer(peer: Peer | None) -> tuple[str, str]:
    match peer:
        case GroupReference():
            owner = "" if peer.account_id is None else f"{peer.account_id}/"
            return "referenced_security_group_id", f"{owner}{peer.group_id}"
        case PrefixListReference():
            return "prefix_list_id", peer.prefix_list_id
        case IPv4Network():
            return "cidr_ipv4", str(peer)
        case _:
            return "cidr_ipv6", str(peer)


def _resource(kind: str, name: str, values: dict[str, _Value]) -> str:
    label = "fix_" + re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_")
    width = max(map(len, values))
    lines = [f"  {key:{width}} = {_value(value)}" for key, value in values.items()]
    return "\n".join([f'resource "{kind}" "{label}" {{', *lines, "}"])


def _value(value: _Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else hcl_string(value)


def hcl_string(text: str) -> str:
    """Write a text as a string of HCL that means the text and nothing else."""
    escaped = "".join(map(_escaped, text))
    return '"' + _TEMPLATE.sub(r"\1\\u007b", escaped) + '"'


def _escaped(char: str) -> str:
    if char in _ESCAPED:
        return _ESCAPED[char]
    return char if char.isprintable() else f"\\U{ord(char):08x}"
