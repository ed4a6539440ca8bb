"""Connections over a random world: handshakes, data, ends, datagrams and pings, packet by packet.

``TrafficTotals.plain`` makes the everyday mix. Each hard case is a method of its own that makes what it is named for; what it makes
carries the case's name. Source ports are never used twice in one simulation, and a pair of interfaces pings in one direction
only, so that two plain connections never share a flow log key.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from tests.simulator.network import ACK, FIN, RST, SYN, Cause, End, Hop, Leg, Network, Packet
from tests.simulator.routes import direct, from_internet_through_nat, to_internet_through_nat
from tests.simulator.world import (
    ANY_PROTOCOL,
    ANY_V4,
    EPHEMERAL,
    ICMP,
    ICMPV6,
    INTERNET,
    INTERNET_V6,
    S3_BLOCKS,
    SERVICE_PORTS,
    TCP,
    UDP,
    AclEntry,
    Address,
    GroupRule,
    Interface,
    Kind,
    World,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable
    from ipaddress import IPv4Network, IPv6Network

SPAN_SECONDS = 420  # connections start within so many seconds
CHANGE_SECOND = 240  # when rules change, in the cases where they do
NTP_PORT = 123
MOST_CONNECTIONS = 220


class Case(StrEnum):
    """The kinds of simulation; all but ``plain`` are hard cases."""

    PLAIN = "plain"
    CLOSED_CONNECTION = "closed-connection"
    RULE_CHANGE = "rule-change"
    SYMMETRIC_UDP = "symmetric-udp"
    LOST_RECORDS = "lost-records"
    REJECT_ONLY = "reject-only"
    SECONDARY_ADDRESSES = "secondary-addresses"
    BACKSCATTER = "backscatter"
    BLOCK_PUBLIC_ACCESS = "block-public-access"
    ENCRYPTION_CONTROLS = "encryption-controls"
    PORT_REUSE = "port-reuse"
    UNTRACKED = "untracked"
    SKEWED_TIMES = "skewed-times"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Both ways of a connection; ``arrives`` is false where the way ends in silence before the other end."""

    forward: tuple[Hop, ...]
    backward: tuple[Hop, ...]
    arrives: bool = True


@dataclass(slots=True, kw_only=True)
class Talk:
    """A connection being made: sends its packets in order of time."""

    network: Network
    route: Route
    protocol: int
    time: float
    case: str | None = None

    def send(
        self,
        leg: Leg,
        *,
        after: float = 0.05,
        flags: int = 0,
        icmp: tuple[int, int] | None = None,
        size: int = 60,
    ) -> bool:
        """Send one packet so many seconds after the last; whether the other end got it."""
        self.time += after
        packet = Packet(
            time=self.time,
            leg=leg,
            protocol=self.protocol,
            flags=flags,
            icmp=icmp,
            size=size,
            case=self.case,
        )
        hops = self.route.forward if leg is Leg.REQUEST else self.route.backward
        return self.network.carry(packet, hops) and self.route.arrives

    def handshake(self, *, listens: bool = True) -> bool:
        """Try to open a TCP connection, three times as systems do; whether it is open."""
        answer = SYN | ACK if listens else RST | ACK
        for wait in (0.0, 1.0, 2.0):
            if not self.send(Leg.REQUEST, after=wait, flags=SYN):
                continue
            if self.send(Leg.RESPONSE, flags=answer):
                if listens:
                    self.send(Leg.REQUEST, flags=ACK)
                return listens
        return False

    def exchange(self, *, gap: float) -> None:
        """Send data both ways."""
        self.send(Leg.REQUEST, after=gap, flags=ACK, size=500)
        self.send(Leg.RESPONSE, flags=ACK, size=1400)
        self.send(Leg.REQUEST, flags=ACK)

    def close(self) -> None:
        """End the connection from the client's side, as TCP should."""
        self.send(Leg.REQUEST, flags=FIN | ACK)
        self.send(Leg.RESPONSE, flags=FIN | ACK)
        self.send(Leg.REQUEST, flags=ACK)

    def datagrams(self, count: int, *, gap: float) -> None:
        """Ask and answer over UDP, so often."""
        for _ in range(count):
            if self.send(Leg.REQUEST, after=gap, size=90):
                self.send(Leg.RESPONSE, size=180)

    def pings(self, count: int) -> None:
        """Ping so often, once a second."""
        request, reply = ((8, 0), (0, 0)) if self.protocol == ICMP else ((128, 0), (129, 0))
        for _ in range(count):
            if self.send(Leg.REQUEST, after=1.0, icmp=request, size=84):
                self.send(Leg.RESPONSE, icmp=reply, size=84)


