"""Connections that no fix should let pass, and problems of many flows."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from tests.simulator.connections import Case, Talk
from tests.simulator.fix_world import BLOCKLISTED, isolated
from tests.simulator.real_traffic import RealTraffic
from tests.simulator.world import SERVICE_PORTS, TCP, Kind

if TYPE_CHECKING:
    from tests.simulator.network import End
    from tests.simulator.world import Interface

SCANNED_PORTS = 40


class Trap(StrEnum):
    """Why no fix should let the packets pass; packets carry it as their case."""

    SCAN = "scan"
    NAT_GATEWAY = "nat-gateway-scan"
    BLOCK_LIST = "block-list"
    ISOLATED = "isolated"


class FixTraffic(RealTraffic):
    """Makes what a careless fix lets pass, beside everyday connections."""

    def scans(self, count: int) -> None:
        """Try many ports of a host, from the internet or from another subnet."""
        for _ in range(count):
            target = self.rng.choice(self.public if self.chance(0.5) else self.workloads())
            near = [each for each in self.workloads() if each.subnet_id != target.subnet_id]
            outside = target.public_address is not None and self.chance(0.7)
            source = None if outside else self._scanner(target, near)
            host = self.internet_host()
            for port in self.rng.sample(range(1, 9999), SCANNED_PORTS):
                client = self.outside(host) if source is None else self.end_of(source)
                self._try(client, self.end_of(target, port=port), Trap.SCAN)

    def _scanner(self, target: Interface, near: list[Interface]) -> Interface:
        reached = [
            each
            for each in near
            if each.vpc_id == target.vpc_id
            or self.world.peering_between(each.vpc_id, target.vpc_id) is not None
        ]
        return self.rng.choice(reached)

    def nat_gateway_scans(self, count: int) -> None:
        """Try ports of NAT gateways from the internet."""
        gateways = [
            each for each in self.world.interfaces.values() if each.kind is Kind.NAT_GATEWAY
        ]
        for _ in range(count):
            gateway = self.rng.choice(gateways)
            port = self.rng.choice((*SERVICE_PORTS, 1433, 23, 40_123))
            self._try(
                self.outside(self.internet_host()),
                self.end_of(gateway, port=port),
                Trap.NAT_GATEWAY,
            )

    def to_block_list(self, count: int) -> None:
        """Call, and be called from, a range that some network ACLs deny."""
        for _ in range(count):
            here = self.rng.choice(self.public)
            host = BLOCKLISTED[self.rng.randrange(1, 250)]
            if self.chance(0.5):
                self._try(
                    self.end_of(here),
                    self.outside(host, port=self.rng.choice((80, 443))),
                    Trap.BLOCK_LIST,
                )
            else:
                self._try(self.outside(host), self.end_of(here, port=443), Trap.BLOCK_LIST)

    def to_isolated(self, count: int) -> None:
        """Connect isolated hosts with others of their VPC, both ways."""
        hosts = [each for each in self.workloads() if isolated(self.world, each)]
        for _ in range(count):
            host = self.rng.choice(hosts)
            other = self.rng.choice(
                [each for each in self.workloads(host.vpc_id) if each is not host]
            )
            client, server = (host, other) if self.chance(0.5) else (other, host)
            port = self.rng.choice(SERVICE_PORTS)
            self._try(self.end_of(client), self.end_of(server, port=port), Trap.ISOLATED)

    def many_clients(self, count: int) -> None:
        """Reach one service from many clients, of the internet or of the VPC."""
        for _ in range(count):
            if self.chance(0.5):
                server = self.rng.choice(self.public)
                clients = [self.outside(self.internet_host()) for _ in range(12)]
            else:
                server = self.rng.choice(self.workloads())
                near = [each for each in self.workloads(server.vpc_id) if each is not server]
                some = self.rng.sample(near, min(6, len(near)))
                clients = [self.end_of(each) for each in some]
            port = self.likely_port(server)
            for client in clients:
                self.converse(self._meets(client, self.end_of(server, port=port), Case.FIXES))

    def _meets(self, client: End, server: End, case: str) -> Talk:
        return self.talk(self.straight(client, server), TCP, time=self.moment(), case=case)

    def _try(self, client: End, server: End, trap: Trap) -> None:
        self._meets(client, server, trap).handshake(listens=False)
