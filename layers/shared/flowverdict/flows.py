"""Records to rejected flows, each with what else was seen of its connection on the same interface.

A flow is a 5-tuple on an interface (and, where logged, its direction and its packet-level addresses: pods and NAT share
interface addresses). Its *mirror* has source and destination swapped. AWS's ping example
(https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-records-examples.html) is the model: an accepted request and
its rejected reply are two records of one interface, which may lie in different files. Everything kept here is a minimum,
a maximum, a sum or a set, so neither the order of records nor their split over files changes the outcome.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.addresses import is_inside
from flowverdict.records import Action, Address, FlowDirection, FlowRecord, LogStatus
from flowverdict.sources.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator


IPV4 = 4


class FlowKey(NamedTuple):
    """What makes two records one flow. A named tuple because it is hashed for every record."""

    interface: str | None
    source: Address | None
    destination: Address | None
    packet_source: Address | None
    packet_destination: Address | None
    source_port: int | None
    destination_port: int | None
    protocol: int | None
    direction: FlowDirection | None

    def mirrors(self) -> tuple[FlowKey, ...]:
        """Give the keys the other half of the connection may have.

        Where the direction is logged the mirror has the opposite one (an appliance's interface sees the same 5-tuple
        come in and go out, and that is no reply); a record without it may be either.
        """
        directions = (None, *FlowDirection) if self.direction is None else (self.direction.opposite, None)
        return tuple(
            FlowKey(
                self.interface,
                self.destination,
                self.source,
                self.packet_destination,
                self.packet_source,
                self.destination_port,
                self.source_port,
                self.protocol,
                direction,
            )
            for direction in directions
        )

    def same(self) -> tuple[FlowKey, ...]:
        """Give the keys under which this very flow may also have been logged."""
        directions = (None, *FlowDirection) if self.direction is None else (self.direction, None)
        return tuple(self._replace(direction=direction) for direction in directions)


@dataclass(slots=True)
class Traffic:
    """Totals over records of one flow and one action.

    ``first_start`` and ``last_end`` are Unix seconds, ``tcp_flags`` the OR over all records, each ``None`` if not logged.
    ``common_flags`` are those that every record has: a flow may hold packets of two connections, or of two halves of one.
    """

    first_start: int | None = None
    last_end: int | None = None
    records: int = 0
    packets: int = 0
    bytes: int = 0
    tcp_flags: int | None = None
    common_flags: int = -1  # all bits, until a record says otherwise

    def add(self, record: FlowRecord) -> None:
        """Count one record in."""
        self._widen(record.start, record.end if record.end is not None else record.start, record.tcp_flags)
        self.common_flags &= record.tcp_flags if record.tcp_flags is not None else 0
        self.records += 1
        self.packets += 0 if record.packets is None else record.packets
        self.bytes += 0 if record.bytes is None else record.bytes

    def merge(self, other: Traffic) -> None:
        """Count in what another file held of the same flow."""
        self._widen(other.first_start, other.last_end, other.tcp_flags)
        self.common_flags &= other.common_flags
        self.records += other.records
        self.packets += other.packets
        self.bytes += other.bytes

    def _widen(self, start: int | None, end: int | None, flags: int | None) -> None:
        if start is not None and (self.first_start is None or start < self.first_start):
            self.first_start = start
        if end is not None and (self.last_end is None or end > self.last_end):
            self.last_end = end
        if flags is not None:
            self.tcp_flags = flags if self.tcp_flags is None else flags | self.tcp_flags


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What records say about where a rejected flow was seen; ``None`` where they do not."""

    account_id: str | None = None
    region: str | None = None
    vpc_id: str | None = None
    subnet_id: str | None = None
    instance_id: str | None = None
    interface_type: str | None = None
    resource_id: str | None = None
    pkt_src_aws_service: str | None = None
    pkt_dst_aws_service: str | None = None

    def filled_from(self, other: Context) -> Context:
        """Fill what is unknown here from another record of the flow. Where both know, the smaller text wins: any order."""
        return Context(
            account_id=_agreed(self.account_id, other.account_id),
            region=_agreed(self.region, other.region),
            vpc_id=_agreed(self.vpc_id, other.vpc_id),
            subnet_id=_agreed(self.subnet_id, other.subnet_id),
            instance_id=_agreed(self.instance_id, other.instance_id),
            interface_type=_agreed(self.interface_type, other.interface_type),
            resource_id=_agreed(self.resource_id, other.resource_id),
            pkt_src_aws_service=_agreed(self.pkt_src_aws_service, other.pkt_src_aws_service),
            pkt_dst_aws_service=_agreed(self.pkt_dst_aws_service, other.pkt_dst_aws_service),
        )


