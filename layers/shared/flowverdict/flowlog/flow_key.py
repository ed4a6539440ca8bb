"""Identify the flow of a record, and a record among those of its flow.

A flow is the records of one interface, 5-tuple, packet addresses and direction. AWS logs the
direction and the packet's own addresses only if the format has these fields
(https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flowverdict.flowlog.records import FlowDirection, FlowRecord

if TYPE_CHECKING:
    from flowverdict.core.addresses import Address

IPV4 = 4


class FlowKey(NamedTuple):
    """The values that all records of a flow share.

    A named tuple, because each record's key is hashed.
    """

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
        """Return the keys that the other half of the connection may have.

        With a logged direction, the mirror has the opposite direction: an appliance's interface
        sees the same 5-tuple come in and go out, which is not a reply. A record without a direction
        may be of either.
        """
        directions = (
            (None, *FlowDirection) if self.direction is None else (self.direction.opposite, None)
        )
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
        """Return the keys that records of this same flow may have, with and without a direction."""
        directions = (None, *FlowDirection) if self.direction is None else (self.direction, None)
        return tuple(self._replace(direction=direction) for direction in directions)


def end_of(record: FlowRecord) -> int | None:
    """Return a record's end in Unix seconds; the start if the end is not logged."""
    return record.end if record.end is not None else record.start


class RecordId(NamedTuple):
    """The values that distinguish a record from the others of its flow; times in Unix seconds."""

    start: int | None
    end: int | None
    packets: int | None
    bytes: int | None
    tcp_flags: int | None


def key_of(record: FlowRecord) -> FlowKey:
    """Return the key of a record's flow."""
    # A regional NAT gateway has no interface: the gateway's ID stands in its place.
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


def record_id(record: FlowRecord) -> RecordId:
    """Return the ID of a record within its flow."""
    return RecordId(record.start, record.end, record.packets, record.bytes, record.tcp_flags)
