"""Records of one connection, accepted or rejected, for tests of what a collector makes of them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from flowverdict.flowlog.records import Action, FlowDirection, FlowRecord, LogStatus
from flowverdict.flows.collector import FlowCollector

if TYPE_CHECKING:
    from flowverdict.flowlog.object_key import Origin
    from flowverdict.flows.model import RejectedFlow

INGRESS, EGRESS = FlowDirection.INGRESS, FlowDirection.EGRESS
HOME, SERVER = "203.0.113.12", "172.31.16.139"
_ADDRESSES = ("srcaddr", "dstaddr", "pkt_srcaddr", "pkt_dstaddr")


def record(action: Action, source: str | None, destination: str | None, **more: Any) -> FlowRecord:  # noqa: ANN401 - its fields
    """Return a record of TCP 50122 -> 443 on one interface, with what else is named."""
    values: dict[str, Any] = {
        "interface_id": "eni-1",
        "srcaddr": source,
        "dstaddr": destination,
        "srcport": 50_122,
        "dstport": 443,
        "protocol": 6,
        "packets": 1,
        "bytes": 40,
        "start": 1000,
        "end": 1060,
        "action": action,
        "log_status": LogStatus.OK,
    }
    values |= more
    for name in _ADDRESSES:
        if values.get(name) is not None:
            values[name] = ip_address(values[name])
    return FlowRecord(**values)


def accept(source: str | None = HOME, destination: str | None = SERVER, **more: Any) -> FlowRecord:  # noqa: ANN401
    """Return an accepted record."""
    return record(Action.ACCEPT, source, destination, **more)


def reject(source: str | None = HOME, destination: str | None = SERVER, **more: Any) -> FlowRecord:  # noqa: ANN401
    """Return a rejected record."""
    return record(Action.REJECT, source, destination, **more)


def reply(source: str = SERVER, destination: str = HOME, **more: Any) -> FlowRecord:  # noqa: ANN401
    """Return a rejected record whose ports are those of ``accept`` the other way round."""
    return reject(source, destination, **({"srcport": 443, "dstport": 50_122} | more))


def collected(*records: FlowRecord, origin: Origin | None = None) -> FlowCollector:
    """Return a collector of these records."""
    collector = FlowCollector()
    for one in records:
        if origin is None:
            collector.add(one)
        else:
            collector.add(one, origin)
    return collector


def rejected(*records: FlowRecord, origin: Origin | None = None) -> list[RejectedFlow]:
    """Return the rejected flows of these records."""
    return list(collected(*records, origin=origin).rejected())


def only(*records: FlowRecord, origin: Origin | None = None) -> RejectedFlow:
    """Return the one rejected flow of these records."""
    (flow,) = rejected(*records, origin=origin)
    return flow
