"""Choose the narrowest change at one layer, for all flows of a problem that the layer blocks.

- A service of AWS is named by its managed prefix list, in a network ACL by the list's ranges:
  https://docs.aws.amazon.com/vpc/latest/userguide/working-with-aws-managed-prefix-lists.html
- A reply needs the ephemeral ports of the client. NAT gateways, load balancers and Lambda use
  1024-65535, and flow logs do not show another client's operating system:
  https://docs.aws.amazon.com/vpc/latest/userguide/custom-network-acl.html#nacl-ephemeral-ports
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import TYPE_CHECKING

from flowverdict.core.availability import NotAvailable
from flowverdict.core.protocols import Protocol, protocol_name
from flowverdict.network.acl import AclAnswer, evaluate_subnet_acl
from flowverdict.network.clients_through import load_balancer_before
from flowverdict.network.model import (
    EVERYWHERE,
    GroupReference,
    IcmpTypeCode,
    NetworkAclEntry,
    PortRange,
    PrefixListReference,
    SecurityGroupRule,
)
from flowverdict.network.packet import (
    PROTOCOLS_WITH_PORTS,
    PROTOCOLS_WITH_TYPES,
    Outcome,
    Packet,
)
from flowverdict.network.routes import route_to
from flowverdict.network.security_groups import evaluate_groups
from flowverdict.verdict.paths import Path
from flowverdict.verdict.remediation.blast_radius import radius
from flowverdict.verdict.remediation.limits import (
    Ledger,
    entry_room,
    foreign_acl,
    full_acl,
    full_group,
    is_default,
    managing_service,
    ranges_of_list,
    rule_number,
    with_room,
)
from flowverdict.verdict.remediation.model import AclChange, GroupChange, content_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowverdict.core.addresses import Address, Network
    from flowverdict.network.clients_through import Before
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import (
        Interface,
        NetworkAcl,
        Peer,
        PeeringSide,
        PrefixList,
        SecurityGroup,
        Subnet,
        Vpc,
    )
    from flowverdict.verdict.remediation.case import Blocked, Hop


_MAX_RANGES = 3  # beyond, the networks of the addresses are named in place of the addresses

# Services whose clients reach them at addresses that change, all over the internet: HTTP, HTTPS,
# mail submission, DNS, NTP.
CLIENT_PORTS = {
    Protocol.TCP: frozenset({25, 53, 80, 443, 465, 587, 853}),
    Protocol.UDP: frozenset({53, 123, 443}),
}
# Services that open connections to a VPC and that only the VPC's own users can make do so. Behind
# the addresses of the others (CloudFront, health checks) anybody may be.
_CALLING_SERVICES = (".vpc-lattice", ".ec2-instance-connect")


def is_client_port(packet: Packet) -> bool:
    """Return whether a packet goes to a port that clients call all over the internet."""
    ports = CLIENT_PORTS.get(Protocol(packet.protocol)) if packet.protocol in {6, 17} else None
    return ports is not None and packet.destination_port in ports


def trusted_list(config: NetConfig, hop_list: PrefixList | None, interface: Interface) -> bool:
    """Return whether a list of AWS may be let in: a service of the user's own, or let in by now."""
    if hop_list is None:
        return False
    if (hop_list.name or "").endswith(_CALLING_SERVICES):
        return True
    reference = PrefixListReference(prefix_list_id=hop_list.prefix_list_id)
    groups = (config.security_group(group_id) for group_id in interface.group_ids or ())
    return any(
        rule.peer == reference
        for group in groups
        if group is not None
        for rule in group.ingress or ()
    )


# --- network ACLs ---------------------------------------------------------------------------------


