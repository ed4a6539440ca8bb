"""Tell what hosts outside the organisation may have caused, from what only its own hosts do.

Whoever reaches a public address chooses when, from which address and from which port: the request,
and every reply to it, is what an outsider may have caused. A request that a host inside sent to the
internet is not, nor is the reply to it. Where that is not sure, an outsider may have caused it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.core.addresses import is_inside
from flowverdict.core.protocols import SYSTEM_PORTS_END, Protocol
from flowverdict.flowlog.records import FlowDirection
from flowverdict.verdict.model import Confidence, Leg

if TYPE_CHECKING:
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.verdict.model import Verdict


# DNS between servers (https://www.rfc-editor.org/rfc/rfc5452#section-4.5), NTP
# (https://www.rfc-editor.org/rfc/rfc5905#section-7.2) and IKE
# (https://www.rfc-editor.org/rfc/rfc7296#section-2): one low port at both ends.
_SAME_PORT_AT_BOTH_ENDS = frozenset({53, 123, 500})


def may_be_from_outside(flow: RejectedFlow, verdict: Verdict, *, ends_are_inside: bool) -> bool:
    """Return whether a host outside may have caused a rejected packet by itself.

    ``ends_are_inside`` is whether both ends are inside the organisation.
    """
    if ends_are_inside:
        return False
    begun_inside = Leg.REQUEST if _goes_out(flow) else Leg.RESPONSE
    return verdict.leg is not begun_inside or verdict.confidence is Confidence.POSSIBLE


def answers_system_port(flow: RejectedFlow, verdict: Verdict) -> bool:
    """Return whether a packet outwards answers a port below 1024, which no client sends from.

    Not of a protocol whose both ends have the same low port.
    """
    key = flow.key
    port = key.destination_port
    return (
        verdict.leg is Leg.RESPONSE
        and _goes_out(flow)
        and port is not None
        and port < SYSTEM_PORTS_END
        and key.protocol in {Protocol.TCP, Protocol.UDP}
        and not (
            key.protocol == Protocol.UDP
            and port == key.source_port
            and port in _SAME_PORT_AT_BOTH_ENDS
        )
    )


def _goes_out(flow: RejectedFlow) -> bool:
    """Return whether the packet goes to the far end; without a direction, by its source."""
    if flow.direction is not None:
        return flow.direction is FlowDirection.EGRESS
    source = flow.key.packet_source
    return source is not None and is_inside(source)
