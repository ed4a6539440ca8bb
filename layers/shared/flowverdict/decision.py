"""Why a flow was rejected: evidence in, verdict out. Pure, and kept as a table.

The user's rules, which AWS's documentation confirms: a rejected *response* can only be the network ACL's doing, because
security groups are stateful; a rejected *request* may be either's. AWS adds causes that are neither: packets that arrive
after the connection was closed, VPC Block Public Access and Encryption Controls.

A hypothesis is a leg and a cause. The decision starts from all of them, each piece of evidence strikes some out, and what
is left is the verdict. ``RULES`` is the whole decision, in order; the README's table is printed from it.

How sure a verdict is follows from the weakest evidence it needs. *Hard* evidence follows from how AWS works and cannot
mislead; if it alone gives the verdict, the verdict is ``certain``. With *soft* evidence, which a lost or late record can
overturn, it is ``likely``; with *weak* evidence such as port numbers, ``possible``. Evidence that contradicts itself makes
a verdict ``possible`` and both sides are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from flowverdict.flows import RejectedFlow, epoch_to_datetime
from flowverdict.netconfig.evaluate import Outcome
from flowverdict.netconfig.model import FORWARDING_TYPES, NAT_GATEWAY_TYPES
from flowverdict.records import FlowDirection, RejectReason
from flowverdict.services import PortLook, Protocol, has_ports, port_look, protocol_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from flowverdict.accepts import Seen
    from flowverdict.ruling import Ruling


class Leg(StrEnum):
    """Which half of a connection a packet belongs to."""

    REQUEST = "request"
    RESPONSE = "response"
    UNKNOWN = "unknown"


class Cause(StrEnum):
    """What can make AWS log a REJECT (https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html)."""

    NETWORK_ACL = "network ACL"
    SECURITY_GROUP = "security group"
    CLOSED_CONNECTION = "closed connection"
    BLOCK_PUBLIC_ACCESS = "Block Public Access"
    ENCRYPTION_CONTROLS = "Encryption Controls"
    CHANGED_RULE = "rule changed since"


class VerdictKind(StrEnum):
    """The verdicts of the ``explain`` contract."""

    SECURITY_GROUP = "security-group"
    NETWORK_ACL = "network-acl"
    NETWORK_ACL_AND_SECURITY_GROUP = "network-acl-and-security-group"
    NETWORK_ACL_OR_SECURITY_GROUP = "network-acl-or-security-group"
    BLOCK_PUBLIC_ACCESS = "block-public-access"
    ENCRYPTION_CONTROLS = "encryption-controls"
    CLOSED_CONNECTION = "closed-connection"
    RULES_ALLOW = "rules-allow"
    UNDETERMINED = "undetermined"


class Confidence(StrEnum):
    """How sure a verdict is."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


class Strength(IntEnum):
    """How far a piece of evidence can be trusted."""

    HARD = 0
    SOFT = 1
    WEAK = 2


class EvidenceKind(StrEnum):
    """Names of the pieces of evidence, as they stand in ``explain``'s output."""

    REJECT_REASON = "reject-reason"
    PRIVATE_ADDRESSES = "private-addresses"
    SAME_SUBNET = "same-subnet"
    NAT_GATEWAY = "nat-gateway"
    TCP_SYN = "tcp-syn"
    TCP_SYN_ACK = "tcp-syn-ack"
    TCP_SYN_ACK_UNSOLICITED = "tcp-syn-ack-unsolicited"
    TCP_LATE_PACKET = "tcp-late-packet"
    REQUEST_ACCEPTED = "request-accepted"
    CONNECTION_ACCEPTED = "connection-accepted"
    CONNECTION_ENDED = "connection-ended"
    INITIATOR = "initiator"
    SAME_DIRECTION_ACCEPTED = "same-direction-accepted"
    NO_REQUEST_SEEN = "no-request-seen"
    ACCEPTS_NOT_LOGGED = "accepts-not-logged"
    NOT_A_CONNECTION = "not-a-connection"
    PORTS = "ports"
    CONFLICT = "conflict"
    BLOCK_PUBLIC_ACCESS_ON = "block-public-access-on"
    NO_ENDPOINT = "no-endpoint"
    NETWORK_ACL_ALLOWS = "network-acl-allows"
    NETWORK_ACL_DENIES = "network-acl-denies"
    SECURITY_GROUPS_ALLOW = "security-groups-allow"
    SECURITY_GROUPS_DENY = "security-groups-deny"
    RULES_UNCLEAR = "rules-unclear"
    RULES_NOT_READ = "rules-not-read"


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One way a reject can have come about."""

    leg: Leg
    cause: Cause

    def __str__(self) -> str:
        return f"{self.leg} and {self.cause}"


# A security group never blocks a response: it lets the answers of what it let through pass. That is the user's table in one line.
HYPOTHESES = frozenset(
    Hypothesis(leg, cause)
    for leg in (Leg.REQUEST, Leg.RESPONSE)
    for cause in Cause
    if (leg, cause) != (Leg.RESPONSE, Cause.SECURITY_GROUP)
)


# Without the rules nobody can say that one has changed since, so this is a hypothesis only where they were read.
_WITHOUT_RULES = frozenset(one for one in HYPOTHESES if one.cause is not Cause.CHANGED_RULE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known about a rejected flow: what the records show, and what the rules say (``None`` if not read)."""

    flow: RejectedFlow
    ruling: Ruling | None = None

    def acl_denies(self) -> bool:
        """Whether the network ACL, as it was read, denies the packet."""
        return self.ruling is not None and self.ruling.acl_outcome is Outcome.DENY

    def groups_deny(self) -> bool:
        """Whether the security groups, as they were read, deny the packet, taken for a request."""
        return self.ruling is not None and self.ruling.groups.outcome is Outcome.DENY


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One observation, in words, and how far it can be trusted."""

    kind: EvidenceKind
    detail: str
    strength: Strength


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is left when the evidence has struck out the rest.

    ``causes`` are the causes still standing, most telling for ``undetermined``; ``evidence`` is in the order used.
    """

    kind: VerdictKind
    leg: Leg
    confidence: Confidence
    causes: frozenset[Cause]
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A row of the decision table.

    Parameters
    ----------
    when
        What has to be observed, in words, for the table in the README.
    strikes
        Every hypothesis with one of these legs or causes, and these very hypotheses, are struck out.
    source
        The AWS page it rests on, or how it follows.
    observe
        Gives the observation in words for this flow, ``None`` where the rule does not apply.
    conflicts
        The evidence speaks both ways: nothing is struck out and the verdict can be no more than possible.
    """

    kind: EvidenceKind
    when: str
    strikes: tuple[Leg | Cause | Hypothesis, ...]
    strength: Strength
    source: str
    observe: Callable[[Facts], str | None]
    conflicts: bool = False


_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16

# AWS: `start` and `end` may lie up to 60 s after the packet was on the wire.
TIMESTAMP_SLACK_SECONDS = 60

# How long a security group remembers an idle flow at least by default (Nitro v6; other types remember TCP for five days):
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html
_TRACKED_SECONDS = {Protocol.TCP: 350, Protocol.UDP: 30}
_TRACKED_SECONDS_OTHER = 600


def _is_tcp(facts: Facts) -> bool:
    return facts.flow.key.protocol == Protocol.TCP


def _flags(traffic: Seen | None) -> int | None:
    return None if traffic is None else traffic.tcp_flags


def opens(flags: int | None) -> bool:
    """Whether SYN was seen without ACK: only the side that starts a connection sends that."""
    return flags is not None and bool(flags & _SYN) and not flags & _ACK


def answers(flags: int | None) -> bool:
    """Whether SYN was seen with ACK: only the side that was asked sends that."""
    return flags is not None and bool(flags & _SYN) and bool(flags & _ACK)


def _ends(flags: int | None) -> bool:
    return flags is not None and bool(flags & (_FIN | _RST))


def _not_after(first: Seen, second: Seen) -> bool:
    """Whether ``first`` certainly began no later than ``second``, as far as the log's own times go."""
    return first.first_start is not None and second.first_start is not None and first.first_start <= second.first_start