def _agreed(one: str | None, other: str | None) -> str | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


_UNKNOWN_ACCOUNT = "unknown"  # AWS logs this word for interfaces that a service made


def _context_of(record: FlowRecord, origin: Origin) -> Context:
    account = record.account_id if record.account_id != _UNKNOWN_ACCOUNT else None
    return Context(
        account_id=account if account is not None else origin.account_id,
        region=record.region if record.region is not None else origin.region,
        vpc_id=record.vpc_id,
        subnet_id=record.subnet_id,
        instance_id=record.instance_id,
        interface_type=record.interface_type,
        resource_id=record.resource_id,
        pkt_src_aws_service=record.pkt_src_aws_service,
        pkt_dst_aws_service=record.pkt_dst_aws_service,
    )


@dataclass(slots=True)
class _Rejects:
    traffic: Traffic
    context: Context
    reasons: set[str | None] = field(default_factory=set)
    packet_addresses_logged: bool = True


@dataclass(slots=True)
class _Interface:
    """What the records of one interface tell about it.

    ``shared`` are the addresses common to all its IPv4 records: its own one, once it has talked with two others.
    Flow logs show an interface's primary private IPv4 whatever address the traffic used. For IPv6 they show the address
    in use, which on an appliance that forwards is somebody else's: nothing is learned from it.
    """

    own: set[Address] = field(default_factory=set)
    shared: set[Address] | None = None
    subnets: set[str] = field(default_factory=set)
    vpc_id: str | None = None
    accepts: int = 0
    lost: Traffic = field(default_factory=Traffic)
    context: Context = field(default_factory=Context)

    @property
    def records_lost(self) -> bool:
        return self.lost.records > 0

    def learn(self, record: FlowRecord) -> None:
        source, destination = record.srcaddr, record.dstaddr
        if source is None or destination is None:
            return
        if source.version != IPV4:
            return
        if record.flow_direction is FlowDirection.INGRESS:
            self.own.add(destination)
        elif record.flow_direction is FlowDirection.EGRESS:
            self.own.add(source)
        elif self.shared is None:
            self.shared = {source, destination}
        else:
            self.shared &= {source, destination}

    def merge(self, other: _Interface) -> None:
        self.own |= other.own
        if other.shared is not None:
            self.shared = set(other.shared) if self.shared is None else self.shared & other.shared
        self.subnets |= other.subnets
        self.vpc_id = _agreed(self.vpc_id, other.vpc_id)
        self.accepts += other.accepts
        self.lost.merge(other.lost)
        self.context = self.context.filled_from(other.context)

    def own_addresses(self) -> frozenset[Address]:
        """Give the interface's own address where the records leave no doubt: one it is, so two mean that none is sure."""
        told = self.own or self.shared or set()
        return frozenset(told) if len(told) == 1 else frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedFlow:
    """One rejected flow with everything the records show about it.

    Parameters
    ----------
    key, traffic, context
        The 5-tuple on its interface, the totals over its rejected records, and where they were seen.
    direction
        As logged, else as the interface's own address shows, else as private and public addresses suggest, else ``None``.
    mirror, same
        What was *accepted* of the opposite and of the same direction on this interface, ``None`` if nothing was.
    accepts_logged, accepts_logged_elsewhere
        Whether any accepted record was seen of this interface, or of any other in the same batch: without, a missing mirror
        means nothing.
    records_lost
        Whether AWS says that it lost records of this interface (SKIPDATA).
    same_subnet
        Whether both ends lie in one subnet, ``None`` if the records do not tell.
    reject_reasons
        Logged values of ``reject-reason`` over the flow's records; ``None`` among them for a format without the field.
    packet_addresses_logged
        Whether ``pkt-srcaddr`` and ``pkt-dstaddr`` were logged for all of its records.
    """

    key: FlowKey
    traffic: Traffic
    context: Context
    direction: FlowDirection | None
    direction_logged: bool
    mirror: Traffic | None
    same: Traffic | None
    accepts_logged: bool
    accepts_logged_elsewhere: bool
    records_lost: bool
    same_subnet: bool | None
    reject_reasons: frozenset[str | None]
    packet_addresses_logged: bool

    @property
    def interface_id(self) -> str | None:
        """The interface as logged; a regional NAT gateway has none."""
        return self.key.interface if self.key.interface != self.context.resource_id else None

    @property
    def local(self) -> Address | None:
        """The packet's address on the interface's side, where the direction is known."""
        return self._end(FlowDirection.INGRESS)

    @property
    def remote(self) -> Address | None:
        """The packet's address on the far side, where the direction is known."""
        return self._end(FlowDirection.EGRESS)

    def _end(self, destination_when: FlowDirection) -> Address | None:
        if self.direction is None:
            return None
        return self.key.packet_destination if self.direction is destination_when else self.key.packet_source

    @property
    def between_private_addresses(self) -> bool | None:
        """Whether the packet's both ends are addresses that no internet gateway forwards; ``None`` where not logged."""
        source, destination = self.key.packet_source, self.key.packet_destination
        if source is None or destination is None:
            return None
        if not (is_inside(source) and is_inside(destination)):
            return False
        # Without pkt-* fields a NAT gateway's interface shows its own private address for a host on the internet.
        return True if self.packet_addresses_logged else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LostRecords:
    """What AWS says it did not log of an interface (SKIPDATA): how many such records, and over which time (Unix seconds)."""

    account_id: str | None
    region: str | None
    vpc_id: str | None
    interface_id: str | None
    records: int
    first_start: int | None
    last_end: int | None


