"""Aggregate observed packets into flow log records, and render the records as text.

One record aggregates one interface, 5-tuple, direction and action over a window of a minute
(https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html). ``tcp-flags`` are combined
with OR, and an ACK alone adds nothing.

``aggregate_as_aws`` stamps records as AWS does: the window has 60 or 600 seconds, the records of an
interface's window often share its bounds, and both bounds may lie up to 60 seconds late. Such
times show no order of packets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from tests.simulator.network import FIN, REASONS, RST, SYN, Observation
from tests.simulator.world import (
    CLOUDFRONT_BLOCK,
    HEALTH_CHECK_BLOCK,
    S3_BLOCKS,
    TCP,
    Address,
    Interface,
    Kind,
    World,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

WINDOW_SECONDS = 60
LATE_SECONDS = 60


class Format(StrEnum):
    """The flow log formats the simulator writes."""

    V2 = "v2"
    V5 = "v5"
    V8 = "v8"
    V11 = "v11"

    @property
    def has_reason(self) -> bool:
        """Whether the format has reject-reason, which version 8 added."""
        return self in {Format.V8, Format.V11}


_V2 = (
    "version",
    "account-id",
    "interface-id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "packets",
    "bytes",
    "start",
    "end",
    "action",
    "log-status",
)
_V5 = (
    *_V2,
    "vpc-id",
    "subnet-id",
    "instance-id",
    "tcp-flags",
    "type",
    "pkt-srcaddr",
    "pkt-dstaddr",
    "region",
    "az-id",
    "sublocation-type",
    "sublocation-id",
    "pkt-src-aws-service",
    "pkt-dst-aws-service",
    "flow-direction",
    "traffic-path",
)
_SERVICES = (
    *((block, "S3") for block in S3_BLOCKS),
    (CLOUDFRONT_BLOCK, "CLOUDFRONT_ORIGIN_FACING"),
    (HEALTH_CHECK_BLOCK, "ROUTE53_HEALTHCHECKS"),
)
_V8 = (*_V5, "reject-reason")
_V11 = (
    *_V8,
    "resource-id",
    "encryption-status",
    "instance-tag",
    "interface-tag",
    "interface-type",
    "next-hop-interface-id",
    "next-hop-subnet-id",
    "next-hop-az-id",
    "next-hop-vpc-id",
    "next-hop-interface-type",
)
FIELDS = {Format.V2: _V2, Format.V5: _V5, Format.V8: _V8, Format.V11: _V11}
# Of all other interfaces the field interface-type is empty.
_LOGGED_TYPES = {
    Kind.NAT_GATEWAY: "nat_gateway",
    Kind.ENDPOINT: "vpc_endpoint",
    Kind.NETWORK_LOAD_BALANCER: "network_load_balancer",
    Kind.TRANSIT_GATEWAY: "transit_gateway",
}
_IN_VPC = 1  # traffic-path: to another resource of the VPC


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class FlowKey:
    """A flow as logged: a 5-tuple on an interface."""

    interface_id: str
    srcaddr: str
    dstaddr: str
    srcport: int
    dstport: int
    protocol: int

    def mirrored(self) -> FlowKey:
        """Return the key of the opposite direction."""
        return FlowKey(
            interface_id=self.interface_id,
            srcaddr=self.dstaddr,
            dstaddr=self.srcaddr,
            srcport=self.dstport,
            dstport=self.srcport,
            protocol=self.protocol,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One flow log record; a ``status`` other than OK has no traffic."""

    interface: Interface
    start: int
    end: int
    status: str = "OK"
    key: FlowKey | None = None
    packets: int = 0
    size: int | None = 0
    accepted: bool = False
    flags: int = 0
    reason: str = "-"
    pkt_srcaddr: str = "-"
    pkt_dstaddr: str = "-"
    egress: bool = False
    path: int | None = None
    source_service: str = "-"
    destination_service: str = "-"


def key_of(observation: Observation) -> FlowKey:
    """Return the flow under which a packet is logged."""
    hop = observation.hop
    return FlowKey(
        interface_id=hop.interface.interface_id,
        srcaddr=str(hop.logged_source),
        dstaddr=str(hop.logged_destination),
        srcport=hop.source_port,
        dstport=hop.destination_port,
        protocol=observation.packet.protocol,
    )


def flags_logged(flags: int) -> int:
    """Return what one packet adds to ``tcp-flags``.

    SYN-ACK is 18. The ACK of a FIN or RST is dropped, and an ACK alone is 0.
    """
    return flags if flags & SYN else flags & (FIN | RST)


