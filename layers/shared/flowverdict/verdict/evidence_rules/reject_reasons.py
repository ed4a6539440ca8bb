"""Evidence of ``reject-reason``, with which AWS itself says why it rejected a packet.

``BPA`` is VPC Block Public Access, ``EC`` is VPC Encryption Controls, and ``-`` is neither
(https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html). Flow logs of an older
format do not have the field. Encryption Controls reject at VPC endpoints what the application does
not encrypt (https://docs.aws.amazon.com/vpc/latest/userguide/vpc-encryption-controls.html). Where
they are on, ``encryption-status`` says how a flow is encrypted: 0 not at all, 1 by Nitro hardware,
2 by the application, 3 by both. The field does not say whether they enforce or only monitor.
"""

from __future__ import annotations

from flowverdict.flowlog.records import RejectReason
from flowverdict.verdict.evidence_rules.predicates import (
    public_access_blocked,
    reason_named,
    reason_unlogged,
)
from flowverdict.verdict.evidence_rules.rule import (
    AWS_CONTROLS,
    ENCRYPTION_CONTROLS,
    FLOW_LOG_RECORDS,
    Need,
    Rule,
    all_but,
)
from flowverdict.verdict.model import Cause, EvidenceKind, Facts, Strength

_ENDPOINT_TYPES = {"vpc_endpoint", "gateway_load_balancer_endpoint"}
_NOT_BY_THE_APPLICATION = frozenset({0, 1})  # values of encryption-status


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


def _reason_not_logged(facts: Facts) -> str | None:
    if not reason_unlogged(facts) or public_access_blocked(facts) is not None:
        return None
    if _unencrypted_at_endpoint(facts) is not None:
        return None
    return (
        "reject-reason is not logged; "
        "Block Public Access and Encryption Controls are assumed to be off"
    )


def _unencrypted_at_endpoint(facts: Facts) -> str | None:
    statuses = facts.flow.observed.integers("encryption-status")
    if not statuses or not statuses <= _NOT_BY_THE_APPLICATION or not reason_unlogged(facts):
        return None
    if not _is_endpoint(facts) or public_access_blocked(facts) is not None:
        return None
    logged = ", ".join(sorted(map(str, statuses)))
    return (
        f"reject-reason is not logged, and encryption-status is {logged} at a VPC endpoint: "
        "Encryption Controls may reject it; Block Public Access is assumed to be off"
    )


def _reasons_disagree(facts: Facts) -> str | None:
    reasons = facts.flow.reject_reasons
    if reason_named(facts) or reason_unlogged(facts) or reasons == {RejectReason.OTHER}:
        return None
    named = ", ".join(sorted("not logged" if reason is None else reason for reason in reasons))
    return (
        f"reject-reason is {named}: "
        "the flow's records do not agree, or the value is newer than this program"
    )


def _no_endpoint(facts: Facts) -> str | None:
    if facts.rules_check is None or reason_named(facts) or _is_endpoint(facts):
        return None
    if facts.rules_check.interface.interface_type is None:
        return None
    return "the interface is not a VPC endpoint's, where Encryption Controls reject"


def _is_endpoint(facts: Facts) -> bool:
    """Whether EC2 or the records say that the interface is a VPC endpoint's."""
    if facts.flow.context.interface_type in _ENDPOINT_TYPES:
        return True
    if facts.rules_check is None:
        return False
    interface = facts.rules_check.interface
    # EC2 shows some endpoints' interfaces as plain interfaces.
    return interface.interface_type in _ENDPOINT_TYPES or (interface.description or "").startswith(
        "VPC Endpoint"
    )


REASONS_NAMED: tuple[Rule, ...] = (
    Rule(
        kind=EvidenceKind.REJECT_REASON,
        when="`reject-reason` is `BPA`",
        strikes=all_but(Cause.BLOCK_PUBLIC_ACCESS),
        strength=Strength.HARD,
        source=FLOW_LOG_RECORDS,
        observe=_block_public_access,
        needs=Need.REASON,
    ),
    Rule(
        kind=EvidenceKind.REJECT_REASON,
        when="`reject-reason` is `EC`",
        strikes=all_but(Cause.ENCRYPTION_CONTROLS),
        strength=Strength.HARD,
        source=FLOW_LOG_RECORDS,
        observe=_encryption_controls,
        needs=Need.REASON,
    ),
    Rule(
        kind=EvidenceKind.REJECT_REASON,
        when="`reject-reason` is logged and `-`",
        strikes=AWS_CONTROLS,
        strength=Strength.HARD,
        source=FLOW_LOG_RECORDS,
        observe=_other_reason,
        needs=Need.REASON,
    ),
)

REASONS_NOT_NAMED: tuple[Rule, ...] = (
    Rule(
        kind=EvidenceKind.NO_ENDPOINT,
        when="EC2 says that the interface is not a VPC endpoint's",
        strikes=(Cause.ENCRYPTION_CONTROLS,),
        strength=Strength.HARD,
        source=ENCRYPTION_CONTROLS,
        observe=_no_endpoint,
        needs=Need.RULES,
    ),
    Rule(
        kind=EvidenceKind.ENCRYPTION_STATUS,
        when="`reject-reason` is not in the format, the interface is a VPC endpoint's, and "
        "`encryption-status` of all records is 0 or 1",
        strikes=(Cause.BLOCK_PUBLIC_ACCESS,),
        strength=Strength.SOFT,
        source=ENCRYPTION_CONTROLS,
        observe=_unencrypted_at_endpoint,
    ),
    Rule(
        kind=EvidenceKind.REJECT_REASON,
        when="`reject-reason` differs between the flow's records, or has an unknown value",
        strikes=(),
        strength=Strength.SOFT,
        source=FLOW_LOG_RECORDS,
        observe=_reasons_disagree,
        needs=Need.REASON,
        conflicts=True,
    ),
    Rule(
        kind=EvidenceKind.REJECT_REASON,
        when="`reject-reason` is not in the format",
        strikes=AWS_CONTROLS,
        strength=Strength.SOFT,
        source=FLOW_LOG_RECORDS,
        observe=_reason_not_logged,
    ),
)
