"""Everyday connections over a random world.

No source port is used twice in one simulation, and two interfaces ping in one direction only, so
that two plain connections never share the key of a flow.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.simulator.connections import Route, Talk
from tests.simulator.network import End, Network
from tests.simulator.routes import direct, from_internet_through_nat, to_internet_through_nat
from tests.simulator.world import (
    EPHEMERAL,
    ICMP,
    ICMPV6,
    INTERNET,
    INTERNET_V6,
    S3_BLOCKS,
    SERVICE_PORTS,
    TCP,
    UDP,
    Address,
    Interface,
    Kind,
    World,
)

if TYPE_CHECKING:
    import random
    from ipaddress import IPv4Network, IPv6Network

SPAN_SECONDS = 420  # connections start within this time
MOST_CONNECTIONS = 220


class Traffic:
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
        self.instances = [each for each in interfaces if each.kind is Kind.INSTANCE]
        self.clients = [
            each
            for each in interfaces
            if each.kind in (Kind.INSTANCE, Kind.LAMBDA, Kind.LOAD_BALANCER)
        ]
        self.servers = [each for each in interfaces if each.kind is not Kind.NAT_GATEWAY]
        self.public = [
            each
            for each in interfaces
            if each.public_address is not None and each.kind is not Kind.NAT_GATEWAY
        ]
        self.gateways = {each.vpc_id: each for each in interfaces if each.kind is Kind.NAT_GATEWAY}

    # --- choices ---

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def moment(self, low: float = 0, high: float = SPAN_SECONDS) -> float:
        """Return a random time of the simulation, in Unix seconds."""
        return self.start + self.rng.uniform(low, high)

    def fresh_port(self, kind: Kind | None) -> int:
        """Return an unused source port of the ephemeral range of the interface's kind."""
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
        """Return the two ends of a connection; ``None`` stands for an internet host."""
        port = 0
        if protocol == TCP:
            port = self.likely_port(server)
        elif protocol == UDP:
            port = self.rng.choice((53, 123, 514, 4500))
        source = self.internet_host(v6=v6) if client is None else self.address_of(client, v6=v6)
        # An internet host reaches only the private address that has a public address.
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
        """Connect two interfaces of one VPC, or of two peered VPCs."""
        client = self.rng.choice(self.clients)
        server = self.server_for(client)
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

    def server_for(self, client: Interface) -> Interface:
        """Choose a server: 20 % in a peer VPC, 15 % in the client's subnet, else in its VPC."""
        near = [
            each for each in self.servers if each.vpc_id == client.vpc_id and each is not client
        ]
        far = [
            each
            for each in self.servers
            if each.vpc_id != client.vpc_id
            and self.world.peering_between(each.vpc_id, client.vpc_id) is not None
        ]
        same = [each for each in near if each.subnet_id == client.subnet_id]
        choice = self.rng.random()
        return self.rng.choice(
            far if far and choice < 0.2 else same if same and choice > 0.85 else near
        )

    def first_ping(self, one: str, other: str) -> bool:
        """Mark two ends as having pinged; return whether they had not done so before."""
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
            each
            for each in self.instances
            if each.vpc_id in self.world.gateway_endpoints
            and not self.world.subnets[each.subnet_id].public
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
        server = self.rng.choice([each for each in self.servers if each.kind is Kind.ENDPOINT])
        client = self.rng.choice([each for each in self.clients if each.vpc_id == server.vpc_id])
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
        """Send all packets of one connection of its protocol."""
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
                    seen.hop.interface.interface_id,
                    seen.hop.source,
                    seen.hop.destination,
                    seen.hop.source_port,
                    seen.hop.destination_port,
                )
                for seen in self.network.observations
                if seen.rules_check.cause is not None
            }
        )

    def plain(self, required: int) -> None:
        """Make everyday connections until the required number of flows is rejected."""
        for number in range(MOST_CONNECTIONS):
            if (found := self.any_route()) is None:
                continue
            self.converse(self.talk(*found, time=self.moment()))
            if number % 8 == 0 and self.rejected() >= required:
                return

    def opened(self, *, low: float = 0, high: float = SPAN_SECONDS) -> Talk | None:
        """Return a TCP connection with data in both directions, or ``None`` if 12 did not open.

        Connections that did not open are removed, as if their packets had never been sent.
        """
        ways = (self.inside, self.from_internet, self.to_internet, self.through_nat)
        for _ in range(12):
            if (found := self.rng.choice(ways)(TCP)) is None:
                continue
            talk = self.talk(*found, time=self.moment(low, high))
            sent = len(self.network.observations)
            if talk.handshake():
                talk.exchange(gap=0.2)
                return talk
            del self.network.observations[sent:]
        return None