def aggregate(observations: Sequence[Observation], fmt: Format, rng: random.Random) -> list[Record]:
    """Return the records; every observation is counted in exactly one record.

    Depending on the seed, the times of a record are those of its first and last packet, or the
    bounds of the window: AWS logs both.
    """
    shows_bounds = rng.random() < 0.4
    groups = _grouped(observations, fmt, rng, interval=WINDOW_SECONDS)
    return [_record(group, bounds=bounds if shows_bounds else None) for bounds, group in groups]


def aggregate_as_aws(
    observations: Sequence[Observation], fmt: Format, rng: random.Random
) -> list[Record]:
    """Return the records with times as AWS stamps them."""
    interval = rng.choice((60, 60, 600))
    shares_bounds = rng.random() < 0.7
    late: dict[tuple[str, int], tuple[int, int]] = {}
    records = []
    for bounds, group in _grouped(observations, fmt, rng, interval=interval):
        record = _record(group, bounds=bounds if shares_bounds else None)
        delays = (rng.randint(0, LATE_SECONDS), rng.randint(0, LATE_SECONDS))
        if shares_bounds:
            delays = late.setdefault((record.interface.interface_id, bounds[0]), delays)
        start = record.start + delays[0]
        records.append(replace(record, start=start, end=max(start, record.end + delays[1])))
    return records


def _grouped(
    observations: Sequence[Observation], fmt: Format, rng: random.Random, *, interval: int
) -> list[tuple[tuple[int, int], list[Observation]]]:
    """Return the observations of each record, with the bounds of its window."""
    phases: dict[str, int] = {}
    sums: dict[tuple[object, ...], list[Observation]] = {}
    for seen in observations:
        hop = seen.hop
        phase = phases.setdefault(hop.interface.interface_id, rng.randrange(interval))
        window = int(seen.packet.time - phase) // interval
        real = () if fmt is Format.V2 else (hop.source, hop.destination, hop.path)
        cause = seen.rules_check.cause
        reason = None if cause is None or fmt is not Format.V8 else REASONS.get(cause)
        sums.setdefault((key_of(seen), hop.egress, cause is None, window, reason, real), []).append(
            seen
        )
    found = []
    for group in sums.values():
        phase = phases[group[0].hop.interface.interface_id]
        low = int(group[0].packet.time - phase) // interval * interval + phase
        found.append(((low, low + interval - 1), group))
    return found


def _record(group: Sequence[Observation], *, bounds: tuple[int, int] | None) -> Record:
    first = group[0]
    times = [int(seen.packet.time) for seen in group]
    start, end = bounds or (min(times), max(times))
    flags = 0
    for seen in group:
        if seen.packet.protocol == TCP:
            flags |= flags_logged(seen.packet.flags)
    cause = first.rules_check.cause
    reason = "-" if cause is None else REASONS.get(cause, "-")
    return Record(
        interface=first.hop.interface,
        start=start,
        end=end,
        key=key_of(first),
        packets=len(group),
        size=None if reason == "BPA" else sum(seen.packet.size for seen in group),
        accepted=cause is None,
        flags=flags,
        reason=reason,
        pkt_srcaddr=str(first.hop.source),
        pkt_dstaddr=str(first.hop.destination),
        egress=first.hop.egress,
        path=first.hop.path,
        source_service=_service(first.hop.source),
        destination_service=_service(first.hop.destination),
    )


def _service(address: Address) -> str:
    for block, service in _SERVICES:
        if address.version == block.version and address in block:
            return service
    return "-"


def skipped_near_rejects(
    records: Sequence[Record], rng: random.Random, *, share: float
) -> list[Record]:
    """Return the records without some that would explain a reject, and SKIPDATA in their place.

    The SKIPDATA record is of the same window or of the next, as AWS does not say which it lost.
    """
    rejected = {record.key for record in records if not record.accepted and record.key is not None}
    explaining = rejected | {key.mirrored() for key in rejected}
    lost = {key for key in sorted(explaining) if rng.random() < share}
    delivered: list[Record] = []
    skipped: dict[tuple[str, int], Record] = {}
    for record in records:
        if record.key is None or not record.accepted or record.key not in lost:
            delivered.append(record)
            continue
        shift = rng.choice((0, 0, 0, WINDOW_SECONDS))
        gap = replace(
            record,
            status="SKIPDATA",
            key=None,
            start=record.start + shift,
            end=record.end + shift,
        )
        skipped[record.interface.interface_id, record.start] = gap
    return [*delivered, *skipped.values()]


