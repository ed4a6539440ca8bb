"""TODO flowverdict.flowlog.flow_key."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flowverdict.flowlog.records import FlowDirection, FlowRecord

if TYPE_CHECKING:
    from flowverdict.core.addresses import Address

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
        """Give the keys under which this very flow may also have been logged."""
        directions = (None, *FlowDirection) if self.direction is None else (self.direction, None)
        return tuple(self._replace(direction=direction) for direction in directions)


def end_of(record: FlowRecord) -> int | None:
    """Give when a record ends (Unix seconds); its start where the end is not logged."""
    return record.end if record.end is not None else record.start


class RecordId(NamedTuple):
    """What tells a record from the others of its flow."""

    start: int | None
    end: int | None
    packets: int | None
    bytes: int | None
    tcp_flags: int | None


def key_of(record: FlowRecord) -> FlowKey:
    """Give the flow that a record is of."""
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


def record_id(record: FlowRecord) -> RecordId:
    return RecordId(record.start, record.end, record.packets, record.bytes, record.tcp_flags)
