"""Evidence of accepted traffic: whether the rejected packets belong to an accepted connection.

Accepted records of the opposite direction show a request that this flow answers; accepted records
of both directions show a connection that goes on or is over. What AWS logs of a request and its
response: https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-records-examples.html. A packet
that arrives after its connection was closed is logged as REJECT:
https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html. This evidence is soft: a
lost or late record can overturn it.
"""

from __future__ import annotations

from flowverdict.core.protocols import protocol_name
from flowverdict.flowlog.records import FlowDirection
from flowverdict.verdict.evidence_rules.handshake import solicited_syn_ack
from flowverdict.verdict.evidence_rules.predicates import (
    accepted_request,
    answered_late,
    answers,
    both_accepted,
    clock_time,
    closes,
    flags_of,
    is_tcp,
    lacks_request,
    last_seen,
    not_after,
    opens,
    quiet_since,
    reply_like,
    resets,
)
from flowverdict.verdict.evidence_rules.rule import (
    AWS_CONTROLS,
    CONNECTION_TRACKING,
    FLOW_LOG_RECORDS,
    RECORD_EXAMPLES,
    Need,
    Rule,
    all_but,
)
from flowverdict.verdict.model import Cause, EvidenceKind, Facts, Leg, Strength


def _no_connection(facts: Facts) -> str | None:
    if is_tcp(facts) or facts.flow.key.protocol is None:
        return None
    return f"{protocol_name(facts.flow.key.protocol)} has no connection that could have been closed"


def _probably_solicited_syn_ack(facts: Facts) -> str | None:
    mirror = facts.flow.mirror
    if mirror is None or not _is_syn_ack(facts) or solicited_syn_ack(facts) is not None:
        return None
    what = "the SYN it answers" if opens(mirror.tcp_flags) else "the opposite direction"
    return f"tcp-flags have SYN-ACK, and {what} was accepted at {clock_time(mirror.first_start)}"


def _sent_syn_ack(facts: Facts) -> str | None:
    if not _is_syn_ack(facts) or facts.flow.mirror is not None or not _sent_by_interface(facts):
        return None
    return (
        "the interface itself sent a SYN-ACK, so a SYN had reached it, "
        "though no record of the SYN was seen"
    )


def _unsolicited_syn_ack(facts: Facts) -> str | None:
    if not _is_syn_ack(facts) or facts.flow.mirror is not None or _sent_by_interface(facts):
        return None
    return (
        "tcp-flags have SYN-ACK, but no request that it answers was seen: "
        "backscatter, or the request's record is elsewhere"
    )


def _is_syn_ack(facts: Facts) -> bool:
    return is_tcp(facts) and answers(facts.flow.traffic.tcp_flags)


def _sent_by_interface(facts: Facts) -> bool:
    return facts.flow.direction_logged and facts.flow.direction is FlowDirection.EGRESS


def _request_accepted(facts: Facts) -> str | None:
    mirror = accepted_request(facts)
    if mirror is None or facts.flow.key.source_port == facts.flow.key.destination_port != 0:
        return None
    if answered_late(facts):
        return None
    return (
        f"the opposite direction was accepted at {clock_time(mirror.first_start)}, "
        "this direction never was"
    )


def connection_ended(facts: Facts) -> str | None:
    """Return an observation if the connection was accepted and closed before these packets.

    The times of records that overlap show no order. Then FIN or RST shows it: of the side that
    sent the rejected packets, of both, or in the rejected packets themselves.
    """
    both = both_accepted(facts)
    flags = facts.flow.traffic.tcp_flags
    if both is None or not is_tcp(facts) or opens(flags) or answers(flags) or facts.acl_denies():
        return None
    if not any(closes(activity.tcp_flags) for activity in both):
        return None
    if quiet_since(facts, both):
        return (
            f"both directions were accepted until {clock_time(last_seen(both))} "
            "and FIN or RST was seen: the connection was over"
        )
    mirror, same = both
    if not (closes(same.tcp_flags) or resets(mirror.tcp_flags) or closes(flags)):
        return None
    return (
        "FIN or RST was seen in the accepted records of the connection: these are late packets of "
        "it (the times of the records overlap, which shows no order)"
    )


def _connection_goes_on(facts: Facts) -> str | None:
    both = both_accepted(facts)
    flags = facts.flow.traffic.tcp_flags
    if both is None or quiet_since(facts, both) or opens(flags):
        return None
    seen = [flags, *(activity.tcp_flags for activity in both)]
    if is_tcp(facts) and any(each is None or closes(each) for each in seen):
        return None
    return (
        f"packets of the connection were accepted until {clock_time(last_seen(both))}, "
        "after the reject began, and no FIN or RST was seen: the connection was not over"
    )


def tracked_connection_goes_on(facts: Facts) -> str | None:
    """Return an observation if a connection goes on that security groups should let pass."""
    if facts.groups_deny() or _connection_goes_on(facts) is None:
        return None
    return "a security group lets packets of a tracked connection pass, whatever its rules say now"


def _opened_by_other_side(facts: Facts) -> str | None:
    if facts.flow.same is None or not (
        opens(flags_of(facts.flow.mirror)) or answers(facts.flow.same.tcp_flags)
    ):
        return None
    return "tcp-flags of the accepted records show that the other side opened the connection"


def _opened_by_this_side(facts: Facts) -> str | None:
    if not (opens(flags_of(facts.flow.same)) or answers(flags_of(facts.flow.mirror))):
        return None
    return "tcp-flags of the accepted records show that this side opened the connection"