def _within(facts: Facts, mirror: Seen, seconds: int) -> bool:
    """Whether the reject began at most so many seconds after the mirror was last seen."""
    if mirror.last_end is None or facts.flow.traffic.first_start is None:
        return False
    return facts.flow.traffic.first_start <= mirror.last_end + seconds


def _clock(seconds: int | None) -> str:
    return "an unknown time" if seconds is None else f"{epoch_to_datetime(seconds):%H:%M:%S}"


# --- observations -----------------------------------------------------------------------------------------------------


def _block_public_access(facts: Facts) -> str | None:
    if facts.flow.reject_reasons != {RejectReason.BLOCK_PUBLIC_ACCESS}:
        return None
    return "reject-reason is BPA: VPC Block Public Access rejected it"


def _encryption_controls(facts: Facts) -> str | None:
    if facts.flow.reject_reasons != {RejectReason.ENCRYPTION_CONTROLS}:
        return None
    return "reject-reason is EC: VPC Encryption Controls rejected it"


def _other_reason(facts: Facts) -> str | None:
    if facts.flow.reject_reasons != {RejectReason.OTHER}:
        return None
    return "reject-reason is logged and empty: neither Block Public Access nor Encryption Controls"


def _reason_unlogged(facts: Facts) -> bool:
    """Whether nothing is said of the reason for some records, and no reason with a name for any."""
    return None in facts.flow.reject_reasons and facts.flow.reject_reasons <= {None, RejectReason.OTHER}


def _reason_named(facts: Facts) -> bool:
    """Whether AWS itself names the reason, which no inference of ours overrules."""
    return facts.flow.reject_reasons in ({RejectReason.BLOCK_PUBLIC_ACCESS}, {RejectReason.ENCRYPTION_CONTROLS})


def _reason_not_told(facts: Facts) -> str | None:
    if not _reason_unlogged(facts) or _public_access_blocked(facts) is not None:
        return None
    return "reject-reason is not logged; Block Public Access and Encryption Controls are taken to be off"


def _reasons_at_odds(facts: Facts) -> str | None:
    reasons = facts.flow.reject_reasons
    if _reason_named(facts) or _reason_unlogged(facts) or reasons == {RejectReason.OTHER}:
        return None
    named = ", ".join(sorted("not logged" if reason is None else reason for reason in reasons))
    return f"reject-reason is {named}: the flow's records do not agree, or the value is newer than this program"


def _public_access_blocked(facts: Facts) -> str | None:
    ruling = facts.ruling
    if not _reason_unlogged(facts) or ruling is None or ruling.block_public_access is None or facts.flow.mirror is not None:
        return None
    return f"the VPC's internet gateways are closed ({ruling.block_public_access}), and the remote address is public"


_ENDPOINT_TYPES = {"vpc_endpoint", "gateway_load_balancer_endpoint"}


def _no_endpoint(facts: Facts) -> str | None:
    ruling = facts.ruling
    if ruling is None or ruling.interface.interface_type is None or ruling.interface.interface_type in _ENDPOINT_TYPES:
        return None
    if _reason_named(facts):
        return None
    if (ruling.interface.description or "").startswith("VPC Endpoint"):
        return None  # AWS shows some endpoints' interfaces as plain ones
    return "the interface is no VPC endpoint's, where Encryption Controls reject"


def _private_addresses(facts: Facts) -> str | None:
    if facts.flow.between_private_addresses is not True or _reason_named(facts):
        return None
    return "both packet addresses are private, and Block Public Access concerns internet traffic only"


