"""Turn a record of a transit gateway into the record of a rejected flow.

A record of Transit Gateway Flow Logs has no ``action``: four counters say how many packets of the
flow were lost, and why (https://docs.aws.amazon.com/vpc/latest/tgw/tgw-flow-logs.html). The record
of a flow that lost packets becomes a rejected record of the transit gateway attachment, so that
everything after the reader treats it as any other. Records that report no lost packet are only
counted.
"""

from __future__ import annotations

from typing import NamedTuple

from flowverdict.flowlog.records import Action, FlowDirection, FlowRecord, LogStatus


class PacketsLost(NamedTuple):
    """How many packets of a flow a transit gateway dropped, by the reason that AWS names.

    The order is that of AWS's fields ``packets-lost-...``.
    """

    no_route: int = 0
    blackhole: int = 0
    mtu_exceeded: int = 0
    ttl_expired: int = 0

    @property
    def total(self) -> int:
        """The number of packets dropped for any reason."""
        return sum(self)

    def plus(self, other: PacketsLost) -> PacketsLost:
        """Return the packets of both."""
        return PacketsLost(*map(sum, zip(self, other, strict=True)))


_NOT_LOGGED = (None, None, None, None)


def packets_lost(record: FlowRecord) -> PacketsLost | None:
    """Return the packets that a record reports as lost; ``None`` if it reports none.

    A counter that is absent counts as 0.
    """
    counters = (
        record.packets_lost_no_route,
        record.packets_lost_blackhole,
        record.packets_lost_mtu_exceeded,
        record.packets_lost_ttl_expired,
    )
    if counters == _NOT_LOGGED:  # every record of a VPC flow log
        return None
    lost = PacketsLost(*(0 if counter is None else counter for counter in counters))
    return lost if lost.total > 0 else None


def as_flow_record(record: FlowRecord) -> FlowRecord | None:
    """Return a transit gateway's record as a record of its attachment.

    ``None`` for a record with traffic that reports no lost packet. The attachment's ID stands in
    place of the interface, the transit gateway's ID in place of the resource. ``packets`` are the
    packets lost; ``bytes`` are known only if the flow lost all of its packets.
    """
    lost = packets_lost(record)
    without_traffic = record.log_status in {LogStatus.NODATA, LogStatus.SKIPDATA}
    if lost is None and not without_traffic:
        return None
    vpc_id, subnet_id = _place(record)
    placed = record._replace(
        interface_id=record.tgw_attachment_id,
        resource_id=record.tgw_id,
        vpc_id=vpc_id,
        subnet_id=subnet_id,
    )
    if lost is None or without_traffic:
        return placed
    return placed._replace(
        action=Action.REJECT,
        packets=lost.total,
        bytes=record.bytes if record.packets == lost.total else None,
    )


def _place(record: FlowRecord) -> tuple[str | None, str | None]:
    """Return the VPC and the subnet on the attachment's side.

    Traffic comes into the transit gateway through the source's attachment, and leaves through the
    destination's. Without a direction the side is not known.
    """
    match record.flow_direction:
        case FlowDirection.INGRESS:
            return record.tgw_src_vpc_id, record.tgw_src_subnet_id
        case FlowDirection.EGRESS:
            return record.tgw_dst_vpc_id, record.tgw_dst_subnet_id
        case None:
            return None, None