def acl_changes(
    config: NetConfig, blocked: Sequence[Blocked], ledger: Ledger
) -> tuple[AclChange, ...] | NotAvailable:
    """Choose entries of one network ACL that let the packets of all hops pass.

    The hops have the network ACL, the direction, the leg, the ports and the deciding entry in
    common.
    """
    hop, answer = blocked[0].hop, blocked[0].answer
    if not isinstance(answer, AclAnswer) or answer.entry is None or answer.network_acl_id is None:
        return NotAvailable("the network ACL is not known")
    acl = config.network_acl(answer.network_acl_id)
    if acl is None:
        return NotAvailable("the network ACL is not known")
    foreign = foreign_acl(config, acl, hop.interface.subnet_id, hop.trip.case.account_id)
    if foreign is not None:
        return NotAvailable(f"{foreign}: it has to let {_packet_in_words(hop)}")
    networks = _networks(config, [each.hop for each in blocked])
    if isinstance(networks, NotAvailable):
        return networks
    entries = [_entry(hop, network) for network in networks]
    room = entry_room(config, acl, ledger, egress=hop.is_egress)
    offered = ledger.entries_to_come(acl, egress=hop.is_egress)
    changes = _numbered(acl, entries, ledger, before=answer.entry.rule_number)
    if isinstance(changes, NotAvailable):
        return changes
    added = len({change.rule_number for change in changes} - offered.keys())
    if added > room:
        return NotAvailable(full_acl(config, acl, len(offered), added, egress=hop.is_egress))
    return changes


def _entry(hop: Hop, network: Network) -> NetworkAclEntry:
    """Return the entry that lets the packets of a hop pass to or from a range, yet unnumbered."""
    packet = hop.packet
    return NetworkAclEntry(
        rule_number=0,
        egress=hop.is_egress,
        action="allow",
        protocol=str(packet.protocol),
        network=network,
        ports=entry_ports(hop) if packet.protocol in PROTOCOLS_WITH_PORTS else None,
        icmp=IcmpTypeCode(type=-1 if packet.icmp_type is None else packet.icmp_type, code=-1)
        if packet.protocol in PROTOCOLS_WITH_TYPES
        else None,
    )


def _numbered(
    acl: NetworkAcl, entries: Sequence[NetworkAclEntry], ledger: Ledger, *, before: int
) -> tuple[AclChange, ...] | NotAvailable:
    changes = []
    for entry in entries:
        number = rule_number(acl, ledger, content_of(entry), egress=entry.egress, before=before)
        if number is None:
            return NotAvailable(f"{acl.network_acl_id} has no free rule number before {before}")
        change = AclChange(
            network_acl_id=acl.network_acl_id, entry=replace(entry, rule_number=number)
        )
        ledger.take(change)
        changes.append(change)
    return tuple(changes)


def entry_ports(hop: Hop) -> PortRange | None:
    """Return the ports of an entry: the service's, or the ephemeral ports for a reply."""
    port = hop.packet.destination_port
    if port is None:
        return None
    reply_ports = next((ports for ports in hop.client_ports if port in ports), None)
    return PortRange(first=port, last=port) if reply_ports is None else reply_ports


def _packet_in_words(hop: Hop) -> str:
    ports = entry_ports(hop)
    port = "" if ports is None or hop.packet.protocol not in PROTOCOLS_WITH_PORTS else f" {ports}"
    way = "out to" if hop.is_egress else "in from"
    return f"{protocol_name(hop.packet.protocol)}{port} {way} {hop.packet.peer(hop.direction)}"


def _networks(config: NetConfig, hops: Sequence[Hop]) -> list[Network] | NotAvailable:
    """Return the ranges of the entries that hops need."""
    given: set[Network] = set()
    hosts: dict[Address, Interface] = {}
    for hop in hops:
        found = _given_networks(config, hop)
        if isinstance(found, NotAvailable):
            return found
        if found is None:
            hosts[hop.packet.peer(hop.direction)] = hop.interface
        else:
            given.update(found)
    named = _ranges_of(config, hosts)
    return named if isinstance(named, NotAvailable) else _collapsed([*given, *named])