class TrafficTotals:
    """Makes connections over one world until enough flows are rejected."""

    def __init__(self, world: World, network: Network, rng: random.Random, *, start: int) -> None:
        self.world = world
        self.network = network
        self.rng = rng
        self.start = start
        self.prefer_secondary = False
        self._ports: set[int] = set()
        self._pairs: set[frozenset[str]] = set()
        interfaces = list(world.interfaces.values())
        self.instances = [one for one in interfaces if one.kind is Kind.INSTANCE]
        self.clients = [
            one
            for one in interfaces
            if one.kind in (Kind.INSTANCE, Kind.LAMBDA, Kind.LOAD_BALANCER)
        ]
        self.servers = [one for one in interfaces if one.kind is not Kind.NAT_GATEWAY]
        self.public = [
            one
            for one in interfaces
            if one.public_address is not None and one.kind is not Kind.NAT_GATEWAY
        ]
        self.gateways = {one.vpc_id: one for one in interfaces if one.kind is Kind.NAT_GATEWAY}

    # --- choices ---

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def moment(self, low: float = 0, high: float = SPAN_SECONDS) -> float:
        """Give a time in the span, as Unix seconds."""
        return self.start + self.rng.uniform(low, high)

    def fresh_port(self, kind: Kind | None) -> int:
        """Give a source port of the owner's ephemeral range that nobody here had before."""
        low, high = EPHEMERAL[0]
        if kind is None or kind is Kind.INSTANCE:
            low, high = self.rng.choice(EPHEMERAL[1:])
        while (port := self.rng.randint(low, high)) in self._ports or port in SERVICE_PORTS:
            pass
        self._ports.add(port)
        return port

    def address_of(self, interface: Interface, *, v6: bool) -> Address:
        if v6:
            return interface.addresses_v6[0]
        addresses = interface.addresses()
        if self.prefer_secondary and len(addresses) > 1:
            return self.rng.choice(addresses[1:])
        return self.rng.choice(addresses) if self.chance(0.1) else interface.primary

    def internet_host(self, *, v6: bool = False) -> Address:
        block: IPv4Network | IPv6Network = INTERNET_V6 if v6 else self.rng.choice(INTERNET)
        return block[self.rng.randrange(1, 250)]

    def likely_port(self, server: Interface | None) -> int:
        match None if server is None else server.kind:
            case Kind.ENDPOINT:
                return 443
            case Kind.LOAD_BALANCER:
                return self.rng.choice((80, 443, 443, 8080))
            case Kind.DATABASE:
                return self.rng.choice((3306, 5432, 5432, 22))
            case None:
                return self.rng.choice((443, 443, 80, 22))
            case _:
                return self.rng.choice(SERVICE_PORTS)

    # --- routes ---

    def ends(
        self, client: Interface | None, server: Interface | None, protocol: int, *, v6: bool
    ) -> tuple[End, End]:
        """Give a client's end and a server's end; ``None`` is an internet host."""
        port = 0
        if protocol == TCP:
            port = self.likely_port(server)
        elif protocol == UDP:
            port = self.rng.choice((53, 123, 514, 4500))
        source = self.internet_host(v6=v6) if client is None else self.address_of(client, v6=v6)
        # An internet host can reach the one address that has a public one.
        destination: Address
        if server is None:
            destination = self.internet_host(v6=v6)
        else:
            destination = (
                server.primary if client is None and not v6 else self.address_of(server, v6=v6)
            )
        source_port = (
            0
            if protocol in (ICMP, ICMPV6)
            else self.fresh_port(None if client is None else client.kind)
        )
        if client is not None and server is None and not v6:
            source = client.primary
        return (
            End(address=source, port=source_port, interface=client),
            End(address=destination, port=port, interface=server),
        )

    def straight(self, client: End, server: End) -> Route:
        forward, backward = direct(self.world, client, server), direct(self.world, server, client)
        between = client.interface is not None and server.interface is not None
        return Route(
            forward=tuple(forward),
            backward=tuple(backward),
            arrives=not between or len(forward) > 1,
        )

    def inside(self, protocol: int | None = None) -> tuple[Route, int] | None:
        """Between two interfaces of one VPC, or of two that are peered."""
        client = self.rng.choice(self.clients)
        near = [one for one in self.servers if one.vpc_id == client.vpc_id and one is not client]
        far = [
            one
            for one in self.servers
            if one.vpc_id != client.vpc_id
            and self.world.peering_between(one.vpc_id, client.vpc_id) is not None
        ]
        same = [one for one in near if one.subnet_id == client.subnet_id]
        choice = self.rng.random()
        others = far if far and choice < 0.2 else same if same and choice > 0.85 else near
        server = self.rng.choice(others)
        v6 = (
            bool(client.addresses_v6 and server.addresses_v6)
            and self.chance(0.4)
            and server.vpc_id == client.vpc_id
        )
        protocol = self.protocol(v6=v6) if protocol is None else protocol
        if protocol in (ICMP, ICMPV6) and not self.first_ping(
            client.interface_id, server.interface_id
        ):
            return None
        return self.straight(*self.ends(client, server, protocol, v6=v6)), protocol

    def first_ping(self, one: str, other: str) -> bool:
        """Whether these two did not ping before; from now on they did."""
        pair = frozenset((one, other))
        if pair in self._pairs:
            return False
        self._pairs.add(pair)
        return True

    def protocol(self, *, v6: bool = False) -> int:
        return self.rng.choices((TCP, UDP, ICMPV6 if v6 else ICMP), weights=(74, 17, 9))[0]

    def from_internet(self, protocol: int | None = None) -> tuple[Route, int] | None:
        server = self.rng.choice(self.public)
        v6 = bool(server.addresses_v6) and self.chance(0.3)
        protocol = self.protocol(v6=v6) if protocol is None else protocol
        client_end, server_end = self.ends(None, server, protocol, v6=v6)
        if protocol in (ICMP, ICMPV6) and not self.first_ping(
            str(client_end.address), server.interface_id
        ):
            return None
        return self.straight(client_end, server_end), protocol

    def to_internet(self, protocol: int | None = None) -> tuple[Route, int] | None:
        client = self.rng.choice(self.public)
        v6 = bool(client.addresses_v6) and self.chance(0.3)
        protocol = self.protocol(v6=v6) if protocol is None else protocol
        client_end, server_end = self.ends(client, None, protocol, v6=v6)
        if protocol in (ICMP, ICMPV6) and not self.first_ping(
            str(server_end.address), client.interface_id
        ):
            return None
        return self.straight(client_end, server_end), protocol

    def through_nat(self, protocol: int | None = None) -> tuple[Route, int] | None:
        client = self.rng.choice(self.clients)
        gateway = self.gateways[client.vpc_id]
        if client.subnet_id == gateway.subnet_id:
            return None
        if protocol is None:
            protocol = self.rng.choice((TCP, TCP, TCP, UDP))
        client_end, server_end = self.ends(client, None, protocol, v6=False)
        client_end = replace(client_end, address=self.address_of(client, v6=False))
        port = self.fresh_port(Kind.NAT_GATEWAY)
        route = Route(
            forward=tuple(to_internet_through_nat(client_end, gateway, port, server_end)),
            backward=tuple(from_internet_through_nat(client_end, gateway, port, server_end)),
        )
        return route, protocol

    def to_gateway_endpoint(self) -> tuple[Route, int] | None:
        clients = [
            one
            for one in self.instances
            if one.vpc_id in self.world.gateway_endpoints
            and not self.world.subnets[one.subnet_id].public
        ]
        if not clients:
            return None
        client = self.rng.choice(clients)
        address = self.rng.choice(S3_BLOCKS)[self.rng.randrange(1, 4000)]
        source = End(
            address=self.address_of(client, v6=False),
            port=self.fresh_port(client.kind),
            interface=client,
        )
        return self.straight(source, End(address=address, port=443)), TCP

    def to_interface_endpoint(self) -> tuple[Route, int] | None:
        server = self.rng.choice([one for one in self.servers if one.kind is Kind.ENDPOINT])
        client = self.rng.choice([one for one in self.clients if one.vpc_id == server.vpc_id])
        return self.straight(*self.ends(client, server, TCP, v6=False)), TCP

    def any_route(self) -> tuple[Route, int] | None:
        ways = (
            self.inside,
            self.from_internet,
            self.to_internet,
            self.through_nat,
            self.to_gateway_endpoint,
            self.to_interface_endpoint,
        )
        return self.rng.choices(ways, weights=(45, 15, 12, 10, 8, 10))[0]()

    # --- connections ---

    def talk(self, route: Route, protocol: int, *, time: float, case: str | None = None) -> Talk:
        return Talk(network=self.network, route=route, protocol=protocol, time=time, case=case)

    def converse(self, talk: Talk) -> None:
        """Hold one whole connection of its protocol."""
        if talk.protocol == TCP:
            if talk.handshake(listens=self.chance(0.95)):
                for _ in range(self.rng.randint(0, 3)):
                    talk.exchange(gap=self.rng.choice((0.1, 1.0, 20.0, 70.0)))
                talk.close()
        elif talk.protocol == UDP:
            talk.datagrams(self.rng.randint(1, 3), gap=self.rng.uniform(1, 15))
        else:
            talk.pings(self.rng.randint(1, 4))

    def rejected(self) -> int:
        """Count the flows rejected so far, each 5-tuple on an interface once."""
        return len(
            {
                (
                    one.hop.interface.interface_id,
                    one.hop.source,
                    one.hop.destination,
                    one.hop.source_port,
                    one.hop.destination_port,
                )
                for one in self.network.observations
                if one.rules_check.cause is not None
            }
        )

    def plain(self, wanted: int) -> None:
        """Make everyday connections until so many flows are rejected."""
        for number in range(MOST_CONNECTIONS):
            if (found := self.any_route()) is None:
                continue
            self.converse(self.talk(*found, time=self.moment()))
            if number % 8 == 0 and self.rejected() >= wanted:
                return

    def opened(self, *, high: float = SPAN_SECONDS) -> Talk | None:
        """Give a TCP connection that opened and took data both ways, or ``None`` if none of several did.

        Those that did not open are taken back: their packets were never sent.
        """
        ways = (self.inside, self.from_internet, self.to_internet, self.through_nat)
        for _ in range(12):
            if (found := self.rng.choice(ways)(TCP)) is None:
                continue
            talk = self.talk(*found, time=self.moment(high=high))
            sent = len(self.network.observations)
            if talk.handshake():
                talk.exchange(gap=0.2)
                return talk
            del self.network.observations[sent:]
        return None

    # --- hard cases ---

    def closed_connections(self, count: int) -> None:
        """Packets after the end: late after FIN both ways, or after an idle time longer than the state lives."""
        for _ in range(count):
            how = self.rng.choice(("finished", "finished", "finished", "idle", "datagram"))
            if how == "datagram":
                self.late_datagram()
                continue
            if (talk := self.opened()) is None:
                continue
            if how == "finished":
                talk.close()
                wait = self.rng.choice((12.0, 40.0, 130.0))
            else:
                wait = self.rng.uniform(400, 600)
            talk.case = Case.CLOSED_CONNECTION
            leg = self.rng.choice((Leg.REQUEST, Leg.RESPONSE))
            flags = self.rng.choice((FIN | ACK, RST, ACK, FIN | ACK))
            for again in range(self.rng.randint(1, 3)):
                talk.send(leg, after=wait if again == 0 else 2.0, flags=flags)

    def late_datagram(self) -> None:
        if (
            found := self.rng.choice((self.inside, self.from_internet, self.to_internet))(UDP)
        ) is None:
            return
        talk = self.talk(*found, time=self.moment())
        if talk.send(Leg.REQUEST):
            talk.case = Case.CLOSED_CONNECTION
            talk.send(Leg.RESPONSE, after=self.rng.uniform(40, 120))

    def changes_rules(self, *, groups: int = 4, taken: float = 0.5) -> World:
        """Change so many groups and some ACLs in the middle of the time, for good; give the world after.

        ``taken`` is the share of groups that lose a rule, the others gain one.
        """
        world = self.world
        for group in self.rng.sample(list(world.groups.values()), min(groups, len(world.groups))):
            rules = list(group.rules)
            if self.chance(taken) and rules:
                rules.remove(self.rng.choice(rules))
            else:
                egress = self.chance(0.4)
                rules.append(
                    GroupRule(egress=egress, protocol=TCP, from_port=0, to_port=65535, block=ANY_V4)
                )
            world = world.with_group(replace(group, rules=tuple(rules)))
        for acl in self.rng.sample(list(world.acls.values()), 3):
            egress = self.chance(0.5)
            lowest = min(one.number for one in acl.entries if one.egress == egress)
            kept = [
                one for one in acl.entries if lowest > 1 or one.egress != egress or one.number > 1
            ]
            kept.append(
                AclEntry(
                    number=max(1, lowest - 1),
                    egress=egress,
                    allow=self.chance(0.4),
                    protocol=self.rng.choice((TCP, TCP, UDP)),
                    block=ANY_V4,
                    ports=self.rng.choice((*EPHEMERAL[:2], (443, 443), (0, 10000))),
                )
            )
            world = world.with_acl(replace(acl, entries=tuple(kept)))
        self.network.change(self.start + CHANGE_SECOND, world)
        return world

    def traffic_over_change(self, count: int) -> None:
        """Connections that are open while the rules change, and datagrams before and after."""
        for _ in range(count):
            if (found := self.any_route()) is None:
                continue
            talk = self.talk(*found, time=self.moment(CHANGE_SECOND - 60, CHANGE_SECOND))
            if talk.protocol == TCP and talk.handshake():
                for _ in range(4):
                    talk.exchange(gap=25.0)
                talk.close()
            elif talk.protocol == UDP:
                talk.datagrams(8, gap=12.0)

    def symmetric_datagrams(self, count: int) -> None:
        """NTP between peers, port 123 at both ends; sometimes both ask, the one in vain before the other."""
        pairs: set[frozenset[str]] = set()
        for _ in range(count):
            one = self.rng.choice(self.instances)
            other = self.rng.choice(
                [x for x in self.servers if x.vpc_id == one.vpc_id and x is not one]
            )
            pair = frozenset((one.interface_id, other.interface_id))
            if pair in pairs:
                continue
            pairs.add(pair)
            here = End(address=one.primary, port=NTP_PORT, interface=one)
            there = End(address=other.primary, port=NTP_PORT, interface=other)
            route = self.straight(here, there)
            talk = self.talk(route, UDP, time=self.moment(), case=Case.SYMMETRIC_UDP)
            if self.chance(0.4):
                back = self.talk(
                    self.straight(there, here), UDP, time=talk.time, case=Case.SYMMETRIC_UDP
                )
                if back.send(Leg.REQUEST):
                    back.send(Leg.RESPONSE)
                talk.time += self.rng.choice((8.0, 45.0))
            talk.datagrams(2, gap=8.0)

    def backscatter(self, count: int) -> None:
        """Answers from the internet that nobody here asked for."""
        targets: Iterable[Interface] = [*self.public, *self.gateways.values()]
        for _ in range(count):
            target = self.rng.choice(list(targets))
            sort = self.rng.choice(("syn-ack", "syn-ack", "rst", "echo-reply"))
            protocol = ICMP if sort == "echo-reply" else TCP
            source_port, port = (
                (0, 0)
                if protocol == ICMP
                else (self.rng.choice((80, 443, 22)), self.fresh_port(target.kind))
            )
            host = End(address=self.internet_host(), port=source_port)
            if protocol == ICMP and not self.first_ping(str(host.address), target.interface_id):
                continue
            here = End(address=target.primary, port=port, interface=target)
            talk = self.talk(
                self.straight(host, here), protocol, time=self.moment(), case=Case.BACKSCATTER
            )
            for again in range(self.rng.randint(1, 3)):
                flags = {"syn-ack": SYN | ACK, "rst": RST | ACK}.get(sort, 0)
                talk.send(
                    Leg.REQUEST,
                    after=float(again),
                    flags=flags,
                    icmp=(0, 0) if protocol == ICMP else None,
                )

    def controlled(self, count: int, cause: Cause) -> None:
        """Connections that VPC Block Public Access or Encryption Controls reject."""
        self.network.blocks_public_access = cause is Cause.BLOCK_PUBLIC_ACCESS
        self.network.controls_encryption = cause is Cause.ENCRYPTION_CONTROLS
        for _ in range(count):
            if cause is Cause.ENCRYPTION_CONTROLS:
                found = self.to_interface_endpoint()
            else:
                found = self.rng.choice((self.from_internet, self.to_internet, self.through_nat))()
            if found is not None:
                self.converse(self.talk(*found, time=self.moment()))
        self.network.blocks_public_access = self.network.controls_encryption = False

    def closes_groups(self) -> None:
        """Take all rules for all traffic out of the groups' outbound rules in the middle of the time; open flows are untracked."""
        world = self.world
        for group in world.groups.values():
            kept = tuple(
                rule for rule in group.rules if not rule.egress or rule.protocol != ANY_PROTOCOL
            )
            world = world.with_group(replace(group, rules=kept))
        self.network.change(self.start + CHANGE_SECOND, world)
        self.network.leaves_open_flows_untracked = True

    def untracked(self, count: int) -> None:
        """Serve clients from open web servers while their groups close (``closes_groups``): the groups block the replies."""
        world = self.world
        web = {group.group_id for group in world.groups.values() if group.name == "web"}
        servers = [one for one in self.instances if web.intersection(one.group_ids)]
        for _ in range(count if servers else 0):
            server = self.rng.choice(servers)
            near = [
                one for one in self.instances if one.vpc_id == server.vpc_id and one is not server
            ]
            client = None if server.public_address is not None else self.rng.choice(near)
            client_end, server_end = self.ends(client, server, TCP, v6=False)
            route = self.straight(client_end, replace(server_end, port=self.rng.choice((80, 443))))
            talk = self.talk(route, TCP, time=self.start + CHANGE_SECOND - 0.03)
            if self.chance(0.3):
                if talk.send(Leg.REQUEST, after=0, flags=SYN):
                    talk.case = Case.UNTRACKED
                    talk.send(Leg.RESPONSE, flags=SYN | ACK)
                continue
            talk.time = self.moment(CHANGE_SECOND - 90, CHANGE_SECOND - 10)
            if talk.handshake():
                talk.exchange(gap=0.2)
                talk.case = Case.UNTRACKED
                talk.time = self.moment(CHANGE_SECOND + 1, CHANGE_SECOND + 60)
                talk.exchange(gap=0.0)

    def reused_ports(self, count: int) -> None:
        """Connections that end well before the rules change and are opened again with the same ports after it."""
        for _ in range(count):
            if (talk := self.opened(high=CHANGE_SECOND - 100)) is None:
                continue
            talk.close()
            talk.case = Case.PORT_REUSE
            talk.time = self.moment(CHANGE_SECOND + 1, SPAN_SECONDS)
            if talk.handshake():
                talk.exchange(gap=0.2)
                talk.close()