def _same_subnet(facts: Facts) -> str | None:
    if facts.flow.context.interface_type in FORWARDING_TYPES or (facts.ruling is not None and facts.ruling.interface.forwards):
        return None  # what it forwards may come from another subnet, whatever its addresses say
    by_rules = facts.ruling is not None and facts.ruling.stays_in_subnet is True
    if not (by_rules or facts.flow.same_subnet is True):
        return None
    subnet = facts.ruling.interface.subnet_id if by_rules and facts.ruling is not None else facts.flow.context.subnet_id
    return f"both ends lie in {subnet}, and network ACLs are checked only at a subnet's boundary"


def _nat_gateway(facts: Facts) -> str | None:
    by_type = facts.flow.context.interface_type == "nat_gateway"
    by_rules = facts.ruling is not None and facts.ruling.interface.is_nat_gateway
    return "the interface is a NAT gateway's, which has no security group" if by_type or by_rules else None


def _regional_nat_gateway(facts: Facts) -> str | None:
    context = facts.flow.context
    by_resource = context.resource_id is not None and context.resource_id.startswith("nat-")
    if context.interface_type != "regional_nat_gateway" and not by_resource:
        return None
    return "it is a regional NAT gateway's, which has no security group"


def _syn(facts: Facts) -> str | None:
    if not (_is_tcp(facts) and opens(facts.flow.traffic.tcp_flags) and _nothing_but_handshakes(facts)):
        return None
    return "tcp-flags have SYN without ACK: the rejected packets open a connection"


def _nothing_but_handshakes(facts: Facts) -> bool:
    """Whether every rejected record has SYN and none has FIN or RST, which belong to a connection that was there before."""
    return bool(facts.flow.traffic.common_flags & _SYN) and not _ends(facts.flow.traffic.tcp_flags)


def _syn_in_some(facts: Facts) -> str | None:
    if not (_is_tcp(facts) and opens(facts.flow.traffic.tcp_flags)) or _nothing_but_handshakes(facts):
        return None
    return "tcp-flags of some rejected packets have SYN without ACK: they open a connection"


def _surely_tracked(facts: Facts) -> bool:
    """Whether no security group can have blocked this packet as a reply, not even one that a rule was taken from.

    What a rule for all addresses lets in, and another out again, is not tracked. Rules as read do not tell: they, or the
    groups of the interface, may have been others when the connection began.
    """
    by_rules = None if facts.ruling is None else facts.ruling.interface.interface_type
    return bool({facts.flow.context.interface_type, by_rules} & _ALWAYS_TRACKED)


# As flow logs and EC2 name them: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html
_ALWAYS_TRACKED = {*NAT_GATEWAY_TYPES, "network_load_balancer", "vpc_endpoint", "lambda"}


def _solicited_syn_ack(facts: Facts) -> str | None:
    mirror = facts.flow.mirror
    if not _surely_tracked(facts) or _reason_named(facts):
        return None
    if not (_is_tcp(facts) and answers(facts.flow.traffic.common_flags) and mirror is not None and facts.flow.same is None):
        return None
    if not _nothing_but_handshakes(facts) or _ends(mirror.tcp_flags):
        return None  # a side that has sent FIN or RST had been answered, though no record shows it
    if not (opens(mirror.tcp_flags) and _not_after(mirror, facts.flow.traffic) and _within(facts, mirror, TIMESTAMP_SLACK_SECONDS)):
        return None
    return (
        f"tcp-flags have SYN-ACK, the SYN it answers was accepted at {_clock(mirror.first_start)}, "
        "and no security group can have blocked the reply"
    )


def _probably_solicited_syn_ack(facts: Facts) -> str | None:
    mirror = facts.flow.mirror
    if not (_is_tcp(facts) and answers(facts.flow.traffic.tcp_flags) and mirror is not None):
        return None
    if _solicited_syn_ack(facts) is not None:
        return None
    what = "the SYN it answers" if opens(mirror.tcp_flags) else "the opposite direction"
    return f"tcp-flags have SYN-ACK, and {what} was accepted at {_clock(mirror.first_start)}"


def _sent_syn_ack(facts: Facts) -> str | None:
    if not (_is_tcp(facts) and answers(facts.flow.traffic.tcp_flags) and facts.flow.mirror is None):
        return None
    if not (facts.flow.direction_logged and facts.flow.direction is FlowDirection.EGRESS):
        return None
    return "the interface itself sent a SYN-ACK, so a SYN had reached it, though no record of it was seen"


def _unsolicited_syn_ack(facts: Facts) -> str | None:
    if not (_is_tcp(facts) and answers(facts.flow.traffic.tcp_flags) and facts.flow.mirror is None):
        return None
    if _sent_syn_ack(facts) is not None:
        return None
    return "tcp-flags have SYN-ACK, but no request that it answers was seen: backscatter, or the request's record is elsewhere"


def _request_accepted(facts: Facts) -> str | None:
    mirror = _accepted_request(facts)
    if mirror is None or facts.flow.key.source_port == facts.flow.key.destination_port != 0:
        return None
    return f"the opposite direction was accepted at {_clock(mirror.first_start)}, this direction never was"


def _symmetric_request_accepted(facts: Facts) -> str | None:
    mirror = _accepted_request(facts)
    if mirror is None or not facts.flow.key.source_port == facts.flow.key.destination_port != 0:
        return None
    return (
        f"the opposite direction was accepted at {_clock(mirror.first_start)}, this one never was; "
        f"both ports are {facts.flow.key.source_port}, so either side may have asked"
    )


def _accepted_request(facts: Facts) -> Seen | None:
    """Give the mirror if it reads as the request of this flow."""
    mirror = facts.flow.mirror
    if mirror is None or facts.flow.same is not None or not _not_after(mirror, facts.flow.traffic):
        return None
    if not _within(facts, mirror, _TRACKED_SECONDS.get(facts.flow.key.protocol, _TRACKED_SECONDS_OTHER)):  # type: ignore[call-overload]
        return None
    if _is_tcp(facts):
        flags = facts.flow.traffic.tcp_flags
        if flags is not None and (flags & _SYN or not opens(mirror.tcp_flags)):
            return None
    return mirror


