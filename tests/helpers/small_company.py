"""A small company's day: three VPCs in moto, and the flow logs that their interfaces would write.

The shop sells on 443, its app reads a database, and an API answers on 8443. Block Public Access
shuts the back office off from the internet. All traffic follows a timetable without chance, so each
day is the same.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3
from moto.moto_api._internal import mock_random

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_ec2 import EC2Client

WINDOW = 600  # seconds that a record aggregates, AWS's default
MIDNIGHT = int(datetime(2026, 11, 24, tzinfo=UTC).timestamp())
HEADER = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes "
    "start end action log-status vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr "
    "pkt-dstaddr region flow-direction reject-reason"
)
ACCOUNT = "123456789012"
REGION = "eu-west-1"
EVERYWHERE = "0.0.0.0/0"

SHOP, API, DATABASE, APP, OFFICE = "10.0.1.5", "10.1.1.5", "10.0.3.30", "10.0.2.20", "10.2.1.9"
CUSTOMERS = [f"203.0.113.{last}" for last in range(1, 121)]
# Hosts of the internet that try many ports, by the hours in which they do, and hosts that try one
# port now and then, all day long.
SCANNERS = {
    f"198.51.100.{last}": hours
    for last, hours in enumerate([(2, 4), (3, 4), (8, 10), (13, 16), (19, 20), (22, 24)], 10)
}
SLOW_SCANNERS = {"192.0.2.66": (22, 23), "192.0.2.77": (3389,), "192.0.2.88": (6379, 5900, 2375)}
ATTACKER = "192.0.2.99"
# What the policy mutes: the auditors' scanner, and an exporter whose security group opens at noon.
AUDITORS, AUDITED_PORTS = "10.0.9.99", range(8_001, 8_015)
EXPORTER_PORT = 9_100
OWNER = "payments"  # the team of the database, as a tag of its interface says
SCANNED_PORTS = [
    21,
    22,
    23,
    25,
    110,
    135,
    139,
    445,
    1433,
    1521,
    3306,
    3389,
    5060,
    5900,
    6379,
    8080,
    9200,
    27017,
]

FIN, SYN, RST, SYN_ACK, ACK_FIN = 1, 2, 4, 18, 19


def at(hour: int, minute: int = 0) -> int:
    """Return a time of the day as Unix seconds."""
    return MIDNIGHT + hour * 3_600 + minute * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a host is."""

    vpc_id: str
    subnet_id: str
    interface_id: str