def _given_networks(config: NetConfig, hop: Hop) -> tuple[Network, ...] | NotAvailable | None:
    """Return the ranges that the rules or AWS give for a hop; ``None`` for its address alone."""
    peer, outside = hop.packet.peer(hop.direction), hop.is_outside
    listed = None if hop.is_far else hop.trip.case.found_path.prefix_list
    called = hop.is_egress is not hop.is_reply
    if outside and called and listed is not None:
        return ranges_of_list(listed, peer.version)
    if hop.is_reply:
        return _networks_that_ask(config, hop, outside=outside)
    if not outside:
        return None
    if called:
        return (EVERYWHERE[peer.version],) if is_client_port(hop.packet) else None
    return _networks_let_in(config, hop)


def _networks_that_ask(config: NetConfig, hop: Hop, *, outside: bool) -> tuple[Network, ...] | None:
    """Return the range of a reply: what the network ACL lets ask, but no more than its network."""
    peer = hop.packet.peer(hop.direction)
    asked = evaluate_subnet_acl(config, hop.interface, hop.packet.reply(), hop.direction.opposite)
    network = (
        asked.entry.network
        if asked is not None and asked.outcome is Outcome.ALLOW and asked.entry is not None
        else None
    )
    if outside:
        return None if network is None else (network,)
    known = _network_of(config, hop.interface, peer)
    ranges = [each for each in (network, known) if each is not None and peer in each]
    return (max(ranges, key=lambda each: each.prefixlen),) if ranges else None


def _networks_let_in(config: NetConfig, hop: Hop) -> tuple[Network, ...] | NotAvailable | None:
    """Return the ranges that the security groups offer the service to."""
    rule = evaluate_groups(config, hop.interface, hop.packet, hop.direction).rule
    peer = None if rule is None else rule.peer
    if isinstance(peer, IPv4Network | IPv6Network):
        return (peer,)
    if isinstance(peer, PrefixListReference):
        return ranges_of_list(config.prefix_list(peer.prefix_list_id), hop.packet.source.version)
    return None


def _ranges_of(config: NetConfig, hosts: dict[Address, Interface]) -> list[Network] | NotAvailable:
    """Return the ranges of addresses: the addresses, or the networks of many addresses."""
    single = _collapsed(ip_network(address) for address in hosts)
    if len(single) <= _MAX_RANGES:
        return single
    networks = [_network_of(config, interface, address) for address, interface in hosts.items()]
    known = _collapsed(each for each in networks if each is not None)
    if None in networks or len(known) > _MAX_RANGES:
        return NotAvailable(
            f"{len(hosts)} addresses would have to be named one by one; which of their networks "
            "may pass is a decision"
        )
    return known


def _collapsed(networks: Iterable[Network]) -> list[Network]:
    """Return the fewest ranges that are the same addresses, IPv4 first."""
    listed = list(networks)
    v4 = [each for each in listed if isinstance(each, IPv4Network)]
    v6 = [each for each in listed if isinstance(each, IPv6Network)]
    return [*collapse_addresses(v4), *collapse_addresses(v6)]


def _network_of(config: NetConfig, interface: Interface, address: Address) -> Network | None:
    """Return the network of an address inside: its subnet, VPC or peer VPC, or its route's."""
    peers = _peers_of(config, interface)
    vpc_ids = {interface.vpc_id, *(side.vpc_id for side in peers)} - {None}
    places: tuple[Iterable[Subnet | Vpc | PeeringSide], ...] = (
        [each for each in config.subnets or () if each.vpc_id in vpc_ids],
        [each for each in config.vpcs or () if each.vpc_id in vpc_ids],
        peers,
    )
    for each in places:
        found = [cidr for place in each for cidr in place.cidrs if address in cidr]
        if found:
            return max(found, key=lambda cidr: cidr.prefixlen)
    route = route_to(config, interface, address)
    return None if route is None or route.is_default else route.network


def _peers_of(config: NetConfig, interface: Interface) -> list[PeeringSide]:
    """Return the other sides of the peering connections that carry traffic of an interface."""
    if interface.vpc_id is None:
        return []
    sides = [
        peering.other_side(interface.vpc_id)
        for peering in config.peerings_of(interface.vpc_id)
        if peering.carries_traffic
    ]
    return [side for side in sides if side is not None]