def _late_packet(facts: Facts) -> str | None:
    flags = facts.flow.traffic.tcp_flags
    if not _is_tcp(facts) or flags is None or flags & _SYN or _accepted_request(facts) is not None:
        return None
    if facts.acl_denies() or _both_accepted(facts) is not None:
        return None
    return "tcp-flags have no SYN and no handshake was seen: a packet of a connection that was there before, or is no more"


def _both_accepted(facts: Facts) -> tuple[Seen, Seen] | None:
    if facts.flow.mirror is None or facts.flow.same is None:
        return None
    if not (_not_after(facts.flow.mirror, facts.flow.traffic) or _not_after(facts.flow.same, facts.flow.traffic)):
        return None
    return facts.flow.mirror, facts.flow.same


def _quiet_since(facts: Facts, both: tuple[Seen, Seen]) -> bool:
    """Whether nothing of the connection was accepted after the reject began."""
    start = facts.flow.traffic.first_start
    return start is not None and all(traffic.last_end is not None and traffic.last_end <= start for traffic in both)


def _connection_ended(facts: Facts) -> str | None:
    both = _both_accepted(facts)
    if both is None or not _is_tcp(facts) or opens(facts.flow.traffic.tcp_flags) or answers(facts.flow.traffic.tcp_flags):
        return None
    if facts.acl_denies():
        return None
    mirror, same = both
    if not (_ends(mirror.tcp_flags) or _ends(same.tcp_flags)) or not _quiet_since(facts, both):
        return None
    return f"both directions were accepted until {_clock(_last(both))} and FIN or RST was seen: the connection was over"


def _connection_went_quiet(facts: Facts) -> str | None:
    both = _both_accepted(facts)
    if both is None or not _is_tcp(facts) or not _quiet_since(facts, both) or _connection_ended(facts) is not None:
        return None
    if facts.acl_denies():
        return None
    if opens(facts.flow.traffic.tcp_flags) or answers(facts.flow.traffic.tcp_flags):
        return None
    return f"both directions were accepted until {_clock(_last(both))}, nothing since: the connection may have been over"


def _connection_goes_on(facts: Facts) -> str | None:
    both = _both_accepted(facts)
    if both is None or _quiet_since(facts, both) or opens(facts.flow.traffic.tcp_flags):
        return None
    return f"packets of the connection were accepted until {_clock(_last(both))}, after the reject began: it was not over"


def _last(both: tuple[Seen, Seen]) -> int | None:
    return max((traffic.last_end for traffic in both if traffic.last_end is not None), default=None)


def _answering_side(facts: Facts) -> str | None:
    if facts.flow.same is None or not (opens(_flags(facts.flow.mirror)) or answers(facts.flow.same.tcp_flags)):
        return None
    return "the accepted packets' tcp-flags show that the other side opened the connection"


def _asking_side(facts: Facts) -> str | None:
    if not (opens(_flags(facts.flow.same)) or answers(_flags(facts.flow.mirror))):
        return None
    return "the accepted packets' tcp-flags show that this side opened the connection"


def _one_way_accepted(facts: Facts) -> str | None:
    if facts.flow.same is None or facts.flow.mirror is not None:
        return None
    when = "before" if _not_after(facts.flow.same, facts.flow.traffic) else "later"
    return f"the same flow was accepted {when} ({_clock(facts.flow.same.first_start)}), so a rule changed; nothing answers it"


def _no_request_seen(facts: Facts) -> str | None:
    if not (facts.flow.accepts_logged and _lacks_request(facts)) or _look(facts) is PortLook.REPLY or facts.flow.records_lost:
        return None
    return "accepted traffic of this interface is logged, but nothing in the opposite direction of this flow"


def _no_request_seen_but_records_lost(facts: Facts) -> str | None:
    if not (facts.flow.accepts_logged and facts.flow.records_lost and _lacks_request(facts)) or _look(facts) is PortLook.REPLY:
        return None
    return "nothing in the opposite direction of this flow was accepted, but AWS lost records of this interface (SKIPDATA)"


def _no_request_seen_anywhere(facts: Facts) -> str | None:
    if not (facts.flow.accepts_logged_elsewhere and _lacks_request(facts)) or _look(facts) is PortLook.REPLY:
        return None
    return "accepted traffic of other interfaces is logged, of this one none at all"


def _reply_without_request(facts: Facts) -> str | None:
    if not _lacks_request(facts) or _look(facts) is not PortLook.REPLY:
        return None
    return (
        f"ports {facts.flow.key.source_port} -> {facts.flow.key.destination_port} look like a reply, "
        "but no request was seen although accepted traffic is logged"
    )


def _lacks_request(facts: Facts) -> bool:
    """Whether a request would have been seen if there had been one; where flags are logged, they say more."""
    if not (facts.flow.accepts_logged or facts.flow.accepts_logged_elsewhere):
        return False
    if facts.flow.mirror is not None or facts.flow.same is not None:
        return False
    return not (_is_tcp(facts) and facts.flow.traffic.tcp_flags is not None)


def _look(facts: Facts) -> PortLook:
    key = facts.flow.key
    return port_look(key.source_port, key.destination_port) if has_ports(key.protocol) else PortLook.NEITHER


def _accepts_not_logged(facts: Facts) -> str | None:
    if facts.flow.accepts_logged or facts.flow.traffic.tcp_flags is not None:
        return None
    return "no accepted traffic of this interface was seen: nothing shows an earlier connection, and nothing could"


def _accepted_only_later(facts: Facts) -> str | None:
    mirror = facts.flow.mirror
    if mirror is None or facts.flow.same is not None or facts.flow.traffic.tcp_flags is not None:
        return None
    if _not_after(mirror, facts.flow.traffic):
        return None
    return (
        f"the opposite direction was accepted, but at {_clock(mirror.first_start)}, not before the reject "
        f"({_clock(facts.flow.traffic.first_start)}): the log's times may be off by a minute, or its earlier records lie elsewhere"
    )


