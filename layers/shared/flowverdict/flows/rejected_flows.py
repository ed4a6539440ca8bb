"""Derive the order, direction, subnet and accepted activity of a rejected flow from records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.core.addresses import Address, is_inside
from flowverdict.flowlog.flow_key import IPV4, FlowKey
from flowverdict.flowlog.records import FlowDirection
from flowverdict.flows.accepted_index import Activity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flowverdict.flows.model import Interface, RejectedTotals


def activity_of(hashes: Iterable[int], activities: Mapping[int, Activity]) -> Activity | None:
    """Return the activity of flows with any of the hashes, ``None`` if there is none."""
    found = [activities[hashed] for hashed in hashes if hashed in activities]
    if not found:
        return None
    total = Activity()
    for seen in found:
        total.widen(seen.first_start, seen.last_end, seen.tcp_flags)
    return total


def by_time(
    item: tuple[FlowKey, RejectedTotals],
) -> tuple[int, str, int, int, int, int, int, int, int, str]:
    """Return the sort key of a flow: earliest first, then by ``FlowKey``."""
    key, rejects = item
    start = rejects.traffic.first_start
    source, destination = _place(key.source), _place(key.destination)
    return (
        _NEVER if start is None else start,
        key.interface or "",
        source,
        destination,
        source if key.packet_source is key.source else _place(key.packet_source),
        destination
        if key.packet_destination is key.destination
        else _place(key.packet_destination),
        _or_first(key.source_port),
        _or_first(key.destination_port),
        _or_first(key.protocol),
        key.direction or "",
    )


_NEVER = 1 << 64  # later than any time of a record


def _or_first(number: int | None) -> int:
    return -1 if number is None else number


def _place(address: Address | None) -> int:
    """Return a number for each address: IPv4 before IPv6, which has 128 bits."""
    if address is None:
        return -1
    return int(address) if address.version == IPV4 else int(address) + (1 << 128)


def direction_from_addresses(key: FlowKey, own: frozenset[Address]) -> FlowDirection | None:
    """Return the direction that the interface's own or its private addresses suggest."""
    source, destination = key.source, key.destination
    if source is None or destination is None or source == destination:
        return None
    if (source in own) != (destination in own):
        return FlowDirection.EGRESS if source in own else FlowDirection.INGRESS
    if source.version == IPV4 and is_inside(source) != is_inside(destination):
        return FlowDirection.EGRESS if is_inside(source) else FlowDirection.INGRESS
    return None


def same_subnet(
    key: FlowKey,
    direction: FlowDirection | None,
    interface: Interface,
    subnets: dict[tuple[str | None, Address], set[str]],
) -> bool | None:
    """Whether both ends lie in the interface's subnet; ``None`` if the records do not show it."""
    if direction is None or len(interface.subnets) != 1:
        return None
    remote = key.packet_source if direction is FlowDirection.INGRESS else key.packet_destination
    known = subnets.get((interface.vpc_id, remote)) if remote is not None else None
    if known is None:
        return None
    # Overlapping VPCs may have the same address; an interface reaches the host in its own subnet.
    return bool(known & interface.subnets)
