"""Connections that are hard to classify: each method makes the case that it is named after.

The packets that make a case hard carry the name of the case.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.simulator.connections import Case
from tests.simulator.network import ACK, FIN, RST, SYN, Cause, End, Leg
from tests.simulator.traffic import SPAN_SECONDS, Traffic
from tests.simulator.world import (
    ANY_PROTOCOL,
    ANY_V4,
    EPHEMERAL,
    ICMP,
    TCP,
    UDP,
    AclEntry,
    GroupRule,
    Interface,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


CHANGE_SECOND = 240  # when rules change, in the cases where they do
NTP_PORT = 123


class HardTraffic(Traffic):
    """Makes everyday connections and those of the hard cases."""

    def closed_connections(self, count: int) -> None:
        """Send packets long after FIN in both directions, or after the idle time-out."""
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

    def changes_rules(self, *, groups: int = 4, losing: float = 0.5) -> None:
        """Change some groups and 3 network ACLs at ``CHANGE_SECOND``.

        ``losing`` is the share of groups that lose a rule; the other groups gain a rule.
        """
        world = self.world
        for group in self.rng.sample(list(world.groups.values()), min(groups, len(world.groups))):
            rules = list(group.rules)
            if self.chance(losing) and rules:
                rules.remove(self.rng.choice(rules))
            else:
                egress = self.chance(0.4)
                rules.append(
                    GroupRule(egress=egress, protocol=TCP, from_port=0, to_port=65535, block=ANY_V4)
                )
            world = world.with_group(replace(group, rules=tuple(rules)))
        for acl in self.rng.sample(list(world.acls.values()), 3):
            egress = self.chance(0.5)
            lowest = min(entry.number for entry in acl.entries if entry.egress == egress)
            entries = [
                entry
                for entry in acl.entries
                if lowest > 1 or entry.egress != egress or entry.number > 1
            ]
            entries.append(
                AclEntry(
                    number=max(1, lowest - 1),
                    egress=egress,
                    allow=self.chance(0.4),
                    protocol=self.rng.choice((TCP, TCP, UDP)),
                    block=ANY_V4,
                    ports=self.rng.choice((*EPHEMERAL[:2], (443, 443), (0, 10000))),
                )
            )
            world = world.with_acl(replace(acl, entries=tuple(entries)))
        self.network.change(self.start + CHANGE_SECOND, world)

    def traffic_over_change(self, count: int) -> None:
        """Make connections that are open while the rules change, and datagrams before and after."""
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
        """Send NTP between peers, with port 123 at both ends.

        Sometimes both peers send a request, and the first request is rejected.
        """
        pairs: set[frozenset[str]] = set()
        for _ in range(count):
            first = self.rng.choice(self.instances)
            second = self.rng.choice(
                [each for each in self.servers if each.vpc_id == first.vpc_id and each is not first]
            )
            pair = frozenset((first.interface_id, second.interface_id))
            if pair in pairs:
                continue
            pairs.add(pair)
            here = End(address=first.primary, port=NTP_PORT, interface=first)
            there = End(address=second.primary, port=NTP_PORT, interface=second)
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
        """Send answers from the internet to requests that were never sent."""
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
        """Make connections that VPC Block Public Access or Encryption Controls reject."""
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
        """Remove outbound rules for all traffic at ``CHANGE_SECOND``; open flows are untracked."""
        world = self.world
        for group in world.groups.values():
            rules = tuple(
                rule for rule in group.rules if not rule.egress or rule.protocol != ANY_PROTOCOL
            )
            world = world.with_group(replace(group, rules=rules))
        self.network.change(self.start + CHANGE_SECOND, world)
        self.network.leaves_open_flows_untracked = True

    def untracked(self, count: int) -> None:
        """Serve clients from open web servers; after ``closes_groups`` the groups block replies."""
        world = self.world
        web = {group.group_id for group in world.groups.values() if group.name == "web"}
        servers = [each for each in self.instances if web.intersection(each.group_ids)]
        for _ in range(count if servers else 0):
            server = self.rng.choice(servers)
            near = [
                each
                for each in self.instances
                if each.vpc_id == server.vpc_id and each is not server
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
        """Close connections before the rules change, and reopen them later on the same ports."""
        for _ in range(count):
            if (talk := self.opened(high=CHANGE_SECOND - 100)) is None:
                continue
            talk.close()
            talk.case = Case.PORT_REUSE
            talk.time = self.moment(CHANGE_SECOND + 1, SPAN_SECONDS)
            if talk.handshake():
                talk.exchange(gap=0.2)
                talk.close()
