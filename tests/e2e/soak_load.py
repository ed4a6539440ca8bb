"""Flow logs of a small network with known faults: the load that the soak feeds to the stack.

An episode is five minutes of the network. Each episode has its own service ports, so its faults
make alerts of their own. A request and its dropped reply are never in the same object, and in every
third episode they are not in the same window. In every second episode only the request shows that
the reply is a reply.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flowlog.fields import DEFAULT_FIELDS
from tests.e2e.samples import ACCOUNT_ID, HEADER, REGION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from tests.e2e.emulator import Place

LOG_GROUP: Final = "/soak/vpc-flow-logs"
# Two flow logs of one VPC: the second has the default fields only and reports the same flows as the
# first.
WIDE, NARROW = "fl-0aaaaaaaaaaaaaaa1", "fl-0bbbbbbbbbbbbbbb2"
_HEADERS = {WIDE: HEADER, NARROW: " ".join(DEFAULT_FIELDS)}
_EVERYWHERE = "0.0.0.0/0"
_CLIENTS = [f"203.0.113.{last}" for last in range(1, 201)]
_NOISE = [f"198.51.100.{last}" for last in range(1, 201)]
# The ports of an episode's faults count from these; none is an ephemeral one.
_BLOCKED_PORTS, _SERVED_PORTS, _LOGGED_PORTS = 10_000, 15_000, 20_000
_NONE, _SYN, _SYN_FIN, _SYN_ACK = 0, 2, 3, 18
MAX_EPISODES: Final = 4_000
_MIXED = 10  # deliveries that may overtake each other


class End(NamedTuple):
    """An interface and its address."""

    interface_id: str
    subnet_id: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A VPC with four network interfaces.

    ``front`` and ``logged`` accept every request, but their network ACL lets no reply out to the
    internet. The security group of ``back`` accepts only requests to 443 from inside. ``quiet`` has
    no traffic.
    """

    vpc_id: str
    front: End
    logged: End
    back: End
    quiet: End


def make_network(rules: Place) -> Network:
    """Make the network in an EC2 that stores rules as AWS's does."""
    ec2 = rules.client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = {
        number: ec2.create_subnet(VpcId=vpc_id, CidrBlock=f"10.0.{number}.0/24")["Subnet"][
            "SubnetId"
        ]
        for number in (1, 2)
    }
    acl_id = ec2.create_network_acl(VpcId=vpc_id)["NetworkAcl"]["NetworkAclId"]
    (before,) = ec2.describe_network_acls(
        Filters=[{"Name": "association.subnet-id", "Values": [subnets[1]]}]
    )["NetworkAcls"]
    (association,) = [entry for entry in before["Associations"] if entry["SubnetId"] == subnets[1]]
    ec2.replace_network_acl_association(
        AssociationId=association["NetworkAclAssociationId"], NetworkAclId=acl_id
    )
    for egress, block in ((False, _EVERYWHERE), (True, "10.0.0.0/16")):
        ec2.create_network_acl_entry(
            NetworkAclId=acl_id,
            RuleNumber=100,
            Egress=egress,
            RuleAction="allow",
            CidrBlock=block,
            Protocol="-1",
        )

    def end(name: str, number: int, address: str, block: str, ports: tuple[int, int]) -> End:
        group_id = ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc_id)[
            "GroupId"
        ]
        allowed = {
            "IpProtocol": "tcp",
            "FromPort": ports[0],
            "ToPort": ports[1],
            "IpRanges": [{"CidrIp": block}],
        }
        ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[allowed])
        made = ec2.create_network_interface(
            SubnetId=subnets[number], PrivateIpAddress=address, Groups=[group_id]
        )
        return End(made["NetworkInterface"]["NetworkInterfaceId"], subnets[number], address)

    return Network(
        vpc_id=vpc_id,
        front=end("front", 1, "10.0.1.5", _EVERYWHERE, (1, 65_535)),
        logged=end("logged", 1, "10.0.1.6", _EVERYWHERE, (1, 65_535)),
        back=end("back", 2, "10.0.2.7", "10.0.0.0/16", (443, 443)),
        quiet=end("quiet", 2, "10.0.2.8", "10.0.0.0/16", (443, 443)),
    )


@dataclass(slots=True)
class Lines:
    """Lines of a source with their number by kind, as ``records.RecordCounts`` calls them."""

    texts: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, text: str) -> None:
        """Add a line."""
        self.texts.append(text)
        self.counts[kind] += 1


