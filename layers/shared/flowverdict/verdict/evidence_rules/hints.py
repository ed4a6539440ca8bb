"""Weak evidence: port numbers, missing records, and connections that went quiet.

A hint decides only where hard and soft evidence leave more than one hypothesis; the verdict is then
*possible*. That clients use ephemeral ports:
https://docs.aws.amazon.com/vpc/latest/userguide/custom-network-acl.html#nacl-ephemeral-ports.
"""

from __future__ import annotations

from flowverdict.core.addresses import kind_not_carried
from flowverdict.core.protocols import PortLook, Protocol
from flowverdict.flowlog.flow_key import IPV4
from flowverdict.network.packet import Outcome
from flowverdict.verdict.evidence_rules.connection import (
    connection_ended,
    tracked_connection_goes_on,
)
from flowverdict.verdict.evidence_rules.network_rules import allowed_only_direct
from flowverdict.verdict.evidence_rules.predicates import (
    SYN,
    accepted_request,
    answered_late,
    answers,
    both_accepted,
    clock_time,
    is_tcp,
    lacks_request,
    last_seen,
    not_after,
    only_groups_deny,
    opens,
    ports_look,
    public_access_or_rules,
    quiet_since,
    reply_like,
    sent_by_service,
    served_by,
)
from flowverdict.verdict.evidence_rules.rule import (
    AWS_CONTROLS,
    BLOCK_PUBLIC_ACCESS,
    CONNECTION_TRACKING,
    FLOW_LOG_RECORDS,
    LOAD_BALANCER_TARGETS,
    NETWORK_ACLS,
    PATH_MTU,
    RECORD_EXAMPLES,
    SUBNET_SIZING,
    Need,
    Rule,
    all_but,
)
from flowverdict.verdict.model import Cause, EvidenceKind, Facts, Leg, Strength


def _reply_without_request(facts: Facts) -> str | None:
    if not lacks_request(facts) or not reply_like(facts):
        return None
    return (
        f"{_why_a_reply(facts)}, but no request was seen although accepted traffic is logged: "
        "the request may be older than the log, or the connection was idle for too long"
    )


def _not_carried(facts: Facts) -> str | None:
    key = facts.flow.key
    destination = key.packet_destination
    by_rules = None if facts.rules_check is None else facts.rules_check.found_path.special
    for end in (destination, key.packet_source):
        special = by_rules if end is None else kind_not_carried(end) or by_rules
        if special is not None:
            return f"a VPC does not carry {special} packets, whatever its rules say"
    if destination is None or facts.rules_check is not None or key.protocol != Protocol.UDP:
        return None
    if destination.version == IPV4 and destination.packed[-1] == _LAST_OF_256:
        return (
            f"{destination} may be the broadcast address of its subnet, and a VPC does not carry "
            "broadcast packets"
        )
    return None


def _changed_or_untracked(facts: Facts) -> str | None:
    mirror = accepted_request(facts)
    if mirror is None or not only_groups_deny(facts):
        return None
    if is_tcp(facts) and answers(facts.flow.traffic.tcp_flags):
        return None
    return (
        "the network ACL lets the reply pass now: it has changed since, or the security groups do "
        "not track the connection, and have no rule for the reply"
    )


def _tracking_gone(facts: Facts) -> str | None:
    rules_check = facts.rules_check
    if not lacks_request(facts) or not sent_by_service(facts) or rules_check is None:
        return None
    if rules_check.acl_outcome is not Outcome.ALLOW or not facts.groups_deny():
        return None
    return (
        "the network ACL lets the packet pass, the security groups only in a connection that they "
        "track: its connection may have been idle for too long, or over"
    )


def _why_a_reply(facts: Facts) -> str:
    rule = served_by(facts)
    if rule is None:
        return f"{_ports(facts)} look like a reply"
    return f"{_ports(facts)} look like a reply, since {rule} is for port {_source_port(facts)}"


def _source_port(facts: Facts) -> int | None:
    return facts.flow.key.source_port


def _no_request_seen_anywhere(facts: Facts) -> str | None:
    if not (facts.flow.accepts_logged_elsewhere and lacks_request(facts)) or reply_like(facts):
        return None
    return "accepted traffic of other interfaces is logged, but none of this interface"


def _symmetric_request_accepted(facts: Facts) -> str | None:
    mirror = accepted_request(facts)
    if mirror is None or not facts.flow.key.source_port == facts.flow.key.destination_port != 0:
        return None
    return (
        f"the opposite direction was accepted at {clock_time(mirror.first_start)}, this direction "
        f"never was; both ports are {facts.flow.key.source_port}, so either side may have sent "
        "the request"
    )


def _request_accepted_in_doubt(facts: Facts) -> str | None:
    mirror = accepted_request(facts)
    if mirror is None or not answered_late(facts):
        return None
    return (
        f"the opposite direction was accepted from {clock_time(mirror.first_start)} on, this "
        f"direction never was; the reject began at {clock_time(facts.flow.traffic.first_start)}, "
        "and a security group tracks UDP without a reply for 30 s"
    )