def _one_way_accepted(facts: Facts) -> str | None:
    same = facts.flow.same
    if same is None or facts.flow.mirror is not None:
        return None
    if reply_like(facts):
        return None
    when = "before" if not_after(same, facts.flow.traffic) else "later"
    return (
        f"the same flow was accepted {when} ({clock_time(same.first_start)}), "
        "so a rule changed; nothing answers the flow"
    )


def _no_request_seen(facts: Facts) -> str | None:
    if not (facts.flow.accepts_logged and lacks_request(facts)) or reply_like(facts):
        return None
    return (
        "accepted traffic of this interface is logged, "
        "but nothing in the opposite direction of this flow"
    )


CONNECTION: tuple[Rule, ...] = (
    Rule(
        kind=EvidenceKind.NOT_A_CONNECTION,
        when="the protocol is not TCP",
        strikes=(Cause.CLOSED_CONNECTION,),
        strength=Strength.SOFT,
        source=CONNECTION_TRACKING,
        observe=_no_connection,
    ),
    Rule(
        kind=EvidenceKind.TCP_SYN_ACK,
        when="`tcp-flags` have SYN-ACK and the opposite direction was accepted, "
        "but not all of the row on SYN-ACK above holds",
        strikes=(Leg.REQUEST, Cause.CLOSED_CONNECTION, *AWS_CONTROLS),
        by_absence=(Cause.CLOSED_CONNECTION,),
        strength=Strength.SOFT,
        source=CONNECTION_TRACKING,
        observe=_probably_solicited_syn_ack,
        needs=Need.MIRROR,
    ),
    Rule(
        kind=EvidenceKind.TCP_SYN_ACK,
        when="`tcp-flags` have SYN-ACK, `flow-direction` is egress, and no request was seen",
        strikes=(Leg.REQUEST, Cause.CLOSED_CONNECTION, *AWS_CONTROLS),
        by_absence=(Cause.CLOSED_CONNECTION,),
        strength=Strength.SOFT,
        source=RECORD_EXAMPLES,
        observe=_sent_syn_ack,
        needs=Need.FLAGS,
    ),
    Rule(
        kind=EvidenceKind.TCP_SYN_ACK_UNSOLICITED,
        when="`tcp-flags` have SYN-ACK, `flow-direction` is ingress or not logged, "
        "and no request was seen",
        strikes=(Cause.CLOSED_CONNECTION,),
        by_absence=(Cause.CLOSED_CONNECTION,),
        strength=Strength.SOFT,
        source=CONNECTION_TRACKING,
        observe=_unsolicited_syn_ack,
        needs=Need.FLAGS,
    ),
    Rule(
        kind=EvidenceKind.REQUEST_ACCEPTED,
        when="the opposite direction was accepted no later than the reject (UDP: at most 30 s "
        "before), this direction never",
        strikes=(Leg.REQUEST, Cause.CLOSED_CONNECTION, *AWS_CONTROLS),
        by_absence=(Leg.REQUEST, Cause.CLOSED_CONNECTION, *AWS_CONTROLS),
        strength=Strength.SOFT,
        source=RECORD_EXAMPLES,
        observe=_request_accepted,
        needs=Need.MIRROR,
    ),
    Rule(
        kind=EvidenceKind.CONNECTION_ENDED,
        when="both directions were accepted before, FIN or RST was seen, and nothing has been "
        "accepted since the reject; or the times overlap, and the FIN or RST is the sender's own, "
        "an RST of the other side, or in the rejected packets",
        strikes=all_but(Cause.CLOSED_CONNECTION),
        strength=Strength.SOFT,
        source=FLOW_LOG_RECORDS,
        observe=connection_ended,
        needs=Need.MIRROR | Need.SAME,
    ),
    Rule(
        kind=EvidenceKind.CONNECTION_ACCEPTED,
        when="both directions were accepted, one of them still after the reject began, "
        "and no FIN or RST was seen",
        strikes=(Cause.CLOSED_CONNECTION, *AWS_CONTROLS),
        by_absence=(Cause.CLOSED_CONNECTION,),
        strength=Strength.SOFT,
        source=CONNECTION_TRACKING,
        observe=_connection_goes_on,
        needs=Need.MIRROR | Need.SAME,
    ),
    Rule(
        kind=EvidenceKind.INITIATOR,
        when="`tcp-flags` of the accepted records show that the other side opened the connection",
        strikes=(Leg.REQUEST,),
        strength=Strength.SOFT,
        source=RECORD_EXAMPLES,
        observe=_opened_by_other_side,
        needs=Need.SAME,
    ),
    Rule(
        kind=EvidenceKind.INITIATOR,
        when="`tcp-flags` of the accepted records show that this side opened the connection",
        strikes=(Leg.RESPONSE,),
        strength=Strength.SOFT,
        source=RECORD_EXAMPLES,
        observe=_opened_by_this_side,
        needs=Need.ACCEPTED,
    ),
    Rule(
        kind=EvidenceKind.SAME_DIRECTION_ACCEPTED,
        when="the same direction was accepted at another time, the opposite one never, "
        "and neither ports nor rules suggest a reply",
        strikes=(Leg.RESPONSE,),
        by_absence=(Leg.RESPONSE,),
        strength=Strength.SOFT,
        source=RECORD_EXAMPLES,
        observe=_one_way_accepted,
        needs=Need.SAME,
    ),
    Rule(
        kind=EvidenceKind.NO_REQUEST_SEEN,
        when="the opposite direction was not accepted, though accepted traffic of the interface is "
        "logged, and neither ports nor rules suggest a reply",
        strikes=(Leg.RESPONSE, Cause.CLOSED_CONNECTION),
        by_absence=(Leg.RESPONSE, Cause.CLOSED_CONNECTION),
        strength=Strength.SOFT,
        source=RECORD_EXAMPLES,
        observe=_no_request_seen,
    ),
)