def epoch_to_datetime(seconds: int) -> datetime:
    """Turn Unix seconds into an aware time in UTC."""
    return datetime.fromtimestamp(seconds, tz=UTC)


class FlowCollector:
    """Collects records in any order and gives the rejected flows.

    Objects are collected one by one and merged, so that one that turns out to be broken half-way leaves no trace.
    """

    def __init__(self) -> None:
        self._rejects: dict[FlowKey, _Rejects] = {}
        self._accepts: dict[FlowKey, Traffic] = {}
        self._interfaces: dict[str | None, _Interface] = {}

    def add(self, record: FlowRecord, origin: Origin = Origin()) -> None:  # noqa: B008 - frozen, nothing to share
        """Collect one record; ``origin`` supplies the account and Region the record does not name."""
        if record.log_status is LogStatus.SKIPDATA:
            skipped = self._interfaces.setdefault(record.interface_id, _Interface())
            skipped.lost.add(record)
            skipped.context = skipped.context.filled_from(_context_of(record, origin))
        if record.action is None or record.log_status in {LogStatus.NODATA, LogStatus.SKIPDATA}:
            return
        key = _key_of(record)
        interface = self._interfaces.setdefault(key.interface, _Interface())
        interface.learn(record)
        if record.subnet_id is not None:
            interface.subnets.add(record.subnet_id)
        interface.vpc_id = _agreed(interface.vpc_id, record.vpc_id)
        if record.action is Action.ACCEPT:
            interface.accepts += 1
            self._accepts.setdefault(key, Traffic()).add(record)
            return
        context = _context_of(record, origin)
        rejects = self._rejects.get(key)
        if rejects is None:
            rejects = self._rejects[key] = _Rejects(Traffic(), context)
        rejects.traffic.add(record)
        rejects.context = rejects.context.filled_from(context)
        rejects.reasons.add(record.reject_reason)
        rejects.packet_addresses_logged &= record.pkt_srcaddr is not None and record.pkt_dstaddr is not None

    def merge(self, other: FlowCollector) -> None:
        """Collect everything another collector holds."""
        for key, accepted in other._accepts.items():
            self._accepts.setdefault(key, Traffic()).merge(accepted)
        for name, interface in other._interfaces.items():
            self._interfaces.setdefault(name, _Interface()).merge(interface)
        for key, theirs in other._rejects.items():
            ours = self._rejects.get(key)
            if ours is None:
                ours = self._rejects[key] = _Rejects(Traffic(), theirs.context)
            ours.traffic.merge(theirs.traffic)
            ours.context = ours.context.filled_from(theirs.context)
            ours.reasons |= theirs.reasons
            ours.packet_addresses_logged &= theirs.packet_addresses_logged

    def rejected(self) -> Iterator[RejectedFlow]:
        """Give every rejected flow, earliest first; ties by its key, so the order never depends on the input's."""
        subnets = self._subnets_by_address()
        for key, rejects in sorted(self._rejects.items(), key=_by_time):
            interface = self._interfaces[key.interface]
            direction = key.direction or _direction_from_addresses(key, interface.own_addresses())
            yield RejectedFlow(
                key=key,
                traffic=rejects.traffic,
                context=rejects.context,
                direction=direction,
                direction_logged=key.direction is not None,
                mirror=self._accepted(key.mirrors()),
                same=self._accepted(key.same()),
                accepts_logged=interface.accepts > 0,
                records_lost=interface.records_lost,
                accepts_logged_elsewhere=bool(self._accepts) and interface.accepts == 0,
                same_subnet=_same_subnet(key, direction, interface, subnets),
                reject_reasons=frozenset(rejects.reasons),
                packet_addresses_logged=rejects.packet_addresses_logged,
            )

    def lost(self) -> Iterator[LostRecords]:
        """Give what AWS lost, interface by interface in the order of their ids."""
        for interface_id, interface in sorted(self._interfaces.items(), key=lambda item: str(item[0])):
            if interface.records_lost:
                yield LostRecords(
                    account_id=interface.context.account_id,
                    region=interface.context.region,
                    vpc_id=_agreed(interface.vpc_id, interface.context.vpc_id),
                    interface_id=interface_id,
                    records=interface.lost.records,
                    first_start=interface.lost.first_start,
                    last_end=interface.lost.last_end,
                )

    def _accepted(self, keys: tuple[FlowKey, ...]) -> Traffic | None:
        found = [self._accepts[key] for key in keys if key in self._accepts]
        if not found:
            return None
        total = Traffic()
        for traffic in found:
            total.merge(traffic)
        return total

    def _subnets_by_address(self) -> dict[tuple[str | None, Address], set[str]]:
        subnets: dict[tuple[str | None, Address], set[str]] = {}
        for interface in self._interfaces.values():
            # An interface is in one subnet for life; records that name two (a hostile file) say nothing.
            if len(interface.subnets) == 1:
                for address in interface.own_addresses():
                    subnets.setdefault((interface.vpc_id, address), set()).update(interface.subnets)
        return subnets


