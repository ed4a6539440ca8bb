"""Evidence of a TCP handshake in the rejected packets.

A SYN without ACK opens a connection, so the packet is a request. A SYN-ACK answers a SYN, so the
packet is a response; no security group blocks the response of a tracked connection. Which
interfaces AWS always tracks:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html. AWS
aggregates the flags of all packets of a record with OR, so a record may hold packets of two
connections (https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html).
"""

from __future__ import annotations

from flowverdict.network.model import NAT_GATEWAY_TYPES
from flowverdict.verdict.evidence_rules.predicates import (
    TIMESTAMP_SLACK_SECONDS,
    answers,
    clock_time,
    closes,
    is_tcp,
    not_after,
    only_handshakes,
    opens,
    reason_named,
    starts_within,
)
from flowverdict.verdict.evidence_rules.rule import (
    AWS_CONTROLS,
    CONNECTION_TRACKING,
    RECORD_EXAMPLES,
    Need,
    Rule,
)
from flowverdict.verdict.model import Cause, EvidenceKind, Facts, Leg, Strength

# As flow logs and EC2 name the interface types.
_ALWAYS_TRACKED = {*NAT_GATEWAY_TYPES, "network_load_balancer", "vpc_endpoint", "lambda"}


def _syn(facts: Facts) -> str | None:
    if not (is_tcp(facts) and opens(facts.flow.traffic.tcp_flags) and only_handshakes(facts)):
        return None
    return "tcp-flags have SYN without ACK: the rejected packets open a connection"


def _syn_in_some(facts: Facts) -> str | None:
    if not (is_tcp(facts) and opens(facts.flow.traffic.tcp_flags)) or only_handshakes(facts):
        return None
    return "tcp-flags of some rejected records have SYN without ACK: they open a connection"


def solicited_syn_ack(facts: Facts) -> str | None:
    """Return an observation if the packets answer an accepted SYN and no group can block them."""
    mirror = facts.flow.mirror
    if not _surely_tracked(facts) or reason_named(facts):
        return None
    if not (
        is_tcp(facts)
        and answers(facts.flow.traffic.common_flags)
        and mirror is not None
        and facts.flow.same is None
    ):
        return None
    if not only_handshakes(facts) or closes(mirror.tcp_flags):
        return None  # a side that has sent FIN or RST had been answered, though no record shows it
    if not (
        opens(mirror.tcp_flags)
        and not_after(mirror, facts.flow.traffic)
        and starts_within(facts, mirror, TIMESTAMP_SLACK_SECONDS)
    ):
        return None
    return (
        "tcp-flags have SYN-ACK, the SYN it answers was accepted at "
        f"{clock_time(mirror.first_start)}, and no security group can have blocked the reply"
    )


def _surely_tracked(facts: Facts) -> bool:
    """Whether AWS tracks every connection of the interface, so that no group blocks a reply.

    On other interfaces a rule for all addresses in both directions leaves a connection untracked.
    The rules as read do not show that: they, or the groups of the interface, may have been others
    when the connection began.
    """
    by_rules = None if facts.rules_check is None else facts.rules_check.interface.interface_type
    return bool({facts.flow.context.interface_type, by_rules} & _ALWAYS_TRACKED)


HANDSHAKE: tuple[Rule, ...] = (
    Rule(
        kind=EvidenceKind.TCP_SYN,
        when="`tcp-flags` have SYN without ACK",
        strikes=(Leg.RESPONSE, Cause.CLOSED_CONNECTION),
        strength=Strength.HARD,
        source=RECORD_EXAMPLES,
        observe=_syn,
        needs=Need.FLAGS,
    ),
    Rule(
        kind=EvidenceKind.TCP_SYN_ACK,
        when="`tcp-flags` have SYN-ACK, its SYN was accepted here no later, no packet of this "
        "direction ever was, and the interface is of a kind that AWS always tracks (NAT gateway, "
        "NLB, endpoint, Lambda)",
        strikes=(Leg.REQUEST, Cause.CLOSED_CONNECTION, *AWS_CONTROLS),
        by_absence=(Cause.CLOSED_CONNECTION,),
        strength=Strength.HARD,
        source=CONNECTION_TRACKING,
        observe=solicited_syn_ack,
        needs=Need.MIRROR,
    ),
    Rule(
        kind=EvidenceKind.TCP_SYN,
        when="`tcp-flags` have SYN without ACK, but not in all of the flow's rejected records, "
        "or with FIN or RST",
        strikes=(Leg.RESPONSE, Cause.CLOSED_CONNECTION),
        strength=Strength.SOFT,
        source=RECORD_EXAMPLES,
        observe=_syn_in_some,
        needs=Need.FLAGS,
    ),
)
