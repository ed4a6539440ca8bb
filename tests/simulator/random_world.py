"""Build a random VPC world from a seed."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any

from tests.simulator.world import (
    ANY_PROTOCOL,
    ANY_V4,
    ANY_V6,
    EPHEMERAL,
    ICMP,
    ICMPV6,
    OFFICE,
    S3_BLOCKS,
    SERVICE_PORTS,
    TCP,
    UDP,
    Acl,
    AclEntry,
    Block,
    Group,
    GroupRule,
    Interface,
    Kind,
    Peering,
    Subnet,
    Vpc,
    World,
)

if TYPE_CHECKING:
    import random


class _WorldBuilder:
    """Builds one world; every choice comes from one random source, in a fixed order."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.account_id = str(rng.randrange(10**11, 10**12))
        self.region = rng.choice(("eu-west-1", "us-east-1", "ap-southeast-2"))
        self.vpcs: dict[str, Vpc] = {}
        self.subnets: dict[str, Subnet] = {}
        self.acls: dict[str, Acl] = {}
        self.groups: dict[str, Group] = {}
        self.interfaces: dict[str, Interface] = {}
        self.next_host: dict[str, int] = {}
        self.office_list = self.name("pl")
        self.s3_list = self.name("pl")
        self.peerings: list[Peering] = []
        self.gateway_endpoints: dict[str, tuple[str, str]] = {}

    def name(self, prefix: str) -> str:
        return f"{prefix}-{self.rng.getrandbits(68):017x}"

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def world(self) -> World:
        octets = self.rng.sample(range(1, 250), 3)
        for position in range(self.rng.choice((2, 2, 3, 1))):
            self.vpc(octets[position], has_v6=self.chance(0.7))
        vpc_ids = list(self.vpcs)
        if len(vpc_ids) > 1:
            status = (
                "active" if self.chance(0.8) else self.rng.choice(("pending-acceptance", "expired"))
            )
            requester, accepter = vpc_ids[0], vpc_ids[1]
            self.peerings.append(
                Peering(
                    peering_id=self.name("pcx"),
                    requester=requester,
                    accepter=accepter,
                    status=status,
                )
            )
        for vpc in self.vpcs.values():
            self.security(vpc)
        for vpc in self.vpcs.values():
            self.fill(vpc)
        return World(
            account_id=self.account_id,
            region=self.region,
            vpcs=self.vpcs,
            subnets=self.subnets,
            acls=self.acls,
            groups=self.groups,
            interfaces=self.interfaces,
            prefix_lists={
                self.office_list: ("office", (OFFICE, IPv4Network("45.33.32.0/26"))),
                self.s3_list: (f"com.amazonaws.{self.region}.s3", S3_BLOCKS),
            },
            peerings=tuple(self.peerings),
            gateway_endpoints=self.gateway_endpoints,
        )

    # --- VPCs, subnets, network ACLs ---

    def vpc(self, octet: int, *, has_v6: bool) -> None:
        block = IPv4Network(f"10.{octet}.0.0/16")
        block_v6 = IPv6Network(f"2600:1f18:{octet:x}:aa00::/56") if has_v6 else None
        vpc = Vpc(vpc_id=self.name("vpc"), block=block, block_v6=block_v6)
        self.vpcs[vpc.vpc_id] = vpc
        everything = [
            AclEntry(number=100, egress=egress, allow=True, protocol=-1, block=ANY_V4)
            for egress in (False, True)
        ]
        if has_v6:
            everything += [
                AclEntry(number=101, egress=egress, allow=True, protocol=-1, block=ANY_V6)
                for egress in (False, True)
            ]
        acl_ids = [self.acl(vpc, tuple(everything), is_default=True)]
        acl_ids += [self.acl(vpc, self.custom_entries(vpc), is_default=False) for _ in range(3)]
        for number in range(self.rng.randint(3, 5)):
            subnet = Subnet(
                subnet_id=self.name("subnet"),
                vpc_id=vpc.vpc_id,
                zone="abc"[number % 3],
                public=number == 0,
                block=IPv4Network(f"10.{octet}.{number}.0/24"),
                block_v6=IPv6Network(f"2600:1f18:{octet:x}:aa{number:02x}::/64")
                if has_v6 and number % 2 == 0
                else None,
                acl_id=self.rng.choices(acl_ids, weights=(2, 3, 3, 3))[0],
            )
            self.subnets[subnet.subnet_id] = subnet

    def acl(self, vpc: Vpc, entries: tuple[AclEntry, ...], *, is_default: bool) -> str:
        acl = Acl(
            acl_id=self.name("acl"),
            vpc_id=vpc.vpc_id,
            is_default=is_default,
            shows_closing=self.chance(0.6),
            entries=entries,
        )
        self.acls[acl.acl_id] = acl
        return acl.acl_id

    def custom_entries(self, vpc: Vpc) -> tuple[AclEntry, ...]:
        entries: list[AclEntry] = []
        for egress in (False, True):
            number = 0
            for allow, protocol, block, ports, icmp in self.custom_rows(vpc):
                number += self.rng.randint(1, 60)
                entries.append(
                    AclEntry(
                        number=number,
                        egress=egress,
                        allow=allow,
                        protocol=protocol,
                        block=block,
                        ports=ports,
                        icmp=icmp,
                    )
                )
        return tuple(entries)

    def custom_rows(
        self, vpc: Vpc
    ) -> list[tuple[bool, int, Block, tuple[int, int] | None, tuple[int, int] | None]]:
        """Return the rows of one direction in order.

        Some denies come first, then allows of one of three styles, often without return ports.
        """
        rng = self.rng
        rows: list[tuple[bool, int, Block, tuple[int, int] | None, tuple[int, int] | None]] = []
        for _ in range(rng.randint(0, 2)):
            port = rng.choice(SERVICE_PORTS)
            block: Block = rng.choice(
                (OFFICE, ANY_V4, vpc.block, next(vpc.block.subnets(new_prefix=22)))
            )
            ports = rng.choice(((port, port), (port, port + 100), (32768, 45000)))
            rows.append((False, rng.choice((TCP, UDP)), block, ports, None))
        if self.chance(0.3):
            icmp = rng.choice(((8, -1), (-1, -1), (0, 0)))
            rows.append((self.chance(0.5), ICMP, ANY_V4, None, icmp))
        style = rng.choice(("wide", "services", "inside"))
        if style == "wide":
            rows.append((True, ANY_PROTOCOL, ANY_V4, None, None))
        elif style == "inside":
            rows.append((True, ANY_PROTOCOL, vpc.block, None, None))
            rows.append((True, TCP, ANY_V4, (443, 443), None))
        else:
            rows += [
                (True, TCP, rng.choice((vpc.block, ANY_V4)), (port, port), None)
                for port in rng.sample(SERVICE_PORTS, 4)
            ]
            rows.append((True, UDP, ANY_V4, (53, 123), None))
            rows.append((True, ICMP, ANY_V4, None, rng.choice(((-1, -1), (8, 0), (0, -1)))))
        if style != "wide" and self.chance(0.5):
            for protocol in (TCP, UDP):
                rows.append((True, protocol, ANY_V4, rng.choice(EPHEMERAL), None))
        if vpc.block_v6 is not None and self.chance(0.6):
            if self.chance(0.5):
                rows.append((True, ANY_PROTOCOL, ANY_V6, None, None))
            else:
                rows.append((True, TCP, ANY_V6, (443, 443), None))
                rows.append((True, ICMPV6, ANY_V6, None, (-1, -1)))
        return rows

    # --- security groups ---

    def security(self, vpc: Vpc) -> None:
        names = ("web", "app", "data", "admin", "inner", "odd")
        ids = {name: self.name("sg") for name in names}
        if peer := next(
            (p for p in self.peerings if vpc.vpc_id == p.accepter and p.status == "active"), None
        ):
            # The groups of the requester exist already: rules refer to them over the peering.
            ids["theirs"] = next(
                g.group_id
                for g in self.groups.values()
                if g.vpc_id == peer.requester and g.name == "app"
            )
        for name in names:
            rules = (*self.inbound(name, ids, vpc), *self.outbound(ids, vpc))
            self.groups[ids[name]] = Group(
                group_id=ids[name], name=name, vpc_id=vpc.vpc_id, rules=rules
            )

    def inbound(self, name: str, ids: dict[str, str], vpc: Vpc) -> list[GroupRule]:
        def rule(protocol: int, low: int | None, high: int | None, **peer: Any) -> GroupRule:  # noqa: ANN401 - one of three peers
            return GroupRule(egress=False, protocol=protocol, from_port=low, to_port=high, **peer)

        rules: list[GroupRule] = []
        match name:
            case "web":
                rules = [
                    rule(TCP, port, port, block=block)
                    for port in (80, 443)
                    for block in (ANY_V4, ANY_V6)
                ]
            case "app":
                rules = [
                    rule(TCP, 8080, 8443, group_id=ids["web"]),
                    rule(TCP, 8080, 9000, block=vpc.block),
                ]
                if "theirs" in ids:
                    rules.append(rule(TCP, 8080, 8080, group_id=ids["theirs"]))
            case "data":
                rules = [rule(TCP, port, port, group_id=ids["app"]) for port in (3306, 5432, 6379)]
                if "theirs" in ids:
                    rules.append(rule(TCP, 5432, 5432, group_id=ids["theirs"]))
            case "admin":
                rules = [
                    rule(TCP, 22, 22, prefix_list_id=self.office_list),
                    rule(ICMP, *self.rng.choice(((-1, -1), (8, -1), (8, 0))), block=ANY_V4),
                    rule(ICMPV6, -1, -1, block=ANY_V6),
                ]
            case "inner":
                rules = [
                    rule(ANY_PROTOCOL, None, None, group_id=ids["inner"]),
                    rule(UDP, 53, 123, block=vpc.block),
                ]
            case _:
                rules = [
                    rule(50, None, None, block=OFFICE),
                    rule(TCP, 0, 65535, group_id="sg-0dead0dead0dead00"),
                ]
        self.rng.shuffle(rules)
        return rules

    def outbound(self, ids: dict[str, str], vpc: Vpc) -> list[GroupRule]:
        def rule(protocol: int, low: int | None, high: int | None, **peer: Any) -> GroupRule:  # noqa: ANN401 - one of three peers
            return GroupRule(egress=True, protocol=protocol, from_port=low, to_port=high, **peer)

        if self.chance(0.6):
            rules = [rule(ANY_PROTOCOL, None, None, block=ANY_V4)]
            if vpc.block_v6 is not None and self.chance(0.8):
                rules.append(rule(ANY_PROTOCOL, None, None, block=ANY_V6))
            return rules
        choices = [
            rule(TCP, 443, 443, prefix_list_id=self.s3_list),
            rule(TCP, 443, 443, block=ANY_V4),
            rule(TCP, 80, 443, block=ANY_V6),
            rule(TCP, 3306, 5432, group_id=ids["data"]),
            rule(TCP, 0, 65535, group_id=ids["inner"]),
            rule(TCP, 8080, 9000, block=vpc.block),
            rule(UDP, 53, 123, block=vpc.block),
            rule(ICMP, -1, -1, block=vpc.block),
        ]
        return self.rng.sample(choices, self.rng.randint(1, 4))

    # --- interfaces ---

    def fill(self, vpc: Vpc) -> None:
        mine = [subnet for subnet in self.subnets.values() if subnet.vpc_id == vpc.vpc_id]
        by_name = {
            group.name: group.group_id
            for group in self.groups.values()
            if group.vpc_id == vpc.vpc_id
        }
        public, inside = mine[0], mine[1:]
        for subnet in mine:
            for number in range(self.rng.randint(2, 3)):
                names = self.rng.sample(sorted(by_name), self.rng.randint(1, 2))
                self.interface(
                    Kind.INSTANCE, subnet, tuple(by_name[name] for name in names), shape=number
                )
        self.interface(Kind.NAT_GATEWAY, public, ())
        self.interface(Kind.LOAD_BALANCER, public, (by_name["web"],))
        self.interface(Kind.DATABASE, self.rng.choice(inside), (by_name["data"],))
        self.interface(Kind.LAMBDA, self.rng.choice(inside), (by_name["app"],))
        self.interface(
            Kind.ENDPOINT, self.rng.choice(inside), (by_name[self.rng.choice(("web", "data"))],)
        )
        if self.chance(0.7):
            self.gateway_endpoints[vpc.vpc_id] = (self.name("vpce"), self.s3_list)

    def interface(
        self, kind: Kind, subnet: Subnet, group_ids: tuple[str, ...], *, shape: int = 0
    ) -> None:
        number = self.next_host.get(subnet.subnet_id, 10)
        self.next_host[subnet.subnet_id] = number + 5
        prefixes: tuple[IPv4Network, ...] = ()
        secondary: tuple[IPv4Address, ...] = ()
        if kind is Kind.INSTANCE and shape == 1:
            secondary = (subnet.block[number + 1], subnet.block[number + 2])
        if kind is Kind.INSTANCE and shape == 2:
            prefixes = (ip_network((subnet.block[208], 28)),)  # type: ignore[assignment]  # of an IPv4 address
        is_public = subnet.public and kind in (Kind.INSTANCE, Kind.LOAD_BALANCER, Kind.NAT_GATEWAY)
        has_v6 = subnet.block_v6 is not None and kind in (Kind.INSTANCE, Kind.LOAD_BALANCER)
        owner = {
            Kind.INSTANCE: "i",
            Kind.NAT_GATEWAY: "nat",
            Kind.ENDPOINT: "vpce",
        }.get(kind, "x")
        interface = Interface(
            interface_id=self.name("eni"),
            kind=kind,
            subnet_id=subnet.subnet_id,
            vpc_id=subnet.vpc_id,
            primary=subnet.block[number],
            secondary=secondary,
            prefixes=prefixes,
            addresses_v6=(subnet.block_v6[number],)
            if has_v6 and subnet.block_v6 is not None
            else (),
            public_address=IPv4Address(
                f"18.194.{self.rng.randrange(256)}.{self.rng.randrange(1, 255)}"
            )
            if is_public
            else None,
            group_ids=group_ids,
            owner_id=self.name(owner),
        )
        self.interfaces[interface.interface_id] = interface


def make_world(rng: random.Random) -> World:
    """Build a world; the same state of the random source builds the same world."""
    return _WorldBuilder(rng).world()