def silences(
    records: Sequence[Record], world: World, rng: random.Random, *, start: int
) -> list[Record]:
    """Return NODATA records for interfaces without any record."""
    busy = {record.interface.interface_id for record in records}
    idle = [
        interface for interface in world.interfaces.values() if interface.interface_id not in busy
    ]
    moments = [start + rng.randrange(300) for _ in idle]
    return [
        Record(interface=interface, start=moment, end=moment + WINDOW_SECONDS - 1, status="NODATA")
        for interface, moment in zip(idle, moments, strict=True)
    ]


def files(records: Iterable[Record], world: World, fmt: Format, rng: random.Random) -> list[str]:
    """Return the texts of one to three files, each with a header, with records in random order."""
    fields = list(FIELDS[fmt])
    if fmt is not Format.V2:
        rng.shuffle(fields)
    lines = [_line(record, fields, world, fmt) for record in records]
    rng.shuffle(lines)
    count = rng.choice((1, 1, 2, 3))
    header = " ".join(fields)
    return ["\n".join((header, *lines[number::count])) + "\n" for number in range(count)]


def _line(record: Record, fields: Sequence[str], world: World, fmt: Format) -> str:
    values = _values(record, world, fmt)
    return " ".join(str(values[name]) for name in fields)


def _zone_id(zone: str) -> str:
    return f"az{'abc'.index(zone) + 1}"


def _next_hop(record: Record, world: World) -> dict[str, object]:
    """Return the next hop of what leaves an interface to another resource of its VPC.

    AWS logs none towards internet gateways, other Regions, and what another account owns.
    """
    interface = record.interface
    found = [
        each
        for each in world.interfaces.values()
        if each.vpc_id == interface.vpc_id
        and record.pkt_dstaddr
        in {str(each.primary), *map(str, (*each.secondary, *each.addresses_v6))}
        and world.owner_of(each) == world.account_id
    ]
    if not record.egress or record.path != _IN_VPC or len(found) != 1:
        return {}
    (hop,) = found
    return {
        "next-hop-interface-id": hop.interface_id,
        "next-hop-subnet-id": hop.subnet_id,
        "next-hop-az-id": _zone_id(world.subnets[hop.subnet_id].zone),
        "next-hop-vpc-id": hop.vpc_id,
        "next-hop-interface-type": _LOGGED_TYPES.get(hop.kind, "-"),
    }


def _values(record: Record, world: World, fmt: Format) -> dict[str, object]:
    interface, key = record.interface, record.key
    subnet = world.subnets[interface.subnet_id]
    values: dict[str, object] = dict.fromkeys(FIELDS[fmt], "-")
    values |= {
        "version": fmt.removeprefix("v"),
        "account-id": world.owner_of(interface),
        "interface-id": interface.interface_id,
        "start": record.start,
        "end": record.end,
        "log-status": record.status,
        "vpc-id": interface.vpc_id,
        "subnet-id": interface.subnet_id,
        "instance-id": interface.owner_id if interface.kind is Kind.INSTANCE else "-",
        "region": world.region,
        "az-id": _zone_id(subnet.zone),
        "interface-type": _LOGGED_TYPES.get(interface.kind, "-"),
        # Tags are percent-encoded: the instance's name is "web server/i-0a1".
        "instance-tag": f"web%20server%2F{interface.owner_id}"
        if interface.kind is Kind.INSTANCE
        else "-",
        "interface-tag": f"{interface.kind.name.lower()}%20interface",
    }
    if key is None:
        return values
    values |= _next_hop(record, world)
    return values | {
        "srcaddr": key.srcaddr,
        "dstaddr": key.dstaddr,
        "srcport": key.srcport,
        "dstport": key.dstport,
        "protocol": key.protocol,
        "packets": record.packets,
        "bytes": "-" if record.size is None else record.size,
        "action": "ACCEPT" if record.accepted else "REJECT",
        "tcp-flags": record.flags,
        "type": "IPv6" if ":" in key.srcaddr else "IPv4",
        "pkt-srcaddr": record.pkt_srcaddr,
        "pkt-dstaddr": record.pkt_dstaddr,
        "pkt-src-aws-service": record.source_service,
        "pkt-dst-aws-service": record.destination_service,
        "flow-direction": "egress" if record.egress else "ingress",
        "traffic-path": "-" if record.path is None else record.path,
        "reject-reason": record.reason,
    }
