"""Tell what hosts outside the organisation may have caused, from what only its own hosts do.

Whoever reaches a public address chooses when, from which address and from which port: the request,
and every reply to it, is what an outsider may have caused. A request that a host inside sent to the
internet is not, nor is the reply to it. Where that is not sure, an outsider may have caused it.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from flowverdict.core.protocols import SYSTEM_PORTS_END, Protocol
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.model import EVERYWHERE
from flowverdict.network.packet import Criterion
from flowverdict.verdict.evidence_rules.predicates import opens
from flowverdict.verdict.model import Confidence, Leg

if TYPE_CHECKING:
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.verdict.model import Verdict
    from flowverdict.verdict.rules_check import RulesCheck


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
    if flow.direction is None:  # nor do the addresses show one, as those of IPv6 do not
        return True
    begun_inside = Leg.REQUEST if flow.direction is FlowDirection.EGRESS else Leg.RESPONSE
    return verdict.leg is not begun_inside or verdict.confidence is Confidence.POSSIBLE


def answers_system_port(flow: RejectedFlow, verdict: Verdict) -> bool:
    """Return whether a packet outwards answers a port below 1024, which no client sends from.

    Not of a protocol whose both ends have the same low port. A packet without a direction may go
    outwards.
    """
    key = flow.key
    port = key.destination_port
    return (
        verdict.leg is Leg.RESPONSE
        and flow.direction is not FlowDirection.INGRESS
        and port is not None
        and port < SYSTEM_PORTS_END
        and key.protocol in {Protocol.TCP, Protocol.UDP}
        and not (
            key.protocol == Protocol.UDP
            and port == key.source_port
            and port in _SAME_PORT_AT_BOTH_ENDS
        )
    )


# A range of no more addresses than this is somebody's, whom a rule names on purpose.
_LEAST_PREFIX = {4: 24, 6: 48}


def invitation(check: RulesCheck) -> str | None:
    """Return what a group's rule offers the sender, or everybody, though not this; else ``None``.

    The rule names the sender's address for another port or protocol, or offers this port to all
    addresses of the other IP version. IPv4 and IPv6 need a rule each:
    https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html.
    """
    miss, source = check.groups.nearest_miss, check.packet.source
    if miss is None:
        return None
    if knows_sender(check):
        return f"{miss.rule} lets the sender in, for another {miss.differs}"
    peer = miss.rule.peer
    if (
        miss.differs is Criterion.PEER
        and isinstance(peer, IPv4Network | IPv6Network)
        and peer.version != source.version
        and peer == EVERYWHERE[peer.version]
    ):
        return f"{miss.rule} is for IPv{peer.version} alone, and this came over IPv{source.version}"
    return None


def knows_sender(check: RulesCheck) -> bool:
    """Return whether a group's rule names the sender's address, for another port or protocol.

    Such a sender is no stranger. Whoever can send over the other IP version may be one.
    """
    miss = check.groups.nearest_miss
    return (
        miss is not None
        and miss.differs is not Criterion.PEER
        and isinstance(miss.rule.peer, IPv4Network | IPv6Network)
        and miss.rule.peer.prefixlen >= _LEAST_PREFIX[miss.rule.peer.version]
    )


def is_backscatter(flow: RejectedFlow, verdict: Verdict) -> bool:
    """Return whether a packet answers a request that nobody here sent.

    Whoever sends requests in the name of a public address has a third party answer to it:
    https://www.caida.org/projects/network_telescope/.
    """
    flags = flow.traffic.tcp_flags
    return (
        verdict.leg is not Leg.RESPONSE
        and flow.key.protocol == Protocol.TCP
        and flags is not None
        and not opens(flags)
        and flow.mirror is None
        and flow.same is None
    )
