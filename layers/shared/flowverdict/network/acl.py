"""TODO flowverdict.network.acl."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from flowverdict.core.addresses import Address, Network
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface, NetworkAcl, NetworkAclEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class AclAnswer:
    """What a network ACL says to a packet.

    Parameters
    ----------
    entry
        The first entry that surely matches, the closing ``*`` if no other; ``None`` if the entries are not known.
    possible
        Entries before it that match if what is not known of the packet or the entry turns out so, in order.
    reasons
        Why the answer is unknown, in words; empty if it is not.
    """

    outcome: Outcome
    network_acl_id: str | None
    entry: NetworkAclEntry | None
    possible: tuple[NetworkAclEntry, ...] = ()
    reasons: tuple[str, ...] = ()


# --- network ACLs -----------------------------------------------------------------------------------------------------


def evaluate_acl(acl: NetworkAcl, packet: Packet, direction: FlowDirection) -> AclAnswer:
    """Say what an ACL does with a packet that crosses its subnet's boundary, and which entry decides."""
    if acl.entries is None:
        return _acl_unknown(
            acl.network_acl_id, f"the entries of {acl.network_acl_id} are not known"
        )
    egress = direction is FlowDirection.EGRESS
    address = packet.peer(direction)
    listed = sorted(
        (one for one in acl.entries if one.egress is egress), key=lambda one: one.rule_number
    )
    possible: list[NetworkAclEntry] = []
    reasons: list[str] = []
    deciding = closing_entry(address.version, egress=egress)
    for entry in listed:
        finding = _entry(entry, packet, address)
        if finding.match is Match.YES:
            deciding = entry
            break
        if finding.match is Match.POSSIBLE:
            possible.append(entry)
            reasons.append(f"{acl.network_acl_id} {entry} may match: {finding.reason}")
    outcomes = {_acts(entry) for entry in (*possible, deciding)}
    # Whichever of them matches, the packet fares the same.
    outcome = outcomes.pop() if len(outcomes) == 1 else Outcome.UNKNOWN
    if _acts(deciding) is Outcome.UNKNOWN:
        reasons.append(f"{acl.network_acl_id} {deciding}: the action is not one this program knows")
    return AclAnswer(
        outcome=outcome,
        network_acl_id=acl.network_acl_id,
        entry=deciding,
        possible=tuple(possible),
        reasons=tuple(reasons) if outcome is Outcome.UNKNOWN else (),
    )


def _acl_unknown(network_acl_id: str | None, reason: str) -> AclAnswer:
    return AclAnswer(
        outcome=Outcome.UNKNOWN, network_acl_id=network_acl_id, entry=None, reasons=(reason,)
    )


def _acts(entry: NetworkAclEntry) -> Outcome:
    match entry.action:
        case "allow":
            return Outcome.ALLOW
        case "deny":
            return Outcome.DENY
        case _:
            return Outcome.UNKNOWN


def _entry(entry: NetworkAclEntry, packet: Packet, address: Address) -> Finding:
    findings = (
        _entry_network(entry.network, address),
        match_protocol(entry.protocol, packet),
        _entry_details(entry, packet),
    )
    return min(findings, key=lambda finding: finding.match)


def _entry_network(network: Network | None, address: Address) -> Finding:
    # An IPv4 address is never in an IPv6 network and the other way round, so the families stay apart here.
    return (
        possible("its range is not known") if network is None else sure(matches=address in network)
    )


def _entry_details(entry: NetworkAclEntry, packet: Packet) -> Finding:
    number = protocol_number(entry.protocol)
    if number in PROTOCOLS_WITH_PORTS and entry.ports is not None:
        return match_port(entry.ports.first, entry.ports.last, packet)
    if number in PROTOCOLS_WITH_TYPES and entry.icmp is not None:
        return match_icmp(entry.icmp.type, entry.icmp.code, packet)
    return YES


def crosses_subnet_boundary(
    config: NetConfig, interface: Interface, remote: Address
) -> bool | None:
    """Whether traffic between an interface and an address enters or leaves the interface's subnet; ``None`` if not known."""
    if interface.subnet_id is None:
        return None
    if interface.forwards:
        # What it forwards may come from another subnet whatever its addresses say, so "inside" is not known here.
        return True if _lies_outside(config, interface, remote) else None
    return _crosses(config, interface, interface.subnet_id, remote)


def _lies_outside(config: NetConfig, interface: Interface, remote: Address) -> bool:
    return (
        interface.subnet_id is not None
        and _crosses(config, interface, interface.subnet_id, remote) is True
    )


def _crosses(
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
    """Whether an address lies beyond the largest subnet that could hold the interface's own one."""
    reach = ip_network((remote, _LARGEST_SUBNET[remote.version]), strict=False)
    own = [address for address in interface.addresses if address.version == remote.version]
    return bool(own) and not any(address in reach for address in own)


def lies_within(networks: tuple[Network, ...], address: Address) -> bool | None:
    """Whether an address lies in one of the networks; ``None`` if none of its family is listed, which proves nothing."""
    same_family = [network for network in networks if network.version == address.version]
    return any(address in network for network in same_family) if same_family else None


def evaluate_subnet_acl(
    config: NetConfig, interface: Interface, packet: Packet, direction: FlowDirection
) -> AclAnswer | None:
    """Say what the ACL of an interface's subnet does with a packet; ``None`` if the packet stays inside the subnet."""
    crosses = crosses_subnet_boundary(config, interface, packet.peer(direction))
    if crosses is False:
        return None
    if interface.subnet_id is None:
        return _acl_unknown(None, f"the subnet of {interface.interface_id} is not known")
    acl = config.network_acl_of_subnet(interface.subnet_id, interface.vpc_id)
    if acl is None:
        return _acl_unknown(None, f"the network ACL of {interface.subnet_id} is not known")
    answer = evaluate_acl(acl, packet, direction)
    if crosses is None and answer.outcome is Outcome.DENY:
        return AclAnswer(
            outcome=Outcome.UNKNOWN,
            network_acl_id=answer.network_acl_id,
            entry=answer.entry,
            possible=answer.possible,
            reasons=(
                f"{packet.peer(direction)} may lie in {interface.subnet_id} itself, where no ACL is asked",
            ),
        )
    return answer