@dataclass(slots=True)
class Company:
    """The company in moto; two of its rules can be broken and fixed."""

    ec2: EC2Client
    has_attacker: bool = False
    places: dict[str, Place] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    shop_acl: str = ""

    @classmethod
    def found(cls, *, has_attacker: bool = False) -> Company:
        """Create the company, with the same ids each time."""
        mock_random.seed(20261124)
        company = cls(ec2=boto3.client("ec2"), has_attacker=has_attacker)
        company._make_vpc("10.0", {"web": SHOP, "app": APP, "database": DATABASE})
        company._make_vpc("10.1", {"api": API})
        company._make_vpc("10.2", {"office": OFFICE})
        company._let_in("web", 443, EVERYWHERE)
        company._let_in("app", 8080, "10.0.0.0/16")
        company._let_in("api", 8443, EVERYWHERE)
        company.let_app_reach_database()
        company._make_shop_acl()
        company.ec2.create_tags(
            Resources=[company.places[DATABASE].interface_id],
            Tags=[{"Key": "team", "Value": OWNER}],
        )
        return company

    def _make_vpc(self, network: str, hosts: dict[str, str]) -> None:
        vpc_id = self.ec2.create_vpc(CidrBlock=f"{network}.0.0/16")["Vpc"]["VpcId"]
        for name, address in hosts.items():
            block = f"{address.rpartition('.')[0]}.0/24"
            subnet_id = self.ec2.create_subnet(VpcId=vpc_id, CidrBlock=block)["Subnet"]["SubnetId"]
            group_id = self.ec2.create_security_group(
                GroupName=name, Description=name, VpcId=vpc_id
            )["GroupId"]
            made = self.ec2.create_network_interface(
                SubnetId=subnet_id, PrivateIpAddress=address, Groups=[group_id]
            )
            interface_id = made["NetworkInterface"]["NetworkInterfaceId"]
            self.groups[name] = group_id
            self.places[address] = Place(
                vpc_id=vpc_id, subnet_id=subnet_id, interface_id=interface_id
            )

    def _let_in(self, group: str, port: int, block: str) -> None:
        self.ec2.authorize_security_group_ingress(
            GroupId=self.groups[group],
            IpPermissions=[
                {
                    "IpProtocol": "tcp",
                    "FromPort": port,
                    "ToPort": port,
                    "IpRanges": [{"CidrIp": block}],
                }
            ],
        )

    def let_app_reach_database(self) -> None:
        """Add the rule that the app needs to the database's security group."""
        self._let_in("database", 5432, f"{APP}/32")

    def keep_app_from_database(self) -> None:
        """Remove the rule that the app needs."""
        self.ec2.revoke_security_group_ingress(
            GroupId=self.groups["database"],
            IpPermissions=[
                {
                    "IpProtocol": "tcp",
                    "FromPort": 5432,
                    "ToPort": 5432,
                    "IpRanges": [{"CidrIp": f"{APP}/32"}],
                }
            ],
        )

    def _make_shop_acl(self) -> None:
        place = self.places[SHOP]
        self.shop_acl = self.ec2.create_network_acl(VpcId=place.vpc_id)["NetworkAcl"][
            "NetworkAclId"
        ]
        found = self.ec2.describe_network_acls(
            Filters=[{"Name": "association.subnet-id", "Values": [place.subnet_id]}]
        )
        for association in found["NetworkAcls"][0]["Associations"]:
            if association["SubnetId"] == place.subnet_id:
                self.ec2.replace_network_acl_association(
                    AssociationId=association["NetworkAclAssociationId"], NetworkAclId=self.shop_acl
                )
        self.ec2.create_network_acl_entry(
            NetworkAclId=self.shop_acl,
            RuleNumber=100,
            Egress=False,
            RuleAction="allow",
            CidrBlock=EVERYWHERE,
            Protocol="-1",
        )
        self.let_replies_out()

    def let_replies_out(self) -> None:
        """Add the entry that lets replies out to the shop's network ACL."""
        self.ec2.create_network_acl_entry(
            NetworkAclId=self.shop_acl,
            RuleNumber=120,
            Egress=True,
            RuleAction="allow",
            CidrBlock=EVERYWHERE,
            Protocol="6",
            PortRange={"From": 1_024, "To": 65_535},
        )

    def keep_replies_in(self) -> None:
        """Remove the entry that lets replies out."""
        self.ec2.delete_network_acl_entry(NetworkAclId=self.shop_acl, RuleNumber=120, Egress=True)

    # --- what the interfaces log ------------------------------------------------------------------

    def logs(self, start: int) -> dict[str, list[str]]:
        """Return the lines of the window that begins at ``start``, by VPC."""
        lines: defaultdict[str, list[str]] = defaultdict(list)
        for near, line in (
            *self._customers(start),
            *self._database(start),
            *self._internet(start),
            *self._odd_ones(start),
            *self.muted(start),
            *self.attacked(start),
        ):
            lines[self.places[near].vpc_id].append(line)
        return lines

    def _line(  # noqa: PLR0913 - a record has many fields
        self,
        near: str,
        far: str,
        ports: tuple[int, int],
        start: int,
        *,
        egress: bool = False,
        rejected: bool = True,
        flags: int = SYN,
        packets: int = 1,
        reason: str = "-",
        length: int = 10,
    ) -> tuple[str, str]:
        place = self.places[near]
        source, destination = (near, far) if egress else (far, near)
        return near, (
            f"8 {ACCOUNT} {place.interface_id} {source} {destination} {ports[0]} {ports[1]} "
            f"6 {packets} {packets * 60} {start} {start + length} "
            f"{'REJECT' if rejected else 'ACCEPT'} OK {place.vpc_id} {place.subnet_id} "
            f"- {flags} IPv4 {source} {destination} "
            f"{REGION} {'egress' if egress else 'ingress'} {reason}"
        )

    def _customers(self, start: int) -> Iterator[tuple[str, str]]:
        """Yield few flows at night, many by day.

        From 14:00 to 15:00 no reply leaves the shop's subnet.
        """
        broken = at(14) <= start < at(15)
        by_day = at(7) <= start < at(22)
        for number, customer in enumerate(CUSTOMERS if broken else CUSTOMERS[: 8 if by_day else 2]):
            port, when = 49_152 + (start // 60 + number * 7) % 9_000, start + number * 4
            flags = SYN if broken else SYN | FIN
            yield self._line(
                SHOP, customer, (port, 443), when, rejected=False, flags=flags, packets=4, length=60
            )
            reply = SYN_ACK if broken else ACK_FIN
            yield self._line(
                SHOP,
                customer,
                (443, port),
                when,
                egress=True,
                rejected=broken,
                flags=reply,
                packets=4 if broken else 9,
                length=60,
            )
            if number < 3 and not broken:
                yield self._line(
                    API, customer, (port, 8443), when, rejected=False, flags=SYN | FIN, packets=5
                )
                yield self._line(
                    API,
                    customer,
                    (8443, port),
                    when,
                    egress=True,
                    rejected=False,
                    flags=ACK_FIN,
                    packets=5,
                )

    def _database(self, start: int) -> Iterator[tuple[str, str]]:
        """Let the app try its database every half minute; from 09:00 to 18:30 it is rejected."""
        broken = at(9) <= start < at(18, 30)
        for number in range(20 if broken else 2):
            port, when = 33_000 + (start // 10 + number) % 20_000, start + number * 29
            yield self._line(
                APP, DATABASE, (port, 5432), when, egress=True, rejected=False, flags=SYN
            )
            yield self._line(
                DATABASE, APP, (port, 5432), when, rejected=broken, flags=SYN, packets=3
            )
            if not broken:
                yield self._line(
                    DATABASE, APP, (5432, port), when, egress=True, rejected=False, flags=SYN_ACK
                )
                yield self._line(APP, DATABASE, (5432, port), when, rejected=False, flags=SYN_ACK)

    def _internet(self, start: int) -> Iterator[tuple[str, str]]:
        """Yield tries of ports: fast scanners many per window, slow scanners fewer than a scan."""
        hour = (start - MIDNIGHT) // 3_600
        for scanner, (first, end) in SCANNERS.items():
            if first <= hour < end:
                for number, port in enumerate(SCANNED_PORTS):
                    for near in (SHOP, API):
                        yield self._line(near, scanner, (40_000 + number, port), start + number)
        for scanner, ports in SLOW_SCANNERS.items():
            for number, port in enumerate(ports):
                yield self._line(API, scanner, (41_000 + number, port), start + 30)
        for number, knocker in enumerate(("198.51.100.200", "198.51.100.201")):
            yield self._line(OFFICE, knocker, (42_000 + number, 443), start + 60, reason="BPA")

    def muted(self, start: int) -> Iterator[tuple[str, str]]:
        """Yield what the policy mutes.

        Auditors scan the shop from 10:00 to 12:00; the app tries an exporter from 07:00 to 12:00.
        """
        if at(10) <= start < at(12):
            for number, port in enumerate(AUDITED_PORTS):
                yield self._line(SHOP, AUDITORS, (45_000 + number, port), start + number)
        if at(7) <= start < at(12):
            for number in range(10):
                yield self._line(
                    DATABASE, APP, (46_000 + number, EXPORTER_PORT), start + number * 60
                )

    def attacked(self, start: int) -> Iterator[tuple[str, str]]:
        """Yield what an attacker causes in a window, if there is one: all day, and much.

        It shakes hands with the shop from ports that no client sends from, so that replies are
        blocked at the entry that breaks at 14:00; sends millions of packets; tries the database and
        the API from one host and many; and answers nobody.
        """
        if not self.has_attacker:
            return
        for number, port in enumerate((25, 80, 443, 1_023)):
            when = start + 10 + number
            yield self._line(SHOP, ATTACKER, (port, 443), when, rejected=False, packets=4)
            yield self._line(
                SHOP,
                ATTACKER,
                (443, port),
                when,
                egress=True,
                flags=SYN_ACK,
                packets=9_000_000,
            )
        for number, port in enumerate((5432, 443, 8080, 3306)):
            yield self._line(DATABASE, ATTACKER, (45_000, port), start + 20 + number)
            yield self._line(
                API, ATTACKER, (port, 45_000 + number), start + 40, flags=SYN_ACK, packets=9_000
            )
        for last in range(1, 40):
            yield self._line(APP, f"192.0.2.{100 + last}", (443, 5432), start + 60, packets=9_000)

    def _odd_ones(self, start: int) -> Iterator[tuple[str, str]]:
        """Yield a packet of an ended connection per window; at 11:20 AWS loses records once."""
        customer, port, when = "203.0.113.150", 50_000 + start // WINDOW % 500, start + 100
        yield self._line(
            SHOP, customer, (port, 443), when, rejected=False, flags=SYN | FIN, packets=4
        )
        yield self._line(
            SHOP, customer, (443, port), when, egress=True, rejected=False, flags=ACK_FIN, packets=4
        )
        yield self._line(SHOP, customer, (port, 443), when + 12, flags=RST)
        if start == at(11, 20):
            place = self.places[API]
            yield (
                API,
                (
                    f"8 {ACCOUNT} {place.interface_id} - - - - - - - {start} {start + WINDOW} "
                    f"- SKIPDATA {place.vpc_id} {place.subnet_id} - - - - - {REGION} - -"
                ),
            )
