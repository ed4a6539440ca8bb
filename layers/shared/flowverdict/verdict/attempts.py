"""Tell the attempts of scanning sources from the requests of clients.

From the internet, ``SCAN_TARGETS`` different ports or addresses make a scan. From inside, only
different *ports* count: a client that cannot reach one service on many hosts is one fault of one
rule. High ports count as a single port there, because RPC and passive FTP use another with every
connection. A packet whose ports look like a reply's is not an attempt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flowverdict.core.protocols import PortLook, port_look, without_ephemeral
from flowverdict.verdict.model import Leg, VerdictKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.flowlog.flow_key import FlowKey
    from flowverdict.flowlog.records import FlowDirection
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.verdict.model import Verdict


# A client with a wrong address tries one or two ports, a browser or an agent a handful; scanners
# try hundreds.
SCAN_TARGETS = 10

_BLOCKED = {
    VerdictKind.SECURITY_GROUP,
    VerdictKind.NETWORK_ACL,
    VerdictKind.NETWORK_ACL_AND_SECURITY_GROUP,
    VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP,
    VerdictKind.UNDETERMINED,
}


class ScanScope(NamedTuple):
    """Where a scan was seen, and whether it came from inside."""

    account_id: str | None
    region: str | None
    vpc_id: str | None
    interface_id: str | None
    direction: FlowDirection | None
    inside: bool
    reported_by: str | None


def is_attempt(flow: RejectedFlow, verdict: Verdict) -> bool:
    """Return whether a rejected flow may be one of the targets that a scan tries."""
    key = flow.key
    return (
        verdict.kind in _BLOCKED
        and verdict.leg is not Leg.RESPONSE
        and flow.direction is not None
        and key.packet_source is not None
        and port_look(key.source_port, key.destination_port) is not PortLook.REPLY
    )


def scan_scope_of(flow: RejectedFlow, *, inside: bool) -> ScanScope:
    """Return where a flow counts towards a scan; ``inside`` is where its source is."""
    context = flow.context
    return ScanScope(
        account_id=context.account_id,
        region=context.region,
        vpc_id=context.vpc_id,
        interface_id=flow.key.interface if context.vpc_id is None else None,
        direction=flow.direction,
        inside=inside,
        reported_by=context.reported_by,
    )


def is_scan(keys: Iterable[FlowKey], *, inside: bool) -> bool:
    """Return whether what one source tried in one scope is so much that it is a scan."""
    if inside:
        return (
            len({(key.protocol, without_ephemeral(key.destination_port)) for key in keys})
            >= SCAN_TARGETS
        )
    targets = {(key.packet_destination, key.protocol, key.destination_port) for key in keys}
    return len(targets) >= SCAN_TARGETS