def _key_of(record: FlowRecord) -> FlowKey:
    # A regional NAT gateway has no interface; its flows are told apart by the gateway's id.
    return FlowKey(
        record.interface_id if record.interface_id is not None else record.resource_id,
        record.srcaddr,
        record.dstaddr,
        record.pkt_srcaddr if record.pkt_srcaddr is not None else record.srcaddr,
        record.pkt_dstaddr if record.pkt_dstaddr is not None else record.dstaddr,
        record.srcport,
        record.dstport,
        record.protocol,
        record.flow_direction,
    )


def _by_time(item: tuple[FlowKey, _Rejects]) -> tuple[bool, int, str]:
    key, rejects = item
    start = rejects.traffic.first_start
    return (start is None, start if start is not None else 0, repr(key))


def _direction_from_addresses(key: FlowKey, own: frozenset[Address]) -> FlowDirection | None:
    source, destination = key.source, key.destination
    if source is None or destination is None or source == destination:
        return None
    if (source in own) != (destination in own):
        return FlowDirection.EGRESS if source in own else FlowDirection.INGRESS
    if source.version == IPV4 and is_inside(source) != is_inside(destination):
        return FlowDirection.EGRESS if is_inside(source) else FlowDirection.INGRESS
    return None


def _same_subnet(
    key: FlowKey,
    direction: FlowDirection | None,
    interface: _Interface,
    subnets: dict[tuple[str | None, Address], set[str]],
) -> bool | None:
    if direction is None or len(interface.subnets) != 1:
        return None
    remote = key.packet_source if direction is FlowDirection.INGRESS else key.packet_destination
    known = subnets.get((interface.vpc_id, remote)) if remote is not None else None
    if known is None:
        return None
    # Overlapping VPCs may hold one address twice; an interface reaches the one in its own subnet.
    return bool(known & interface.subnets)
