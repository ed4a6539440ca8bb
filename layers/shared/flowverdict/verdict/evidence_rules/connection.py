"""TODO flowverdict.verdict.evidence_rules.connection."""

from __future__ import annotations

from flowverdict.core.protocols import PortLook, protocol_name
from flowverdict.flowlog.records import FlowDirection
from flowverdict.verdict.evidence_rules.handshake import solicited_syn_ack
from flowverdict.verdict.evidence_rules.predicates import (
    accepted_request,
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
    ports_look,
    quiet_since,
)
from flowverdict.verdict.evidence_rules.rule import (
    ALL_BUT_CLOSED,
    AWS_CONTROLS,
    CONNECTION_TRACKING,
    FLOW_LOG_RECORDS,
    RECORD_EXAMPLES,
    Rule,
)
from flowverdict.verdict.model import Cause, EvidenceKind, Facts, Leg, Strength


def _probably_solicited_syn_ack(facts: Facts) -> str | None:
    mirror = facts.flow.mirror
    if not (is_tcp(facts) and answers(facts.flow.traffic.tcp_flags) and mirror is not None):
        return None
    if solicited_syn_ack(facts) is not None:
        return None
    what = "the SYN it answers" if opens(mirror.tcp_flags) else "the opposite direction"
    return f"tcp-flags have SYN-ACK, and {what} was accepted at {clock_time(mirror.first_start)}"


def _sent_syn_ack(facts: Facts) -> str | None:
    if not (is_tcp(facts) and answers(facts.flow.traffic.tcp_flags) and facts.flow.mirror is None):
        return None
    if not (facts.flow.direction_logged and facts.flow.direction is FlowDirection.EGRESS):
        return None
    return "the interface itself sent a SYN-ACK, so a SYN had reached it, though no record of it was seen"


def _unsolicited_syn_ack(facts: Facts) -> str | None:
    if not (is_tcp(facts) and answers(facts.flow.traffic.tcp_flags) and facts.flow.mirror is None):
        return None
    if _sent_syn_ack(facts) is not None:
        return None
    return "tcp-flags have SYN-ACK, but no request that it answers was seen: backscatter, or the request's record is elsewhere"


def _request_accepted(facts: Facts) -> str | None:
    mirror = accepted_request(facts)
    if mirror is None or facts.flow.key.source_port == facts.flow.key.destination_port != 0:
        return None
    return f"the opposite direction was accepted at {clock_time(mirror.first_start)}, this direction never was"


def connection_ended(facts: Facts) -> str | None:
    both = both_accepted(facts)
    if (
        both is None
        or not is_tcp(facts)
        or opens(facts.flow.traffic.tcp_flags)
        or answers(facts.flow.traffic.tcp_flags)
    ):
        return None
    if facts.acl_denies():
        return None
    mirror, same = both
    if not (closes(mirror.tcp_flags) or closes(same.tcp_flags)) or not quiet_since(facts, both):
        return None
    return f"both directions were accepted until {clock_time(last_seen(both))} and FIN or RST was seen: the connection was over"


def _connection_goes_on(facts: Facts) -> str | None:
    both = both_accepted(facts)
    if both is None or quiet_since(facts, both) or opens(facts.flow.traffic.tcp_flags):
        return None
    return f"packets of the connection were accepted until {clock_time(last_seen(both))}, after the reject began: it was not over"


def _answering_side(facts: Facts) -> str | None:
    if facts.flow.same is None or not (
        opens(flags_of(facts.flow.mirror)) or answers(facts.flow.same.tcp_flags)
    ):
        return None
    return "the accepted packets' tcp-flags show that the other side opened the connection"


def _asking_side(facts: Facts) -> str | None:
    if not (opens(flags_of(facts.flow.same)) or answers(flags_of(facts.flow.mirror))):
        return None
    return "the accepted packets' tcp-flags show that this side opened the connection"


def _one_way_accepted(facts: Facts) -> str | None:
    if facts.flow.same is None or facts.flow.mirror is not None:
        return None
    when = "before" if not_after(facts.flow.same, facts.flow.traffic) else "later"
    return f"the same flow was accepted {when} ({clock_time(facts.flow.same.first_start)}), so a rule changed; nothing answers it"