# --- security groups ------------------------------------------------------------------------------


def group_changes(
    config: NetConfig, blocked: Sequence[Blocked], ledger: Ledger
) -> tuple[GroupChange, ...] | NotAvailable:
    """Choose rules of security groups that let the packets of all hops pass.

    The hops have the groups of their interfaces, the direction, the protocol and the port in
    common.
    """
    hops = [each.hop for each in blocked]
    usable = _usable_groups(config, hops[0])
    if isinstance(usable, NotAvailable):
        return usable
    peers = _peers(config, hops)
    if isinstance(peers, NotAvailable):
        return peers
    near = getattr(blocked[0].answer, "nearest_miss", None)
    preferred = None if near is None else near.rule.group_id
    changes = []
    for peer in peers:
        possible = [_rule(group, hops[0], peer) for group in usable]
        rules = with_room(config, possible, ledger)
        if not rules:
            return NotAvailable(full_group(possible, ledger))
        chosen = min(rules, key=lambda rule: _rank(config, rule, preferred))
        change = GroupChange(rule=chosen)
        ledger.take(change)
        changes.append(change)
    return tuple(changes)


def _rank(
    config: NetConfig, rule: SecurityGroupRule, preferred: str | None
) -> tuple[int, int, bool, str, str]:
    """Return what orders candidates: what they open, then the group of the nearest rule."""
    holders = len(config.holders(rule.group_id))
    name = _name(config.security_group(rule.group_id))
    return radius(config, rule), holders, rule.group_id != preferred, name, rule.group_id


def _usable_groups(config: NetConfig, hop: Hop) -> list[SecurityGroup] | NotAvailable:
    """Return the groups of an interface that may get a rule."""
    held = [config.security_group(each) for each in hop.interface.group_ids or ()]
    known = [group for group in held if group is not None]
    if not known:
        return NotAvailable("the security groups of the interface are not known")
    reasons = {group.group_id: _not_to_change(hop, group) for group in known}
    usable = [
        group
        for group in known
        if reasons[group.group_id] is None and not (len(held) > 1 and is_default(group))
    ]
    given = [reason for reason in reasons.values() if reason is not None]
    return usable or NotAvailable(
        "; ".join(given) or "only the default group of the VPC could be changed"
    )


def _not_to_change(hop: Hop, group: SecurityGroup) -> str | None:
    """Return why a group is not to be changed; ``None`` where it may be."""
    service = managing_service(group)
    if service is not None:
        return f"{group.group_id} is managed by {service}, which resets its rules"
    account = hop.trip.case.account_id
    if None not in {group.owner_id, account} and group.owner_id != account:
        return (
            f"{group.group_id} belongs to account {group.owner_id}, and only that account can "
            "change it"
        )
    return None


def _rule(group: SecurityGroup, hop: Hop, peer: Peer) -> SecurityGroupRule:
    protocol, first, last = _group_service(hop.packet)
    if isinstance(peer, GroupReference) and peer.account_id == group.owner_id:
        peer = GroupReference(group_id=peer.group_id)
    return SecurityGroupRule(
        group_id=group.group_id,
        egress=hop.is_egress,
        protocol=protocol,
        from_port=first,
        to_port=last,
        peer=peer,
    )


def _group_service(packet: Packet) -> tuple[str, int | None, int | None]:
    names = {
        Protocol.TCP: "tcp",
        Protocol.UDP: "udp",
        Protocol.ICMP: "icmp",
        Protocol.ICMPV6: "icmpv6",
    }
    if packet.protocol in PROTOCOLS_WITH_PORTS:
        return names[Protocol(packet.protocol)], packet.destination_port, packet.destination_port
    if packet.protocol in PROTOCOLS_WITH_TYPES:
        kind = -1 if packet.icmp_type is None else packet.icmp_type
        return names[Protocol(packet.protocol)], kind, -1
    return str(packet.protocol), None, None


