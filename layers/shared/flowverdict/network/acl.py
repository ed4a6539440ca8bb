"""Decide what a network ACL does with one packet, and whether the packet crosses it at all.

- The entries of a network ACL are tried from the lowest number up, and the first that matches
  decides; the closing ``*`` denies the rest. IPv4 entries never apply to IPv6 packets, nor IPv6
  entries to IPv4 packets. A network ACL applies only where a packet enters or leaves the subnet,
  to each direction separately.
  https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html
- Where the attachment of a transit gateway lies in the subnet of the workload, neither direction is
  checked for traffic from the gateway; for traffic to the gateway the outbound entries are checked
  by destination, and then the inbound entries by source.
  https://docs.aws.amazon.com/vpc/latest/tgw/tgw-nacls.html
- The ports of an entry are the packet's destination ports and count for TCP and UDP alone; its
  type and code count for ICMP alone.
  https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateNetworkAclEntry.html

An entry that the data leaves open is *possible* (see ``packet``). The answer is ``unknown`` as soon
as such an entry could reverse it, and then names what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Network, ip_network
from typing import TYPE_CHECKING

from flowverdict.core.protocols import Protocol
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.model import closing_entry, protocol_number
from flowverdict.network.packet import (
    PROTOCOLS_WITH_PORTS,
    PROTOCOLS_WITH_TYPES,
    YES,
    Finding,
    Match,
    Outcome,
    Packet,
    match_icmp,
    match_port,
    match_protocol,
    possible,
    sure,
)
from flowverdict.network.routes import Target, route_to
from flowverdict.network.unfiltered import unfiltered_service

if TYPE_CHECKING:
    from flowverdict.core.addresses import Address, Network
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface, NetworkAcl, NetworkAclEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class AclAnswer:
    """What a network ACL does with a packet.

    Parameters
    ----------
    entry
        The first entry that certainly matches, or the closing ``*``; ``None`` if the entries are
        not known.
    possible
        Entries before it that match depending on what is not known of the packet or of the entry,
        in order.
    reasons
        Why the answer is unknown; empty if the answer is known.
    """

    outcome: Outcome
    network_acl_id: str | None
    entry: NetworkAclEntry | None
    possible: tuple[NetworkAclEntry, ...] = ()
    reasons: tuple[str, ...] = ()


def evaluate_acl(acl: NetworkAcl, packet: Packet, direction: FlowDirection) -> AclAnswer:
    """Evaluate a network ACL for a packet that crosses the boundary of its subnet."""
    if acl.entries is None:
        return _unknown(acl.network_acl_id, f"the entries of {acl.network_acl_id} are not known")
    egress = direction is FlowDirection.EGRESS
    address = packet.peer(direction)
    possible: list[NetworkAclEntry] = []
    reasons: list[str] = []
    deciding = closing_entry(address.version, egress=egress)
    entries = (entry for entry in acl.entries if entry.egress is egress)
    for entry in sorted(entries, key=lambda entry: entry.rule_number):
        finding = _match_entry(entry, packet, address)
        if finding.match is Match.YES:
            deciding = entry
            break
        if finding.match is Match.POSSIBLE:
            possible.append(entry)
            reasons.append(f"{acl.network_acl_id} {entry} may match: {finding.reason}")
    # If all of them have the same action, it does not matter which of them matches.
    outcomes = {_outcome(entry) for entry in (*possible, deciding)}
    outcome = outcomes.pop() if len(outcomes) == 1 else Outcome.UNKNOWN
    if _outcome(deciding) is Outcome.UNKNOWN:
        reasons.append(f"{acl.network_acl_id} {deciding}: the action is not one this program knows")
    return AclAnswer(
        outcome=outcome,
        network_acl_id=acl.network_acl_id,
        entry=deciding,
        possible=tuple(possible),
        reasons=tuple(reasons) if outcome is Outcome.UNKNOWN else (),
    )


def _unknown(network_acl_id: str | None, reason: str) -> AclAnswer:
    return AclAnswer(
        outcome=Outcome.UNKNOWN, network_acl_id=network_acl_id, entry=None, reasons=(reason,)
    )


def _outcome(entry: NetworkAclEntry) -> Outcome:
    match entry.action:
        case "allow":
            return Outcome.ALLOW
        case "deny":
            return Outcome.DENY
        case _:
            return Outcome.UNKNOWN


def _match_entry(entry: NetworkAclEntry, packet: Packet, address: Address) -> Finding:
    findings = (
        _match_network(entry.network, address),
        match_protocol(entry.protocol, packet),
        _match_details(entry, packet),
    )
    return min(findings, key=lambda finding: finding.match)


def _match_network(network: Network | None, address: Address) -> Finding:
    # An IPv4 address is never in an IPv6 network, nor the reverse, so the IP versions stay apart.
    return (
        possible("its range is not known") if network is None else sure(matches=address in network)
    )


def _match_details(entry: NetworkAclEntry, packet: Packet) -> Finding:
    number = protocol_number(entry.protocol)
    if number in PROTOCOLS_WITH_PORTS and entry.ports is not None:
        return match_port(entry.ports.first, entry.ports.last, packet)
    if number in PROTOCOLS_WITH_TYPES and entry.icmp is not None:
        if number == Protocol.ICMPV6 and isinstance(entry.network, IPv4Network):
            # AWS: with an IPv4 range, an entry for ICMPv6 is for all types and codes.
            return YES
        return match_icmp(entry.icmp.type, entry.icmp.code, packet)
    return YES


# --- the boundary of the subnet ---------------------------------------------------------------


def crosses_subnet_boundary(
    config: NetConfig, interface: Interface, remote: Address
) -> bool | None:
    """Return whether traffic between an interface and an address crosses the subnet's boundary.

    ``None`` if that is not known.
    """
    if interface.subnet_id is None:
        return None
    crosses = _lies_outside(config, interface, interface.subnet_id, remote)
    if interface.forwards:
        # Forwarded traffic may come from another subnet whatever its addresses say,
        # so an address inside the subnet proves nothing.
        return True if crosses else None
    return crosses


def _lies_outside(
    config: NetConfig, interface: Interface, subnet_id: str, remote: Address
) -> bool | None:
    subnet = config.subnet(subnet_id)
    inside = None if subnet is None else lies_within(subnet.cidrs, remote)
    if inside is not None:
        return not inside
    owner = config.interface_at(interface.vpc_id, remote)
    if owner is not None and owner.subnet_id is not None:
        return owner.subnet_id != subnet_id
    vpc = config.vpc(interface.vpc_id) if interface.vpc_id is not None else None
    if vpc is not None and lies_within(vpc.cidrs, remote) is False:
        return True
    return True if _too_far_for_one_subnet(interface, remote) else None


# No subnet is larger: https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
_LARGEST_SUBNET = {4: 16, 6: 44}


def _too_far_for_one_subnet(interface: Interface, remote: Address) -> bool:
    """Return whether an address lies beyond the largest subnet that could hold the interface."""
    reach = ip_network((remote, _LARGEST_SUBNET[remote.version]), strict=False)
    own = [address for address in interface.addresses if address.version == remote.version]
    return bool(own) and not any(address in reach for address in own)


def lies_within(networks: tuple[Network, ...], address: Address) -> bool | None:
    """Return whether an address lies in one of the networks.

    ``None`` if no network of the address's IP version is listed, which proves nothing.
    """
    same_version = [network for network in networks if network.version == address.version]
    return any(address in network for network in same_version) if same_version else None


def evaluate_subnet_acl(
    config: NetConfig, interface: Interface, packet: Packet, direction: FlowDirection
) -> AclAnswer | None:
    """Evaluate the network ACL of an interface's subnet for a packet.

    ``None`` if no network ACL is checked: the packet stays inside the subnet, comes from a transit
    gateway's attachment in the subnet, or is of a service that no rule filters.
    """
    if unfiltered_service(config, interface, packet, direction) is not None:
        return None
    remote = packet.peer(direction)
    beside_attachment = _passes_attachment_in_subnet(config, interface, remote)
    if beside_attachment is True and direction is FlowDirection.INGRESS:
        return None
    crosses = crosses_subnet_boundary(config, interface, remote)
    if interface.interface_type == _ATTACHMENT:
        crosses = _crosses_at_attachment(config, interface, packet, direction)
    if crosses is False:
        return None
    if interface.subnet_id is None:
        return _unknown(None, f"the subnet of {interface.interface_id} is not known")
    acl = config.network_acl_of_subnet(interface.subnet_id, interface.vpc_id)
    if acl is None:
        return _unknown(None, f"the network ACL of {interface.subnet_id} is not known")
    answer = evaluate_acl(acl, packet, direction)
    if beside_attachment is None:
        return _whether_attached_or_not(acl, packet, direction, answer)
    if beside_attachment and answer.outcome is Outcome.ALLOW:
        return evaluate_acl(acl, packet, FlowDirection.INGRESS)
    if crosses is None and answer.outcome is Outcome.DENY:
        reason = f"{remote} may lie in {interface.subnet_id} itself, where no network ACL is asked"
        return replace(answer, outcome=Outcome.UNKNOWN, reasons=(reason,))
    return answer


# --- transit gateway attachments --------------------------------------------------------------

_ATTACHMENT = "transit_gateway"


def _passes_attachment_in_subnet(
    config: NetConfig, interface: Interface, remote: Address
) -> bool | None:
    """Return whether traffic with an address passes an attachment in the interface's own subnet.

    ``None`` if the attachments of the subnet are not known.
    """
    if interface.subnet_id is None or interface.interface_type == _ATTACHMENT:
        return False
    route = route_to(config, interface, remote)
    if route is None or route.target is not Target.TRANSIT_GATEWAY:
        return False
    found = any(
        each.interface_type == _ATTACHMENT and each.subnet_id == interface.subnet_id
        for each in config.interfaces or ()
    )
    if found:
        return True
    return False if config.knows_all("interfaces") else None


def _whether_attached_or_not(
    acl: NetworkAcl, packet: Packet, direction: FlowDirection, as_usual: AclAnswer
) -> AclAnswer:
    """Return the answer where an attachment may lie in the subnet, if both cases agree."""
    attached = (
        Outcome.ALLOW
        if direction is FlowDirection.INGRESS
        else evaluate_acl(acl, packet, FlowDirection.INGRESS).outcome
    )
    both_block = direction is FlowDirection.EGRESS and as_usual.outcome is Outcome.DENY
    if both_block or attached is as_usual.outcome:
        return as_usual
    reason = "whether a transit gateway is attached in the subnet itself is not known"
    return replace(as_usual, outcome=Outcome.UNKNOWN, reasons=(*as_usual.reasons, reason))


def _crosses_at_attachment(
    config: NetConfig, interface: Interface, packet: Packet, direction: FlowDirection
) -> bool | None:
    """Whether the network ACL of an attachment's subnet is checked at the attachment itself.

    It is for all traffic that reaches the gateway, by source, also from the same subnet; and for
    what leaves the gateway to another subnet, by destination.
    """
    if direction is FlowDirection.INGRESS:
        return True
    if interface.subnet_id is None:
        return None
    return _lies_outside(config, interface, interface.subnet_id, packet.destination)