@dataclass(frozen=True, kw_only=True)
class FlowLogObject:
    """A file of a flow log."""

    key: str
    header: str
    lines: Lines

    @cached_property
    def text(self) -> str:
        """The whole file."""
        return "\n".join((self.header, *self.lines.texts, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvents:
    """Log events of one delivery to a log stream; no two of a stream have equally many lines."""

    stream: str
    lines: Lines


type Delivery = FlowLogObject | LogEvents


class Load:
    """Deliveries, roughly in the order of their times.

    Parameters
    ----------
    now
        Unix seconds; all records are of earlier times.
    """

    def __init__(self, network: Network, random: Random, now: int) -> None:
        self._network = network
        self._random = random
        self._first_window = now // WINDOW - MAX_EPISODES - 2
        self.objects: dict[str, FlowLogObject] = {}
        self.log_events: list[LogEvents] = []

    def deliveries(self) -> Iterator[Delivery]:
        """Yield deliveries until ``MAX_EPISODES`` are used up.

        One object of ten is delivered a second time later.
        """
        waiting: list[Delivery] = []
        for number in range(MAX_EPISODES):
            waiting += self._episode(number)
            while len(waiting) > _MIXED:
                delivery = waiting.pop(self._random.randrange(len(waiting)))
                if isinstance(delivery, LogEvents):
                    self.log_events.append(delivery)
                elif delivery.key not in self.objects:
                    self.objects[delivery.key] = delivery
                    if self._random.random() < 0.1:
                        waiting.append(delivery)
                yield delivery

    def _episode(self, number: int) -> Iterator[Delivery]:
        window = self._first_window + number
        start = window * WINDOW + 20
        # Every third request ends with the window before its reply's.
        asked = start - 40 if number % 3 == 2 else start
        flags = _SYN_ACK if number % 2 else _NONE
        clients = self._random.sample(_CLIENTS, 3)
        served, blocked = _SERVED_PORTS + number, _BLOCKED_PORTS + number

        requests, replies, refused, narrow, rest = Lines(), Lines(), Lines(), Lines(), Lines()
        for count, client in enumerate(clients):
            port = 40_000 + count
            requests.add(
                "accepted", self._line(self._network.front, client, port, served, asked, "ACCEPT")
            )
            replies.add(
                "rejected", self._reply(self._network.front, client, port, served, start + 5, flags)
            )
        self._ordinary(requests, start, 12)
        self._ordinary(refused, start, 6)
        for count in range(4):
            flow = (
                self._network.back,
                f"10.0.2.{20 + count % 2}",
                41_000 + count,
                blocked,
                start + count,
                "REJECT",
            )
            refused.add("rejected", self._line(*flow))
            narrow.add("rejected", self._line(*flow, wide=False))
        for host in self._random.sample(_NOISE, 4):
            port = self._random.choice((22, 23, 3389, 8080))
            replies.add(
                "rejected", self._line(self._network.back, host, 50_000, port, start, "REJECT")
            )
        self._ordinary(rest, start, 5)
        for _ in range(3):
            rest.add("no_data", self._empty("NODATA", start))
        if number % 4 == 0:
            rest.add("skip_data", self._empty("SKIPDATA", start))
        rest.add("malformed", "this is no record")
        rest.add("malformed", requests.texts[0].replace("ACCEPT", "PERHAPS"))

        for flow_log, lines in (
            (WIDE, requests),
            (WIDE, replies),
            (WIDE, refused),
            (NARROW, narrow),
            (WIDE, rest),
        ):
            yield self._object(flow_log, window, lines)
        stream = f"{self._network.logged.interface_id}-{number}"
        asking, answering = Lines(), Lines()
        for count, client in enumerate(clients):
            port = 42_000 + count
            asking.add(
                "accepted",
                self._line(
                    self._network.logged, client, port, _LOGGED_PORTS + number, start, "ACCEPT"
                ),
            )
            answering.add(
                "rejected",
                self._reply(
                    self._network.logged, client, port, _LOGGED_PORTS + number, start + 5, flags
                ),
            )
        asking.add("no_data", self._empty("NODATA", start))
        asking.add("malformed", "no record either")
        yield LogEvents(stream=stream, lines=asking)
        yield LogEvents(stream=stream, lines=answering)

    def _ordinary(self, lines: Lines, start: int, count: int) -> None:
        for _ in range(count):
            port = self._random.randrange(43_000, 60_000)
            lines.add(
                "accepted", self._line(self._network.back, "10.0.1.5", port, 443, start, "ACCEPT")
            )

    def _line(  # noqa: PLR0913, PLR0917 - what a record says
        self,
        near: End,
        far: str,
        far_port: int,
        port: int,
        start: int,
        action: str,
        *,
        wide: bool = True,
    ) -> str:
        """Return the record of a request to an interface."""
        packets = 1 if action == "REJECT" else 9
        flow = (
            f"{far} {near.address} {far_port} {port} 6 {packets} 600 "
            f"{start} {start + 15} {action} OK"
        )
        if not wide:
            return f"2 {ACCOUNT_ID} {near.interface_id} {flow}"
        return self._wide(
            near, flow, f"{far} {near.address}", _SYN if action == "REJECT" else _SYN_FIN, "ingress"
        )

    def _reply(  # noqa: PLR0913, PLR0917 - what a record says
        self, near: End, far: str, far_port: int, port: int, start: int, flags: int
    ) -> str:
        """Return the record of a reply that is rejected on its way out."""
        flow = f"{near.address} {far} {port} {far_port} 6 2 120 {start} {start + 15} REJECT OK"
        return self._wide(near, flow, f"{near.address} {far}", flags, "egress")

    def _wide(self, near: End, flow: str, packet: str, flags: int, direction: str) -> str:
        place = f"{self._network.vpc_id} {near.subnet_id}"
        return (
            f"8 {ACCOUNT_ID} {near.interface_id} {flow} {place} {flags} {packet} "
            f"{REGION} {direction} -"
        )

    def _empty(self, status: str, start: int) -> str:
        place = f"{self._network.vpc_id} {self._network.quiet.subnet_id}"
        interface_id = self._network.quiet.interface_id
        return (
            f"8 {ACCOUNT_ID} {interface_id} - - - - - - - {start} {start + 60} - {status} "
            f"{place} - - - {REGION} - -"
        )

    def _object(self, flow_log: str, window: int, lines: Lines) -> FlowLogObject:
        at = datetime.fromtimestamp(window * WINDOW, UTC)
        key = (
            f"AWSLogs/{ACCOUNT_ID}/vpcflowlogs/{REGION}/{at:%Y/%m/%d}/"
            f"{ACCOUNT_ID}_vpcflowlogs_{REGION}_{flow_log}_{at:%Y%m%dT%H%MZ}_{self._random.getrandbits(32):08x}.log.gz"
        )
        return FlowLogObject(key=key, header=_HEADERS[flow_log], lines=lines)