def _no_connection(facts: Facts) -> str | None:
    if _is_tcp(facts) or facts.flow.key.protocol is None:
        return None
    return f"{protocol_name(facts.flow.key.protocol)} has no connection that could have been closed"


def _request_ports(facts: Facts) -> str | None:
    if _look(facts) is not PortLook.REQUEST or answers(facts.flow.traffic.tcp_flags):
        return None
    return f"ports {facts.flow.key.source_port} -> {facts.flow.key.destination_port} look like a request"


def _reply_ports(facts: Facts) -> str | None:
    if _look(facts) is not PortLook.REPLY or _lacks_request(facts) or answers(facts.flow.traffic.tcp_flags):
        return None
    return f"ports {facts.flow.key.source_port} -> {facts.flow.key.destination_port} look like a reply"


def _acl_allows(facts: Facts) -> str | None:
    ruling = facts.ruling
    if ruling is None or ruling.acl is None or ruling.acl.outcome is not Outcome.ALLOW:
        return None
    return f"{ruling.acl.network_acl_id} {ruling.acl.entry} lets it pass{_when_read(ruling)}"


def _acl_denies(facts: Facts) -> str | None:
    ruling = facts.ruling
    if ruling is None or ruling.acl is None or ruling.acl.outcome is not Outcome.DENY:
        return None
    return f"{ruling.acl.network_acl_id} {ruling.acl.entry} blocks it{_when_read(ruling)}"


def _groups_allow(facts: Facts) -> str | None:
    ruling = facts.ruling
    if ruling is None or ruling.groups.outcome is not Outcome.ALLOW or ruling.interface.is_nat_gateway:
        return None
    if ruling.groups.rule is None:
        return "; ".join(ruling.groups.reasons)
    return f"{ruling.groups.rule} lets it pass{_when_read(ruling)}"


def _groups_deny(facts: Facts) -> str | None:
    ruling = facts.ruling
    if ruling is None or ruling.groups.outcome is not Outcome.DENY:
        return None
    miss = ruling.groups.nearest_miss
    nearest = "" if miss is None else f"; the nearest, {miss.rule}, differs in its {miss.differs}"
    way = "in" if ruling.direction is FlowDirection.INGRESS else "out"
    return f"taken for a request, no rule of {', '.join(ruling.groups.group_ids or ())} lets it {way}{nearest}{_when_read(ruling)}"


def _rules_unclear(facts: Facts) -> str | None:
    ruling = facts.ruling
    if ruling is None:
        return None
    unclear = [*(ruling.acl.reasons if ruling.acl is not None and ruling.acl.outcome is Outcome.UNKNOWN else ())]
    if ruling.acl is not None and ruling.acl.outcome is not Outcome.UNKNOWN and ruling.acl.possible:
        first = ", ".join(str(entry) for entry in ruling.acl.possible)
        unclear.append(f"in {ruling.acl.network_acl_id} these may match before the entry that surely does: {first}")
    unclear += ruling.groups.reasons if ruling.groups.outcome is Outcome.UNKNOWN else ()
    return f"the rules leave it open: {'; '.join(unclear)}" if unclear else None


def _when_read(ruling: Ruling) -> str:
    return "" if ruling.read_at is None else f" (rules read {ruling.read_at:%H:%M})"


# --- the table --------------------------------------------------------------------------------------------------------

_VPC = "https://docs.aws.amazon.com/vpc/latest/userguide/"
_RECORDS = f"{_VPC}flow-log-records.html"
_EXAMPLES = f"{_VPC}flow-logs-records-examples.html"
_ACLS = f"{_VPC}vpc-network-acls.html"
_BPA = f"{_VPC}security-vpc-bpa-basics.html"
_NAT = f"{_VPC}nat-gateway-basics.html"
_TRACKING = "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html"

_OTHERS = (Cause.BLOCK_PUBLIC_ACCESS, Cause.ENCRYPTION_CONTROLS)
_ALL_BUT_CLOSED = tuple(cause for cause in Cause if cause is not Cause.CLOSED_CONNECTION)
_GROUPS = f"{_VPC}security-group-rules.html"