def _peers(config: NetConfig, hops: Sequence[Hop]) -> list[Peer] | NotAvailable:
    """Return the peers of the rules that hops need, references first."""
    named: dict[str, Peer] = {}
    hosts: dict[Address, Interface] = {}
    for hop in hops:
        found = _named_peer(config, hop)
        if isinstance(found, NotAvailable):
            return found
        if found is None:
            hosts[hop.packet.peer(hop.direction)] = hop.interface
        else:
            named[str(found)] = found
    ranges = _ranges_of(config, hosts)
    return ranges if isinstance(ranges, NotAvailable) else [*named.values(), *ranges]


def _named_peer(config: NetConfig, hop: Hop) -> Peer | NotAvailable | None:
    """Return the peer that stands for a hop's address; ``None`` for the address itself."""
    if hop.is_outside:
        return _outside_peer(config, hop)
    # Where the sender may be behind a load balancer, a reference does not match its packets.
    incoming = not hop.is_egress
    if incoming and load_balancer_before(config, hop.interface, hop.packet) is not None:
        return None
    trip = hop.trip
    other = trip.interface if hop.is_far else trip.far
    return None if other is None else _reference(config, hop, other)


def _outside_peer(config: NetConfig, hop: Hop) -> Peer | NotAvailable | None:
    found = hop.trip.case.found_path
    if found.path is Path.LOAD_BALANCER and not hop.is_far:
        before = load_balancer_before(config, hop.interface, hop.packet)
        groups = () if before is None else before.group_ids
        if not groups:
            return NotAvailable(_let_clients_in(hop, before))
        group_id = min(groups, key=lambda each: (len(config.holders(each)), each))
        return GroupReference(group_id=group_id)
    listed = None if hop.is_far else found.prefix_list
    if listed is not None and (hop.is_egress or trusted_list(config, listed, hop.interface)):
        return PrefixListReference(prefix_list_id=listed.prefix_list_id)
    if not hop.is_egress:
        return NotAvailable(f"no group lets {hop.packet.source} in, which may be intended")
    if is_client_port(hop.packet):
        return EVERYWHERE[hop.packet.destination.version]
    return NotAvailable(f"outbound traffic of {hop.interface.interface_id} is restricted")


def _let_clients_in(hop: Hop, before: Before | None) -> str:
    """Say what the group of a target has to let in, where its clients keep their addresses.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-security-groups.html
    """
    named, port = ", ".join(hop.interface.group_ids or ()), hop.packet.destination_port
    what = protocol_name(hop.packet.protocol) + ("" if port is None else f" {port}")
    own = (
        ", or from the load balancer's own group, if it has one"
        if before is None
        else f", since {before.name} has no group of its own that a rule could name"
    )
    return (
        f"clients come by a load balancer that keeps their addresses. {named} must let {what} in "
        f"by address: from their ranges, or from anywhere{own}. Which of them may is a decision"
    )


def _reference(config: NetConfig, hop: Hop, other: Interface) -> GroupReference | None:
    """Return a reference to the group of an interface that the fewest others hold."""
    if other.is_nat_gateway or not other.group_ids or not _can_refer(hop, other):
        return None
    known = {group_id: config.security_group(group_id) for group_id in other.group_ids}
    # A reference to the default group would let in all that was never given a group of its own.
    own = [group_id for group_id, group in known.items() if group is None or not is_default(group)]
    if not own:
        return None
    group_id = min(own, key=lambda each: (len(config.holders(each)), _name(known[each]), each))
    group = known[group_id]
    owner = other.owner_id if group is None or group.owner_id is None else group.owner_id
    return GroupReference(group_id=group_id, account_id=owner)


def _can_refer(hop: Hop, other: Interface) -> bool:
    """Return whether rules here can refer to groups there: in the VPC, or peered in the Region."""
    if other.vpc_id == hop.interface.vpc_id:
        return True
    peering = hop.trip.case.found_path.peering
    return (
        peering is not None and peering.carries_traffic is True and peering.crosses_regions is False
    )


def _name(group: SecurityGroup | None) -> str:
    return "" if group is None else group.name or ""
