"""The totals of rejected flows, what records show of interfaces, and the rejected flow itself.

All totals are minima, maxima, sums and sets, so that neither the order of records nor their split
over files changes them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from flowverdict.core.addresses import Address, is_inside
from flowverdict.flowlog.flow_key import IPV4, FlowKey, end_of
from flowverdict.flowlog.records import FlowDirection, FlowRecord
from flowverdict.flows.accepted_index import Activity

if TYPE_CHECKING:
    from flowverdict.flowlog.columnar import InterfaceFacts
    from flowverdict.flowlog.losses import Missing
    from flowverdict.flowlog.object_key import Origin
    from flowverdict.flowlog.transit_gateway import PacketsLost
    from flowverdict.flows.observed import ObservedValues


@dataclass(slots=True)
class TrafficTotals(Activity):
    """Totals over records of one rejected flow.

    ``common_flags`` are the TCP flags that every record has: a flow may hold packets of two
    connections, or of both halves of a connection.
    """

    records: int = 0
    packets: int = 0
    bytes: int = 0
    common_flags: int = -1  # all bits, until a record is merged

    @classmethod
    def of(cls, record: FlowRecord) -> TrafficTotals:
        """Return the totals of one record."""
        return cls(
            record.start,
            end_of(record),
            record.tcp_flags,
            records=1,
            packets=0 if record.packets is None else record.packets,
            bytes=0 if record.bytes is None else record.bytes,
            common_flags=0 if record.tcp_flags is None else record.tcp_flags,
        )

    def merge(self, other: TrafficTotals) -> None:
        """Add the totals of the same flow from another source."""
        self.widen(other.first_start, other.last_end, other.tcp_flags)
        self.common_flags &= other.common_flags
        self.records += other.records
        self.packets += other.packets
        self.bytes += other.bytes

    def copied(self) -> TrafficTotals:
        """Return a copy; ``dataclasses.replace`` takes ten times as long."""
        return TrafficTotals(
            self.first_start,
            self.last_end,
            self.tcp_flags,
            self.records,
            self.packets,
            self.bytes,
            self.common_flags,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where a rejected flow was logged; ``None`` for values that its records lack.

    Parameters
    ----------
    account_id
        The account that owns the interface.
    reported_by
        The account that delivered the records, where it is another: the owner of a shared subnet
        logs the interfaces of the accounts that use the subnet
        (https://docs.aws.amazon.com/vpc/latest/userguide/vpc-sharing-share-subnet-working-with.html).
    """

    account_id: str | None = None
    region: str | None = None
    vpc_id: str | None = None
    subnet_id: str | None = None
    instance_id: str | None = None
    interface_type: str | None = None
    resource_id: str | None = None
    pkt_src_aws_service: str | None = None
    pkt_dst_aws_service: str | None = None
    reported_by: str | None = None

    def filled_from(self, other: Context) -> Context:
        """Fill unknown attributes from another record; of two values the smaller wins."""
        if other is self:
            return self
        return Context(
            account_id=agreed(self.account_id, other.account_id),
            region=agreed(self.region, other.region),
            vpc_id=agreed(self.vpc_id, other.vpc_id),
            subnet_id=agreed(self.subnet_id, other.subnet_id),
            instance_id=agreed(self.instance_id, other.instance_id),
            interface_type=agreed(self.interface_type, other.interface_type),
            resource_id=agreed(self.resource_id, other.resource_id),
            pkt_src_aws_service=agreed(self.pkt_src_aws_service, other.pkt_src_aws_service),
            pkt_dst_aws_service=agreed(self.pkt_dst_aws_service, other.pkt_dst_aws_service),
            reported_by=agreed(self.reported_by, other.reported_by),
        )


def agreed(value: str | None, other: str | None) -> str | None:
    """Return the known value; of two known values the smaller, in either order."""
    if value is None or other is None:
        return value if other is None else other
    return min(value, other)


_UNKNOWN_ACCOUNT = "unknown"  # AWS logs this word for interfaces that a service made