RULES: tuple[Rule, ...] = (
    Rule(
        kind=EvidenceKind.REJECT_REASON,
        when="`reject-reason` is `BPA`",
        strikes=tuple(cause for cause in Cause if cause is not Cause.BLOCK_PUBLIC_ACCESS),
        strength=Strength.HARD,
        source=_RECORDS,
        observe=_block_public_access,
    ),
    Rule(
        kind=EvidenceKind.REJECT_REASON,
        when="`reject-reason` is `EC`",
        strikes=tuple(cause for cause in Cause if cause is not Cause.ENCRYPTION_CONTROLS),
        strength=Strength.HARD,
        source=_RECORDS,
        observe=_encryption_controls,
    ),
    Rule(
        kind=EvidenceKind.REJECT_REASON,
        when="`reject-reason` is logged and `-`",
        strikes=_OTHERS,
        strength=Strength.HARD,
        source=_RECORDS,
        observe=_other_reason,
    ),
    Rule(
        kind=EvidenceKind.PRIVATE_ADDRESSES,
        when="`pkt-srcaddr` and `pkt-dstaddr` are both private",
        strikes=(Cause.BLOCK_PUBLIC_ACCESS,),
        strength=Strength.HARD,
        source=_BPA,
        observe=_private_addresses,
    ),
    Rule(
        kind=EvidenceKind.SAME_SUBNET,
        when="both ends lie in one subnet (`subnet-id` of both interfaces, or the subnet's range)",
        strikes=(Cause.NETWORK_ACL, Cause.BLOCK_PUBLIC_ACCESS),
        strength=Strength.SOFT,  # a load balancer that keeps the client's address brings it in from another subnet
        source=_ACLS,
        observe=_same_subnet,
    ),
    Rule(
        kind=EvidenceKind.NAT_GATEWAY,
        when="the interface is a zonal NAT gateway's (`interface-type`, or EC2 says so)",
        strikes=(Cause.SECURITY_GROUP,),
        strength=Strength.HARD,
        source=_NAT,
        observe=_nat_gateway,
    ),
    Rule(
        kind=EvidenceKind.NAT_GATEWAY,
        when="the record is a regional NAT gateway's (`resource-id`), which lies in no subnet",
        strikes=(Cause.SECURITY_GROUP,),
        strength=Strength.SOFT,
        source=_NAT,
        observe=_regional_nat_gateway,
    ),
    Rule(
        kind=EvidenceKind.TCP_SYN,
        when="`tcp-flags` have SYN without ACK",
        strikes=(Leg.RESPONSE, Cause.CLOSED_CONNECTION),
        strength=Strength.HARD,
        source=_EXAMPLES,
        observe=_syn,
    ),
    Rule(
        kind=EvidenceKind.TCP_SYN_ACK,
        when="`tcp-flags` have SYN-ACK, its SYN was accepted here no later, no packet of this direction ever was, "
        "and the interface is of a kind that AWS always tracks (NAT gateway, NLB, endpoint, Lambda)",
        strikes=(Leg.REQUEST, Cause.CLOSED_CONNECTION, *_OTHERS),
        strength=Strength.HARD,
        source=_TRACKING,
        observe=_solicited_syn_ack,
    ),
    Rule(
        kind=EvidenceKind.TCP_SYN,
        when="`tcp-flags` have SYN without ACK, but not in all of the flow's rejected records, or with FIN or RST",
        strikes=(Leg.RESPONSE, Cause.CLOSED_CONNECTION),
        strength=Strength.SOFT,
        source=_EXAMPLES,
        observe=_syn_in_some,
    ),
    Rule(
        kind=EvidenceKind.NO_ENDPOINT,
        when="EC2 says that the interface is no VPC endpoint's",
        strikes=(Cause.ENCRYPTION_CONTROLS,),
        strength=Strength.HARD,
        source=f"{_VPC}vpc-encryption-controls.html",
        observe=_no_endpoint,
    ),
    Rule(
        kind=EvidenceKind.REJECT_REASON,
        when="`reject-reason` differs between the flow's records, or has an unknown value",
        strikes=(),
        strength=Strength.SOFT,
        source=_RECORDS,
        observe=_reasons_at_odds,
        conflicts=True,
    ),
    Rule(
        kind=EvidenceKind.REJECT_REASON,
        when="`reject-reason` is not in the format",
        strikes=_OTHERS,
        strength=Strength.SOFT,
        source=_RECORDS,
        observe=_reason_not_told,
    ),
    Rule(
        kind=EvidenceKind.NOT_A_CONNECTION,
        when="the protocol is not TCP",
        strikes=(Cause.CLOSED_CONNECTION,),
        strength=Strength.SOFT,
        source=_TRACKING,
        observe=_no_connection,
    ),
    Rule(
        kind=EvidenceKind.TCP_SYN_ACK,
        when="`tcp-flags` have SYN-ACK and the opposite direction was accepted, but not all of the row above holds",
        strikes=(Leg.REQUEST, Cause.CLOSED_CONNECTION, *_OTHERS),
        strength=Strength.SOFT,
        source=_TRACKING,
        observe=_probably_solicited_syn_ack,
    ),
    Rule(
        kind=EvidenceKind.TCP_SYN_ACK,
        when="`tcp-flags` have SYN-ACK, `flow-direction` is egress, and no request was seen",
        strikes=(Leg.REQUEST, Cause.CLOSED_CONNECTION, *_OTHERS),
        strength=Strength.SOFT,
        source=_EXAMPLES,
        observe=_sent_syn_ack,
    ),
    Rule(
        kind=EvidenceKind.TCP_SYN_ACK_UNSOLICITED,
        when="`tcp-flags` have SYN-ACK, coming in or with no direction logged, and no request was seen",
        strikes=(Cause.CLOSED_CONNECTION,),
        strength=Strength.SOFT,
        source=_TRACKING,
        observe=_unsolicited_syn_ack,
    ),
    Rule(
        kind=EvidenceKind.REQUEST_ACCEPTED,
        when="the opposite direction was accepted no later than the reject, this direction never",
        strikes=(Leg.REQUEST, Cause.CLOSED_CONNECTION, *_OTHERS),
        strength=Strength.SOFT,
        source=_EXAMPLES,
        observe=_request_accepted,
    ),
    Rule(
        kind=EvidenceKind.CONNECTION_ENDED,
        when="both directions were accepted before, FIN or RST was seen, and nothing has been accepted since the reject",
        strikes=_ALL_BUT_CLOSED,
        strength=Strength.SOFT,
        source=_RECORDS,
        observe=_connection_ended,
    ),
    Rule(
        kind=EvidenceKind.CONNECTION_ACCEPTED,
        when="both directions were accepted, one of them still after the reject began",
        strikes=(Cause.SECURITY_GROUP, Cause.CLOSED_CONNECTION, *_OTHERS),
        strength=Strength.SOFT,
        source=_TRACKING,
        observe=_connection_goes_on,
    ),
    Rule(
        kind=EvidenceKind.INITIATOR,
        when="the accepted packets' `tcp-flags` show that the other side opened the connection",
        strikes=(Leg.REQUEST,),
        strength=Strength.SOFT,
        source=_EXAMPLES,
        observe=_answering_side,
    ),
    Rule(
        kind=EvidenceKind.INITIATOR,
        when="the accepted packets' `tcp-flags` show that this side opened the connection",
        strikes=(Leg.RESPONSE,),
        strength=Strength.SOFT,
        source=_EXAMPLES,
        observe=_asking_side,
    ),
    Rule(
        kind=EvidenceKind.SAME_DIRECTION_ACCEPTED,
        when="the same direction was accepted at another time, the opposite one never",
        strikes=(Leg.RESPONSE,),
        strength=Strength.SOFT,
        source=_EXAMPLES,
        observe=_one_way_accepted,
    ),
    Rule(
        kind=EvidenceKind.NO_REQUEST_SEEN,
        when="the opposite direction was not accepted, though accepted traffic of the interface is logged",
        strikes=(Leg.RESPONSE, Cause.CLOSED_CONNECTION),
        strength=Strength.SOFT,
        source=_EXAMPLES,
        observe=_no_request_seen,
    ),
    Rule(
        kind=EvidenceKind.BLOCK_PUBLIC_ACCESS_ON,
        when="the VPC has Block Public Access on, the remote address is public, and `reject-reason` is not in the format",
        strikes=tuple(cause for cause in Cause if cause is not Cause.BLOCK_PUBLIC_ACCESS),
        strength=Strength.SOFT,
        source=_BPA,
        observe=_public_access_blocked,
    ),
    Rule(
        kind=EvidenceKind.NETWORK_ACL_ALLOWS,
        when="the network ACL, as read, allows the packet",
        strikes=(Cause.NETWORK_ACL,),
        strength=Strength.SOFT,
        source=_ACLS,
        observe=_acl_allows,
    ),
    Rule(
        kind=EvidenceKind.NETWORK_ACL_DENIES,
        when="the network ACL, as read, denies the packet",
        strikes=(Cause.CLOSED_CONNECTION, Cause.CHANGED_RULE, *_OTHERS),
        strength=Strength.SOFT,
        source=_ACLS,
        observe=_acl_denies,
    ),
    Rule(
        kind=EvidenceKind.SECURITY_GROUPS_ALLOW,
        when="a security group of the interface, as read, allows the packet",
        strikes=(Cause.SECURITY_GROUP,),
        strength=Strength.SOFT,
        source=_GROUPS,
        observe=_groups_allow,
    ),
    Rule(
        kind=EvidenceKind.SECURITY_GROUPS_DENY,
        when="no security group of the interface, as read, allows the packet",
        strikes=(Hypothesis(Leg.REQUEST, Cause.CLOSED_CONNECTION), Hypothesis(Leg.REQUEST, Cause.CHANGED_RULE)),
        strength=Strength.SOFT,
        source=_GROUPS,
        observe=_groups_deny,
    ),
    Rule(
        kind=EvidenceKind.CONFLICT,
        when="the same, but the ports look like a reply's",
        strikes=(),
        strength=Strength.WEAK,
        source=_RECORDS,
        observe=_reply_without_request,
        conflicts=True,
    ),
    Rule(
        kind=EvidenceKind.NO_REQUEST_SEEN,
        when="the opposite direction was not accepted, but AWS lost records of the interface (SKIPDATA)",
        strikes=(Leg.RESPONSE, Cause.CLOSED_CONNECTION),
        strength=Strength.WEAK,
        source=_RECORDS,
        observe=_no_request_seen_but_records_lost,
    ),
    Rule(
        kind=EvidenceKind.NO_REQUEST_SEEN,
        when="no accepted traffic of the interface is logged at all, though that of others in the same files is",
        strikes=(Leg.RESPONSE, Cause.CLOSED_CONNECTION),
        strength=Strength.WEAK,
        source=_EXAMPLES,
        observe=_no_request_seen_anywhere,
    ),
    Rule(
        kind=EvidenceKind.REQUEST_ACCEPTED,
        when="the opposite direction was accepted first, and both ports are the same (NTP, for one)",
        strikes=(Leg.REQUEST, Cause.CLOSED_CONNECTION, *_OTHERS),
        strength=Strength.WEAK,
        source=_TRACKING,
        observe=_symmetric_request_accepted,
    ),
    Rule(
        kind=EvidenceKind.TCP_LATE_PACKET,
        when="`tcp-flags` have no SYN, and no handshake was seen",
        strikes=_ALL_BUT_CLOSED,
        strength=Strength.WEAK,
        source=_RECORDS,
        observe=_late_packet,
    ),
    Rule(
        kind=EvidenceKind.CONNECTION_ACCEPTED,
        when="both directions were accepted before, without FIN or RST in the log, and nothing has been accepted since",
        strikes=_ALL_BUT_CLOSED,
        strength=Strength.WEAK,
        source=_RECORDS,
        observe=_connection_went_quiet,
    ),
    Rule(
        kind=EvidenceKind.REQUEST_ACCEPTED,
        when="the opposite direction was accepted only later, this direction never",
        strikes=(Cause.CLOSED_CONNECTION,),
        strength=Strength.WEAK,
        source=_RECORDS,
        observe=_accepted_only_later,
    ),
    Rule(
        kind=EvidenceKind.ACCEPTS_NOT_LOGGED,
        when="no accepted traffic of the interface is logged (a REJECT-only flow log, for one)",
        strikes=(Cause.CLOSED_CONNECTION,),
        strength=Strength.WEAK,
        source=_RECORDS,
        observe=_accepts_not_logged,
    ),
    Rule(
        kind=EvidenceKind.PORTS,
        when="ports: from an ephemeral one to a service's",
        strikes=(Leg.RESPONSE,),
        strength=Strength.WEAK,
        source=_ACLS,
        observe=_request_ports,
    ),
    Rule(
        kind=EvidenceKind.PORTS,
        when="ports: from a service's to an ephemeral one, where no request is missed",
        strikes=(Leg.REQUEST,),
        strength=Strength.WEAK,
        source=_ACLS,
        observe=_reply_ports,
    ),
)