def _no_request_seen(facts: Facts) -> str | None:
    if (
        not (facts.flow.accepts_logged and lacks_request(facts))
        or ports_look(facts) is PortLook.REPLY
        or facts.flow.records_lost
    ):
        return None
    return "accepted traffic of this interface is logged, but nothing in the opposite direction of this flow"


def _no_connection(facts: Facts) -> str | None:
    if is_tcp(facts) or facts.flow.key.protocol is None:
        return None
    return f"{protocol_name(facts.flow.key.protocol)} has no connection that could have been closed"


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
        when="`tcp-flags` have SYN-ACK and the opposite direction was accepted, but not all of the row above holds",
        strikes=(Leg.REQUEST, Cause.CLOSED_CONNECTION, *AWS_CONTROLS),
        strength=Strength.SOFT,
        source=CONNECTION_TRACKING,
        observe=_probably_solicited_syn_ack,
    ),
    Rule(
        kind=EvidenceKind.TCP_SYN_ACK,
        when="`tcp-flags` have SYN-ACK, `flow-direction` is egress, and no request was seen",
        strikes=(Leg.REQUEST, Cause.CLOSED_CONNECTION, *AWS_CONTROLS),
        strength=Strength.SOFT,
        source=RECORD_EXAMPLES,
        observe=_sent_syn_ack,
    ),
    Rule(
        kind=EvidenceKind.TCP_SYN_ACK_UNSOLICITED,
        when="`tcp-flags` have SYN-ACK, coming in or with no direction logged, and no request was seen",
        strikes=(Cause.CLOSED_CONNECTION,),
        strength=Strength.SOFT,
        source=CONNECTION_TRACKING,
        observe=_unsolicited_syn_ack,
    ),
    Rule(
        kind=EvidenceKind.REQUEST_ACCEPTED,
        when="the opposite direction was accepted no later than the reject, this direction never",
        strikes=(Leg.REQUEST, Cause.CLOSED_CONNECTION, *AWS_CONTROLS),
        strength=Strength.SOFT,
        source=RECORD_EXAMPLES,
        observe=_request_accepted,
    ),
    Rule(
        kind=EvidenceKind.CONNECTION_ENDED,
        when="both directions were accepted before, FIN or RST was seen, and nothing has been accepted since the reject",
        strikes=ALL_BUT_CLOSED,
        strength=Strength.SOFT,
        source=FLOW_LOG_RECORDS,
        observe=connection_ended,
    ),
    Rule(
        kind=EvidenceKind.CONNECTION_ACCEPTED,
        when="both directions were accepted, one of them still after the reject began",
        strikes=(Cause.SECURITY_GROUP, Cause.CLOSED_CONNECTION, *AWS_CONTROLS),
        strength=Strength.SOFT,
        source=CONNECTION_TRACKING,
        observe=_connection_goes_on,
    ),
    Rule(
        kind=EvidenceKind.INITIATOR,
        when="the accepted packets' `tcp-flags` show that the other side opened the connection",
        strikes=(Leg.REQUEST,),
        strength=Strength.SOFT,
        source=RECORD_EXAMPLES,
        observe=_answering_side,
    ),
    Rule(
        kind=EvidenceKind.INITIATOR,
        when="the accepted packets' `tcp-flags` show that this side opened the connection",
        strikes=(Leg.RESPONSE,),
        strength=Strength.SOFT,
        source=RECORD_EXAMPLES,
        observe=_asking_side,
    ),
    Rule(
        kind=EvidenceKind.SAME_DIRECTION_ACCEPTED,
        when="the same direction was accepted at another time, the opposite one never",
        strikes=(Leg.RESPONSE,),
        strength=Strength.SOFT,
        source=RECORD_EXAMPLES,
        observe=_one_way_accepted,
    ),
    Rule(
        kind=EvidenceKind.NO_REQUEST_SEEN,
        when="the opposite direction was not accepted, though accepted traffic of the interface is logged",
        strikes=(Leg.RESPONSE, Cause.CLOSED_CONNECTION),
        strength=Strength.SOFT,
        source=RECORD_EXAMPLES,
        observe=_no_request_seen,
    ),
)