def _icmp_error(facts: Facts) -> str | None:
    traffic = facts.flow.traffic
    if facts.flow.key.protocol not in {Protocol.ICMP, Protocol.ICMPV6} or not facts.acl_denies():
        return None
    if facts.flow.mirror is not None or traffic.packets == 0:
        return None
    size, rest = divmod(traffic.bytes, traffic.packets)
    if rest != 0 or size not in ICMP_ERROR_BYTES[facts.flow.key.protocol]:
        return None
    return (
        f"packets of {size} bytes are as long as ICMP errors such as 'fragmentation needed' (IPv4 "
        "type 3 code 4, IPv6 type 2), which security groups let in for tracked connections"
    )


def _late_packet(facts: Facts) -> str | None:
    flags = facts.flow.traffic.tcp_flags
    if not is_tcp(facts) or flags is None or flags & SYN or accepted_request(facts) is not None:
        return None
    if facts.acl_denies() or both_accepted(facts) is not None:
        return None
    return (
        "tcp-flags have no SYN and no handshake was seen: "
        "a packet of an earlier connection, which may be over"
    )


def _connection_went_quiet(facts: Facts) -> str | None:
    both = both_accepted(facts)
    flags = facts.flow.traffic.tcp_flags
    if both is None or not is_tcp(facts) or opens(flags) or answers(flags):
        return None
    if facts.acl_denies() or not quiet_since(facts, both) or connection_ended(facts) is not None:
        return None
    return (
        f"both directions were accepted until {clock_time(last_seen(both))}, nothing since: "
        "the connection may have been over"
    )


def _accepted_only_later(facts: Facts) -> str | None:
    mirror = facts.flow.mirror
    if mirror is None or facts.flow.same is not None or facts.flow.traffic.tcp_flags is not None:
        return None
    if not_after(mirror, facts.flow.traffic):
        return None
    return (
        f"the opposite direction was accepted, but at {clock_time(mirror.first_start)}, not before "
        f"the reject ({clock_time(facts.flow.traffic.first_start)}): the log's times may be off by "
        "a minute, or earlier records of the opposite direction are elsewhere"
    )


def _accepts_not_logged(facts: Facts) -> str | None:
    if facts.flow.accepts_logged or facts.flow.traffic.tcp_flags is not None:
        return None
    return (
        "no accepted traffic of this interface was seen, "
        "so the records cannot show an earlier connection"
    )


def _request_ports(facts: Facts) -> str | None:
    if ports_look(facts) is not PortLook.REQUEST or answers(facts.flow.traffic.tcp_flags):
        return None
    return f"{_ports(facts)} look like a request"


def _reply_ports(facts: Facts) -> str | None:
    if (
        ports_look(facts) is not PortLook.REPLY
        or lacks_request(facts)
        or answers(facts.flow.traffic.tcp_flags)
    ):
        return None
    return f"{_ports(facts)} look like a reply"


_LAST_OF_256 = 255

# An ICMP error quotes the packet that it is about: the header and eight bytes of it, or as much as
# fits into the least size that every network carries (RFC 792, RFC 1812, RFC 4443).
ICMP_ERROR_BYTES: dict[int | None, frozenset[int]] = {
    Protocol.ICMP: frozenset({56, 68, 576}),
    Protocol.ICMPV6: frozenset({96, 108, 1_280}),
}


def _ports(facts: Facts) -> str:
    return f"ports {facts.flow.key.source_port} -> {facts.flow.key.destination_port}"