_CONFIDENCE = {Strength.HARD: Confidence.CERTAIN, Strength.SOFT: Confidence.LIKELY, Strength.WEAK: Confidence.POSSIBLE}

_KINDS = {
    frozenset({Cause.NETWORK_ACL}): VerdictKind.NETWORK_ACL,
    frozenset({Cause.SECURITY_GROUP}): VerdictKind.SECURITY_GROUP,
    frozenset({Cause.NETWORK_ACL, Cause.SECURITY_GROUP}): VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP,
    frozenset({Cause.CLOSED_CONNECTION}): VerdictKind.CLOSED_CONNECTION,
    frozenset({Cause.BLOCK_PUBLIC_ACCESS}): VerdictKind.BLOCK_PUBLIC_ACCESS,
    frozenset({Cause.ENCRYPTION_CONTROLS}): VerdictKind.ENCRYPTION_CONTROLS,
    frozenset({Cause.CHANGED_RULE}): VerdictKind.RULES_ALLOW,
}

# For these the leg changes nothing about what to do, so not knowing it does not make the verdict less sure.
_LEG_IS_INCIDENTAL = {VerdictKind.CLOSED_CONNECTION, VerdictKind.BLOCK_PUBLIC_ACCESS, VerdictKind.ENCRYPTION_CONTROLS}


