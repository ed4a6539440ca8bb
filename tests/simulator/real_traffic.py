"""Connections of real networks: each method makes the case that it is named after."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from tests.simulator.connections import Case, Route, Talk
from tests.simulator.hard_cases import HardTraffic
from tests.simulator.network import (
    ACK,
    FIN,
    IDLE_SECONDS,
    LONG_IDLE_SECONDS,
    RST,
    SYN,
    End,
    Leg,
)
from tests.simulator.paths import (
    PATH_VIRTUAL_PRIVATE_GATEWAY,
    enters,
    from_target,
    from_transit_gateway,
    leaves,
    through_appliance,
    to_target,
    to_transit_gateway,
)
from tests.simulator.world import (
    ANY_PROTOCOL,
    ANY_V4,
    CLOUDFRONT_BLOCK,
    HEALTH_CHECK_BLOCK,
    ON_PREMISES,
    SERVICE_PORTS,
    TCP,
    UDP,
    Address,
    GroupRule,
    Interface,
    Kind,
    TargetGroup,
    World,
)

if TYPE_CHECKING:
    import random

    from tests.simulator.network import Network

BEFORE_SECONDS = 300  # how long before the log a connection opens at the latest
BROADCAST_PORTS = (67, 137, 138, 1900, 5353, 6667)
MULTICAST = ("224.0.0.251", "239.255.255.250", "224.0.0.1")


class RealTraffic(HardTraffic):
    """Makes everyday connections, and those that real networks have beside them."""

    def __init__(self, world: World, network: Network, rng: random.Random, *, start: int) -> None:
        super().__init__(world, network, rng, start=start)
        # A subnet's default route goes to the NAT instance of its VPC, if there is one.
        for vpc_id, interface_id in world.nat_instances.items():
            self.gateways[vpc_id] = world.interfaces[interface_id]

    def made(self, route: Route, protocol: int, case: Case) -> Talk:
        return self.talk(route, protocol, time=self.moment(), case=case)

    def workloads(self, vpc_id: str | None = None) -> list[Interface]:
        """Return the instances that do not forward, of one VPC or of all."""
        return [
            each
            for each in self.instances
            if each.checks_addresses and vpc_id in (None, each.vpc_id)
        ]

    def end_of(self, interface: Interface, *, port: int | None = None) -> End:
        return End(
            address=interface.primary,
            port=self.fresh_port(interface.kind) if port is None else port,
            interface=interface,
        )

    def outside(self, address: Address, *, port: int | None = None) -> End:
        return End(address=address, port=self.fresh_port(None) if port is None else port)

    # --- load balancers ---

    def load_balancers(self, count: int) -> None:
        """Reach targets through their load balancer, from it (health checks), and past it."""
        for _ in range(count):
            group = self.rng.choice(self.world.target_groups)
            balancer = self.world.interfaces[group.balancer]
            target = self.world.interfaces[self.rng.choice(group.targets)]
            how = self.rng.choice((*("through",) * 6, "health check", "past"))
            if how == "through":
                route = self._through(group, balancer, target)
            elif how == "health check":
                route = self.straight(self.end_of(balancer), self.end_of(target, port=group.port))
            else:
                route = self.straight(
                    self.end_of(self._client_of(target)), self.end_of(target, port=group.port)
                )
            self.converse(self.made(route, group.protocol, Case.LOAD_BALANCER))

    def _client_of(self, target: Interface, vpc_id: str | None = None) -> Interface:
        """Return an instance of another subnet: often one that a rule of the target names.

        It is one of the target's VPC where ``vpc_id`` is ``None``.
        """
        near = [
            each
            for each in self.workloads(target.vpc_id if vpc_id is None else vpc_id)
            if each.subnet_id != target.subnet_id
        ]
        named = {rule.group_id for rule in self._rules_of(target)}
        favoured = [each for each in near if named.intersection(each.group_ids)]
        free = [each for each in near if any(_lets_all_out(rule) for rule in self._rules_of(each))]
        choices = [each for each in (favoured, free) if each]
        return self.rng.choice(self.rng.choice(choices) if choices and self.chance(0.8) else near)

    def _rules_of(self, interface: Interface) -> list[GroupRule]:
        return [
            rule for group_id in interface.group_ids for rule in self.world.groups[group_id].rules
        ]

    def _through(self, group: TargetGroup, balancer: Interface, target: Interface) -> Route:
        if balancer.public_address is not None:
            block = self.rng.choice((None, None, CLOUDFRONT_BLOCK, HEALTH_CHECK_BLOCK))
            number = self.rng.randrange(1, 250)
            client = self.outside(self.internet_host() if block is None else block[number])
        else:
            client = self.end_of(self._client_of(target, balancer.vpc_id))
        middle, server = (self.end_of(each, port=group.port) for each in (balancer, target))
        own_port = None if group.preserves else self.fresh_port(Kind.NAT_GATEWAY)
        return Route(
            forward=tuple(to_target(self.world, client, middle, server, own_port=own_port)),
            backward=tuple(from_target(self.world, client, middle, server, own_port=own_port)),
        )

    # --- gateways ---

    def over_transit_gateway(self, count: int) -> None:
        """Connect instances with networks behind the transit gateway, both ways."""
        for _ in range(count):
            near = self.rng.choice(self.workloads())
            # The subnet of the attachment is one of many; half of the traffic should be its own.
            attachment = self.world.attachment_of(near.vpc_id)
            beside = [
                each
                for each in self.workloads(near.vpc_id)
                if each.subnet_id == attachment.subnet_id
            ]
            if beside and self.chance(0.5):
                near = self.rng.choice(beside)
            opens = self.chance(0.5)
            protocol = self.rng.choice((TCP, TCP, TCP, UDP))
            port = self.rng.choice(SERVICE_PORTS)
            here = self.end_of(near, port=None if opens else self._served_port(near))
            there = self.outside(self._remote_host(), port=port if opens else None)
            out = tuple(to_transit_gateway(attachment, here, there))
            back = tuple(from_transit_gateway(attachment, there, here))
            route = Route(forward=out if opens else back, backward=back if opens else out)
            self.converse(self.made(route, protocol, Case.TRANSIT_GATEWAY))

    def _served_port(self, server: Interface) -> int:
        """Return mostly a port that the server's groups let some range of addresses reach."""
        served = [
            rule.from_port
            for rule in self._rules_of(server)
            if not rule.egress and rule.protocol == TCP and rule.block is not None
        ]
        known = [port for port in served if port]
        return self.rng.choice(known if known and self.chance(0.7) else SERVICE_PORTS)

    def _remote_host(self) -> Address:
        block = self.rng.choice(ON_PREMISES)
        return block[self.rng.randrange(1, 60_000)]

    def public_ranges(self, count: int) -> None:
        """Use public addresses that are not on the internet, and a global accelerator."""
        inside = [each for each in self.workloads() if each.public_address is None]
        own = [each for each in inside if each.primary.is_global]
        for _ in range(count):
            how = self.rng.choice(("own range", "own range", "vpn", "vpn", "accelerator"))
            port = self.rng.choice(SERVICE_PORTS)
            near = self.rng.choice(own if how == "own range" else inside)
            if how == "own range":
                far = self.rng.choice(
                    [each for each in self.workloads(near.vpc_id) if each != near]
                )
                pair = (near, far) if self.chance(0.5) else (far, near)
                route = self.straight(self.end_of(pair[0]), self.end_of(pair[1], port=port))
            elif how == "vpn":
                route = self._over_vpn(near, port, opens=self.chance(0.5))
            else:
                client = self.outside(self.internet_host())
                route = self.straight(client, self.end_of(near, port=port))
            self.converse(self.made(route, self.rng.choice((TCP, TCP, UDP)), Case.PUBLIC_RANGES))

    def _over_vpn(self, near: Interface, port: int, *, opens: bool) -> Route:
        here = self.end_of(near, port=None if opens else port)
        there = self.outside(self._remote_host(), port=port if opens else None)
        out = (leaves(here, there, path=PATH_VIRTUAL_PRIVATE_GATEWAY),)
        back = (enters(there, here),)
        return Route(forward=out if opens else back, backward=back if opens else out)

    def subnet_exclusions(self, count: int) -> None:
        """Make traffic over internet gateways, gateway endpoints and peering connections."""
        ways = (
            self.from_internet,
            self.to_internet,
            self.through_nat,
            self.to_gateway_endpoint,
            self.inside,
        )
        for _ in range(count):
            found = self.rng.choices(ways, weights=(4, 4, 2, 3, 3))[0]()
            if found is not None:
                self.converse(self.made(*found, Case.SUBNET_EXCLUSION))

    # --- interfaces that forward ---

    def straight(self, client: End, server: End) -> Route:
        """Connect two ends, through appliances where the route tables say so."""
        there, back = self._appliance(client, server), self._appliance(server, client)
        if there is None or back is None:
            return super().straight(client, server)
        return Route(
            forward=tuple(through_appliance(there, client, server)),
            backward=tuple(through_appliance(back, server, client)),
        )

    def _appliance(self, source: End, destination: End) -> Interface | None:
        one, other = source.interface, destination.interface
        if one is None or other is None or source.address.version != ANY_V4.version:
            return None
        found = self.world.appliances.get((one.subnet_id, other.subnet_id))
        return None if found is None else self.world.interfaces[found]

    def forwarders(self, count: int) -> None:
        """Connect subnets that have an appliance between them, and use NAT instances."""
        for _ in range(count):
            if self.chance(0.25):
                found = self.through_nat(TCP)
            else:
                one, other = self.rng.choice(list(self.world.appliances))
                near = self.rng.choice([each for each in self.servers if each.subnet_id == one])
                far = self.rng.choice([each for each in self.servers if each.subnet_id == other])
                port = self._served_port(far)
                found = self.straight(self.end_of(near), self.end_of(far, port=port)), TCP
            if found is not None:
                self.converse(self.made(*found, Case.FORWARDER))

    # --- connections that are over, or forgotten ---

    def idle_connections(self, count: int) -> None:
        """Send packets of connections that opened before the log and then idled too long."""
        if self.chance(0.5):
            self.network.idle_seconds[TCP] = LONG_IDLE_SECONDS
        for _ in range(count):
            sort = self.rng.choice(("tcp", "tcp", "tcp", "udp", "udp stream"))
            talk = self._idled() if sort == "tcp" else self._idled_datagrams(sort)
            if talk is None:
                continue
            talk.case = Case.IDLE_TIMEOUT
            leg = self.rng.choice((Leg.RESPONSE, Leg.RESPONSE, Leg.REQUEST))
            flags = self.rng.choice((ACK, ACK, FIN | ACK, RST)) if talk.protocol == TCP else 0
            for again in range(self.rng.randint(1, 4)):
                wait = 0.0 if again == 0 else 3.0
                if sort == "udp":
                    talk.send(Leg.RESPONSE, after=wait, size=180)
                else:
                    talk.send(leg, after=wait, flags=flags, size=400)

    def _idled(self) -> Talk | None:
        idle = self.network.idle_seconds[TCP]
        talk = self.opened(low=-idle - 400.0, high=-idle - 1.0)
        if talk is not None:
            talk.time = self.moment(low=5.0)
        return talk

    def _idled_datagrams(self, sort: str) -> Talk | None:
        found = self.rng.choice((self.inside, self.from_internet, self.to_internet))(UDP)
        if found is None:
            return None
        talk = self.talk(*found, time=self.moment())
        if not talk.send(Leg.REQUEST):
            return None
        wait = self.rng.uniform(IDLE_SECONDS[UDP] + 5, 60)
        if sort == "udp stream":
            talk.send(Leg.RESPONSE)
            talk.send(Leg.REQUEST)
            wait = self.rng.uniform(185, 300)
        talk.time += wait
        return talk

    def late_closes(self, count: int) -> None:
        """Send FIN, RST or ACK soon after the end, and sometimes reuse the ports after that."""
        for _ in range(count):
            if (talk := self.opened()) is None:
                continue
            if self.chance(0.7):
                talk.close()
            else:
                talk.send(self.rng.choice(tuple(Leg)), flags=RST | ACK)
            talk.case = Case.LATE_CLOSE
            leg = self.rng.choice(tuple(Leg))
            flags = self.rng.choice((FIN | ACK, RST, RST, ACK))
            talk.send(leg, after=self.rng.uniform(6.0, 25.0), flags=flags)
            if self.chance(0.4):
                talk.time += self.rng.uniform(1.0, 30.0)
                if talk.handshake():
                    talk.exchange(gap=0.2)
                    talk.close()

    def late_syn_acks(self, count: int) -> None:
        """Repeat SYN-ACK after the client gave up, at interfaces that AWS always tracks.

        Where the record of the first SYN-ACK is lost, the reject looks like a network ACL's.
        """
        kinds = (Kind.ENDPOINT, Kind.LAMBDA, Kind.NETWORK_LOAD_BALANCER)
        servers = [each for each in self.world.interfaces.values() if each.kind in kinds]
        for _ in range(count):
            server = self.rng.choice(servers)
            route = self.straight(
                self.end_of(self._client_of(server)),
                self.end_of(server, port=self._served_port(server)),
            )
            talk = self.talk(route, TCP, time=self.moment())
            if talk.send(Leg.REQUEST, flags=SYN) and talk.send(Leg.RESPONSE, flags=SYN | ACK):
                talk.send(Leg.REQUEST, flags=RST)
                talk.case = Case.SKIPDATA
                talk.send(Leg.RESPONSE, after=self.rng.uniform(7.0, 20.0), flags=SYN | ACK)

    # --- what a VPC does not carry ---

    def broadcasts(self, count: int) -> None:
        """Send datagrams to the subnet, to all hosts, to groups, and to link-local addresses."""
        for _ in range(count):
            sender = self.rng.choice(self.instances)
            destination, within = self._group_address(sender)
            source: Address = sender.primary
            if isinstance(destination, IPv6Address):
                source = sender.addresses_v6[0]
            port = self.rng.choice(BROADCAST_PORTS)
            here = End(
                address=source,
                port=self.rng.choice((port, self.fresh_port(sender.kind))),
                interface=sender,
            )
            there = End(address=destination, port=port)
            hop = replace(leaves(here, there, path=None), at_boundary=not within)
            talk = self.made(Route(forward=(hop,), backward=()), UDP, Case.BROADCAST)
            for _ in range(self.rng.randint(1, 3)):
                talk.send(Leg.REQUEST, after=5.0, size=240)

    def _group_address(self, sender: Interface) -> tuple[Address, bool]:
        subnet = self.world.subnets[sender.subnet_id]
        sort = self.rng.choice(("subnet", "subnet", "limited", "multicast", "link-local", "v6"))
        if sort == "subnet":
            return subnet.block.broadcast_address, True
        if sort == "multicast" or (sort == "v6" and not sender.addresses_v6):
            return IPv4Address(self.rng.choice(MULTICAST)), False
        if sort == "v6":
            return IPv6Address("ff02::fb"), False
        if sort == "link-local":
            return IPv4Address(
                f"169.254.{self.rng.randrange(1, 160)}.{self.rng.randrange(1, 250)}"
            ), False
        return IPv4Address("255.255.255.255"), False


def _lets_all_out(rule: GroupRule) -> bool:
    return rule.egress and rule.protocol == ANY_PROTOCOL and rule.block == ANY_V4