def context_of(record: FlowRecord, origin: Origin) -> Context:
    """Return a record's context; the origin supplies the account and Region that it lacks."""
    return context_at(
        origin,
        record.account_id,
        record.region,
        record.vpc_id,
        record.subnet_id,
        record.instance_id,
        record.interface_type,
        record.resource_id,
        record.pkt_src_aws_service,
        record.pkt_dst_aws_service,
    )


def context_at(
    origin: Origin, account_id: str | None, region: str | None, *others: str | None
) -> Context:
    """Return the context with these attributes; the origin supplies the account and Region.

    The origin's account is the one that delivered the records.
    """
    owner = origin.account_id if account_id in {None, _UNKNOWN_ACCOUNT} else account_id
    return _context(
        owner,
        region if region is not None else origin.region,
        *others,
        None if origin.account_id == owner else origin.account_id,
    )


# The flows of an interface share a context, which is stored once and found in a sixth of the time.
@lru_cache(maxsize=4_096)
def _context(*values: str | None) -> Context:
    return Context(**dict(zip(Context.__dataclass_fields__, values, strict=True)))


@dataclass(slots=True)
class RejectedTotals:
    """The totals of a flow's rejected records.

    ``related`` are the hashes of related flows, as bytes, if they came with the record.
    ``packets_lost`` are the packets that a transit gateway dropped; ``None`` for a VPC flow log.
    """

    traffic: TrafficTotals
    context: Context
    observed: ObservedValues
    packet_addresses_logged: bool = True
    related: bytes | None = field(default=None, compare=False, repr=False)
    packets_lost: PacketsLost | None = None

    def merge(self, other: RejectedTotals) -> None:
        """Add the totals of the same flow from another source."""
        self.traffic.merge(other.traffic)
        self.context = self.context.filled_from(other.context)
        self.observed = self.observed.merged_with(other.observed)
        self.packet_addresses_logged &= other.packet_addresses_logged
        if other.packets_lost is not None:
            known = self.packets_lost
            self.packets_lost = (
                other.packets_lost if known is None else known.plus(other.packets_lost)
            )


