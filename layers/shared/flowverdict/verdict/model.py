"""The terms of a verdict: legs, causes, hypotheses, evidence, strength and confidence.

A network ACL is stateless and can block requests and responses; security groups are stateful and
block requests only
(https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-records-examples.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from flowverdict.network.packet import Outcome

if TYPE_CHECKING:
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.verdict.rules_check import RulesCheck


class Leg(StrEnum):
    """The direction of a packet within its connection: from or to the side that asks."""

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
    NO_ROUTE = "no-route"
    BLACKHOLE_ROUTE = "blackhole-route"
    MTU_EXCEEDED = "mtu-exceeded"
    TTL_EXPIRED = "ttl-expired"
    UNDETERMINED = "undetermined"


class Confidence(StrEnum):
    """How certain a verdict is."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


class Strength(IntEnum):
    """How far a piece of evidence can be trusted."""

    HARD = 0
    SOFT = 1
    WEAK = 2


class EvidenceKind(StrEnum):
    """The kinds of evidence, as ``explain`` prints them."""

    REJECT_REASON = "reject-reason"
    ENCRYPTION_STATUS = "encryption-status"
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
    ICMP_ERROR = "icmp-error"
    ONLY_DIRECT = "only-direct"
    NOT_CARRIED = "not-carried"
    NETWORK_ACL_ALLOWS = "network-acl-allows"
    NETWORK_ACL_DENIES = "network-acl-denies"
    SECURITY_GROUPS_ALLOW = "security-groups-allow"
    SECURITY_GROUPS_DENY = "security-groups-deny"
    RULES_UNCLEAR = "rules-unclear"
    RULES_NOT_READ = "rules-not-read"
    PACKETS_LOST = "packets-lost"


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A possible explanation of a reject: a leg and a cause."""

    leg: Leg
    cause: Cause

    def __str__(self) -> str:
        return f"{self.leg} and {self.cause}"


HYPOTHESES = frozenset(
    Hypothesis(leg, cause) for leg in (Leg.REQUEST, Leg.RESPONSE) for cause in Cause
)
# A security group lets the responses of connections that it tracks pass.
UNTRACKED_RESPONSE = Hypothesis(Leg.RESPONSE, Cause.SECURITY_GROUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known about a rejected flow: the records and the rules.

    ``rules_check`` is ``None`` if the rules were not read.
    """

    flow: RejectedFlow
    rules_check: RulesCheck | None = None

    def acl_denies(self) -> bool:
        """Whether the network ACL, as it was read, denies the packet."""
        return self.rules_check is not None and self.rules_check.acl_outcome is Outcome.DENY

    def groups_deny(self) -> bool:
        """Whether the security groups, as they were read, deny the packet if it is a request."""
        return self.rules_check is not None and self.rules_check.groups.outcome is Outcome.DENY


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One observation, in words, and how far it can be trusted."""

    kind: EvidenceKind
    detail: str
    strength: Strength


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is left when the evidence has struck out the rest.

    ``causes`` are the causes that are left, which is most useful for ``undetermined``; ``evidence``
    is in the order of the decision table.
    """

    kind: VerdictKind
    leg: Leg
    confidence: Confidence
    causes: frozenset[Cause]
    evidence: tuple[Evidence, ...]