HINTS: tuple[Rule, ...] = (
    Rule(
        kind=EvidenceKind.CONFLICT,
        when="Block Public Access concerns an outbound packet that a layer denies too, and "
        "`reject-reason` is not in the format",
        strikes=(),
        strength=Strength.WEAK,
        source=BLOCK_PUBLIC_ACCESS,
        observe=public_access_or_rules,
        needs=Need.RULES,
        conflicts=True,
    ),
    Rule(
        kind=EvidenceKind.NOT_CARRIED,
        when="a packet's address is a multicast, broadcast or link-local address, or may be the "
        "broadcast address of a subnet",
        strikes=(),
        strength=Strength.WEAK,
        source=SUBNET_SIZING,
        observe=_not_carried,
        conflicts=True,
    ),
    Rule(
        kind=EvidenceKind.CONFLICT,
        when="a reply to an accepted request: the network ACL, as read, allows it, and no security "
        "group would as a new connection",
        strikes=(),
        strength=Strength.WEAK,
        source=CONNECTION_TRACKING,
        observe=_changed_or_untracked,
        needs=Need.RULES | Need.MIRROR,
        conflicts=True,
    ),
    Rule(
        kind=EvidenceKind.ONLY_DIRECT,
        when="only a rule that refers to the sender's group allows the packet, and a load balancer "
        "that keeps the client's address is not excluded",
        strikes=(),
        strength=Strength.WEAK,
        source=LOAD_BALANCER_TARGETS,
        observe=allowed_only_direct,
        needs=Need.RULES,
        conflicts=True,
    ),
    Rule(
        kind=EvidenceKind.ICMP_ERROR,
        when="the network ACL denies ICMP packets of the size of an ICMP error",
        strikes=(Cause.SECURITY_GROUP,),
        strength=Strength.WEAK,
        source=PATH_MTU,
        observe=_icmp_error,
        needs=Need.RULES,
    ),
    Rule(
        kind=EvidenceKind.CONNECTION_ACCEPTED,
        when="packets of the connection were accepted after the reject began, no FIN or RST was "
        "seen, and the security groups, as read, do not deny it",
        strikes=(Cause.SECURITY_GROUP,),
        strength=Strength.WEAK,
        source=CONNECTION_TRACKING,
        observe=tracked_connection_goes_on,
        needs=Need.MIRROR | Need.SAME,
    ),
    Rule(
        kind=EvidenceKind.CONNECTION_ENDED,
        when="a reply of a service, by its port or by a rule, to a request that was not seen; the "
        "network ACL, as read, allows it, and the security groups do not",
        strikes=all_but(Cause.CLOSED_CONNECTION),
        strength=Strength.WEAK,
        source=CONNECTION_TRACKING,
        observe=_tracking_gone,
        needs=Need.RULES,
    ),
    Rule(
        kind=EvidenceKind.REQUEST_ACCEPTED,
        when="the opposite direction was accepted no later than the reject, this direction never, "
        "but the flow is UDP and more than 30 s passed",
        strikes=(Leg.REQUEST, Cause.CLOSED_CONNECTION, *AWS_CONTROLS),
        strength=Strength.WEAK,
        source=CONNECTION_TRACKING,
        observe=_request_accepted_in_doubt,
        needs=Need.MIRROR,
    ),
    Rule(
        kind=EvidenceKind.CONFLICT,
        when="no request was seen though accepted traffic is logged, "
        "but ports or rules suggest a reply",
        strikes=(),
        strength=Strength.WEAK,
        source=FLOW_LOG_RECORDS,
        observe=_reply_without_request,
        conflicts=True,
    ),
    Rule(
        kind=EvidenceKind.NO_REQUEST_SEEN,
        when="no accepted traffic of the interface is logged, "
        "though accepted traffic of other interfaces in the same files is",
        strikes=(Leg.RESPONSE, Cause.CLOSED_CONNECTION),
        strength=Strength.WEAK,
        source=RECORD_EXAMPLES,
        observe=_no_request_seen_anywhere,
    ),
    Rule(
        kind=EvidenceKind.REQUEST_ACCEPTED,
        when="the opposite direction was accepted first, "
        "and both ports are the same (NTP, for example)",
        strikes=(Leg.REQUEST, Cause.CLOSED_CONNECTION, *AWS_CONTROLS),
        strength=Strength.WEAK,
        source=CONNECTION_TRACKING,
        observe=_symmetric_request_accepted,
        needs=Need.MIRROR,
    ),
    Rule(
        kind=EvidenceKind.TCP_LATE_PACKET,
        when="`tcp-flags` have no SYN, and no handshake was seen",
        strikes=all_but(Cause.CLOSED_CONNECTION),
        strength=Strength.WEAK,
        source=FLOW_LOG_RECORDS,
        observe=_late_packet,
        needs=Need.FLAGS,
    ),
    Rule(
        kind=EvidenceKind.CONNECTION_ACCEPTED,
        when="both directions were accepted before, without FIN or RST in the log, "
        "and nothing has been accepted since",
        strikes=all_but(Cause.CLOSED_CONNECTION),
        strength=Strength.WEAK,
        source=FLOW_LOG_RECORDS,
        observe=_connection_went_quiet,
        needs=Need.MIRROR | Need.SAME,
    ),
    Rule(
        kind=EvidenceKind.REQUEST_ACCEPTED,
        when="the opposite direction was accepted only later, this direction never",
        strikes=(Cause.CLOSED_CONNECTION,),
        strength=Strength.WEAK,
        source=FLOW_LOG_RECORDS,
        observe=_accepted_only_later,
        needs=Need.MIRROR,
    ),
    Rule(
        kind=EvidenceKind.ACCEPTS_NOT_LOGGED,
        when="no accepted traffic of the interface is logged (a REJECT-only flow log, for example)",
        strikes=(Cause.CLOSED_CONNECTION,),
        strength=Strength.WEAK,
        source=FLOW_LOG_RECORDS,
        observe=_accepts_not_logged,
    ),
    Rule(
        kind=EvidenceKind.PORTS,
        when="ports: from an ephemeral port to a service's port",
        strikes=(Leg.RESPONSE,),
        strength=Strength.WEAK,
        source=NETWORK_ACLS,
        observe=_request_ports,
    ),
    Rule(
        kind=EvidenceKind.PORTS,
        when="ports: from a service's port to an ephemeral port, "
        "unless a request would have been logged and was not",
        strikes=(Leg.REQUEST,),
        strength=Strength.WEAK,
        source=NETWORK_ACLS,
        observe=_reply_ports,
    ),
)