@dataclass(slots=True)
class Interface:
    """Facts about an interface that its records show.

    ``shared`` are the addresses that all its IPv4 records have: only the interface's own address,
    once there are records of two remote addresses. Flow logs show an interface's primary private
    IPv4 address whatever address the traffic used. For IPv6 they show the address in use, which on
    a forwarding appliance belongs to another host: nothing is learned from IPv6 addresses.
    """

    own: set[Address] = field(default_factory=set)
    shared: set[Address] | None = None
    subnets: set[str] = field(default_factory=set)
    vpc_id: str | None = None
    accepts_logged: bool = False
    lost: TrafficTotals = field(default_factory=TrafficTotals)
    context: Context = Context()

    @property
    def records_lost(self) -> bool:
        """Whether AWS reports lost records of the interface (SKIPDATA)."""
        return self.lost.records > 0

    def learn(self, record: FlowRecord) -> None:
        """Learn from a record of traffic, accepted or rejected."""
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
        elif self.shared:
            self.shared &= {source, destination}

    def merge(self, other: Interface) -> None:
        """Learn what another source shows, and add its losses."""
        self.learn_from(other)
        self.lost.merge(other.lost)
        self.context = self.context.filled_from(other.context)

    def learn_from(self, other: Interface | InterfaceFacts) -> None:
        """Learn what another source shows, without its losses."""
        self.own |= other.own
        if other.shared is not None:
            self.shared = set(other.shared) if self.shared is None else self.shared & other.shared
        self.subnets |= other.subnets
        self.vpc_id = agreed(self.vpc_id, other.vpc_id)
        self.accepts_logged |= other.accepts_logged

    @property
    def shows_several_addresses(self) -> bool:
        """Whether records show several local addresses, so that the interface forwards packets."""
        return len(self.own) > 1 or (not self.own and self.shared is not None and not self.shared)

    def own_addresses(self) -> frozenset[Address]:
        """Return the interface's own address, or nothing if the records show several."""
        shown = self.own or self.shared or set()
        return frozenset(shown) if len(shown) == 1 else frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedFlow:
    """One rejected flow with everything the records show about it.

    Parameters
    ----------
    key, traffic, context
        The 5-tuple on its interface, the totals of its rejected records, and their context.
    direction
        The logged direction; else as the interface's own address shows, else as private and public
        addresses suggest, else ``None``.
    mirror, same
        The *accepted* traffic of the opposite and of the same direction on this interface; ``None``
        if there is none.
    accepts_logged, accepts_logged_elsewhere
        Whether the batch has an accepted record of this interface, or of any other interface.
        Without accepted records, a missing mirror means nothing.
    losses
        Why records of this interface are or may be missing from what was read. What was not seen
        then shows little.
    forwards
        Whether records show several local addresses on this interface: an appliance forwards
        packets of other hosts, and may see one direction of a connection only.
    same_subnet
        Whether both ends are in one subnet; ``None`` if the records do not show it.
    observed
        Values of the observed fields of the flow's rejected records.
    packet_addresses_logged
        Whether ``pkt-srcaddr`` and ``pkt-dstaddr`` were logged for all of its records.
    packets_lost
        Of a transit gateway's flow: the packets that it dropped, by reason. The interface of the
        key is then the attachment, and the context's resource the transit gateway. ``None`` for a
        flow of a VPC flow log.
    """

    key: FlowKey
    traffic: TrafficTotals
    context: Context
    direction: FlowDirection | None
    direction_logged: bool
    mirror: Activity | None
    same: Activity | None
    accepts_logged: bool
    accepts_logged_elsewhere: bool
    losses: Missing
    forwards: bool
    same_subnet: bool | None
    observed: ObservedValues
    packet_addresses_logged: bool
    packets_lost: PacketsLost | None = None

    @property
    def reject_reasons(self) -> frozenset[str | None]:
        """Values of ``reject-reason``; ``None`` among them for records without the field."""
        return self.observed.texts("reject-reason")

    @property
    def interface_id(self) -> str | None:
        """The interface as logged; a regional NAT gateway and a transit gateway have none."""
        return self.key.interface if self.packets_lost is None and not self._is_resource else None

    @property
    def attachment_id(self) -> str | None:
        """The transit gateway attachment of a transit gateway's flow."""
        return None if self.packets_lost is None or self._is_resource else self.key.interface

    @property
    def _is_resource(self) -> bool:
        """Whether the records name a resource in place of an interface."""
        return self.key.interface == self.context.resource_id

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
        return (
            self.key.packet_destination
            if self.direction is destination_when
            else self.key.packet_source
        )

    @property
    def between_private_addresses(self) -> bool | None:
        """Whether no internet gateway forwards either packet address; ``None`` if not logged."""
        source, destination = self.key.packet_source, self.key.packet_destination
        if source is None or destination is None:
            return None
        if not (is_inside(source) and is_inside(destination)):
            return False
        # Without pkt-* fields a NAT gateway's interface shows its own private address for an
        # internet host.
        return True if self.packet_addresses_logged else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LostRecords:
    """Records of an interface that AWS lost (SKIPDATA): their number and time (Unix seconds).

    ``reported_by`` is the account that delivered the records, where it is not ``account_id``.
    """

    account_id: str | None
    region: str | None
    vpc_id: str | None
    interface_id: str | None
    records: int
    first_start: int | None
    last_end: int | None
    reported_by: str | None = None


def epoch_to_datetime(seconds: int) -> datetime:
    """Turn Unix seconds into an aware time in UTC."""
    return datetime.fromtimestamp(seconds, tz=UTC)


@dataclass(slots=True)
class AggregatedRejects:
    """Rejected flows of an interface that are counted together: too many to evaluate individually.

    ``what`` counts their records by direction, protocol and destination port.
    """

    traffic: TrafficTotals = field(default_factory=TrafficTotals)
    context: Context = field(default_factory=Context)
    what: Counter[tuple[FlowDirection | None, int | None, int | None]] = field(
        default_factory=Counter
    )

    def merge(self, other: AggregatedRejects) -> None:
        """Add what another source has aggregated."""
        self.traffic.merge(other.traffic)
        self.context = self.context.filled_from(other.context)
        self.what.update(other.what)