def _strike(hypotheses: frozenset[Hypothesis], rules: Iterable[Rule]) -> frozenset[Hypothesis]:
    struck = {item for rule in rules for item in rule.strikes}
    return frozenset(one for one in hypotheses if not struck & {one, one.leg, one.cause})


def _reading(hypotheses: frozenset[Hypothesis]) -> tuple[VerdictKind, Leg]:
    # That a rule has changed is an answer only where nothing else is left: it was one layer or the other all the same.
    telling = [one for one in hypotheses if one.cause is not Cause.CHANGED_RULE] or hypotheses
    legs = {one.leg for one in telling}
    kind = _KINDS.get(frozenset(one.cause for one in telling), VerdictKind.UNDETERMINED)
    return kind, legs.pop() if len(legs) == 1 else Leg.UNKNOWN


def decide(facts: Facts, rules_not_read: str | None = None) -> Verdict:
    """Say why a flow was rejected. ``certain`` is only what hard evidence alone leaves no other explanation for.

    ``rules_not_read`` says why there is no ruling although one was asked for; it is shown with the evidence.
    """
    observed = [(rule, detail) for rule in RULES if (detail := rule.observe(facts)) is not None]
    if _reason_named(facts):
        # AWS's own word: what else suggests itself cannot make it less sure.
        observed = [(rule, detail) for rule, detail in observed if rule.strength is Strength.HARD]
    remaining: dict[Strength, frozenset[Hypothesis]] = {}
    standing = _WITHOUT_RULES if facts.ruling is None else HYPOTHESES
    contradicted = False
    for strength in Strength:
        left = _strike(standing, [rule for rule, _ in observed if rule.strength is strength])
        # Evidence of one strength that leaves nothing contradicts what is stronger, and is not followed.
        contradicted = contradicted or (not left and strength is not Strength.WEAK)
        standing = left if left or strength is Strength.HARD else standing
        remaining[strength] = standing
    conflicting = contradicted or any(rule.conflicts for rule, _ in observed)
    settled = _settled(remaining)
    kind, leg = _reading(remaining[settled])
    if kind is VerdictKind.UNDETERMINED or conflicting:
        settled = Strength.WEAK
    if kind is VerdictKind.RULES_ALLOW:
        settled = max(settled, Strength.SOFT)  # it says what is now; what was then, nobody has seen
    if kind is VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP and facts.acl_denies() and facts.groups_deny():
        # Both would block it now. What hard evidence says of then does not tell them apart, so this is not certain.
        # A group that denies is innocent of a reply, so with the leg unknown it is a guess.
        kind = VerdictKind.NETWORK_ACL_AND_SECURITY_GROUP
        settled = max(settled, Strength.WEAK if leg is Leg.UNKNOWN else Strength.SOFT)
    evidence = [
        Evidence(kind=rule.kind, detail=detail, strength=rule.strength)
        for rule, detail in observed
        if rule.strength is not Strength.WEAK or settled is Strength.WEAK
    ]
    unclear = _rules_unclear(facts)
    if unclear is not None:
        evidence.append(Evidence(kind=EvidenceKind.RULES_UNCLEAR, detail=unclear, strength=Strength.WEAK))
    if rules_not_read is not None:
        evidence.append(Evidence(kind=EvidenceKind.RULES_NOT_READ, detail=rules_not_read, strength=Strength.WEAK))
    return Verdict(
        kind=kind,
        leg=leg,
        confidence=_CONFIDENCE[settled],
        causes=frozenset(one.cause for one in standing),
        evidence=tuple(evidence),
    )


def _settled(remaining: Mapping[Strength, frozenset[Hypothesis]]) -> Strength:
    """Give the strongest strength of evidence that already says what all of it says."""
    kind, leg = _reading(remaining[Strength.WEAK])
    settled = Strength.WEAK
    for strength in reversed(Strength):
        one_kind, one_leg = _reading(remaining[strength])
        if one_kind is not kind or (kind not in _LEG_IS_INCIDENTAL and one_leg is not leg):
            break
        settled = strength
    return settled


def decision_table() -> str:
    """Print ``RULES`` as the Markdown table that stands in the README."""
    rows = (f"| [{rule.when}]({rule.source}) | {_strikes_in_words(rule)} | {rule.strength.name.lower()} |" for rule in RULES)
    return "\n".join(["| evidence | strikes out | strength |", "|---|---|---|", *rows])


def _strikes_in_words(rule: Rule) -> str:
    if not rule.strikes:
        return "nothing; the verdict can be no more than *possible*"
    kept = [cause for cause in Cause if cause not in rule.strikes]
    if len(kept) == 1 and not any(isinstance(item, Leg) for item in rule.strikes):
        return f"everything but {kept[0]}"
    return ", ".join(str(item) for item in rule.strikes)
