"""TODO flowverdict.verdict.evidence_rules.reject_reasons."""

from __future__ import annotations

from flowverdict.flowlog.records import RejectReason
from flowverdict.verdict.evidence_rules.predicates import (
    public_access_blocked,
    reason_named,
    reason_unlogged,
)
from flowverdict.verdict.evidence_rules.rule import AWS_CONTROLS, FLOW_LOG_RECORDS, VPC_GUIDE, Rule
from flowverdict.verdict.model import Cause, EvidenceKind, Facts, Strength

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


def _reason_not_told(facts: Facts) -> str | None:
    if not reason_unlogged(facts) or public_access_blocked(facts) is not None:
        return None
    return "reject-reason is not logged; Block Public Access and Encryption Controls are taken to be off"


def _reasons_at_odds(facts: Facts) -> str | None:
    reasons = facts.flow.reject_reasons
    if reason_named(facts) or reason_unlogged(facts) or reasons == {RejectReason.OTHER}:
        return None
    named = ", ".join(sorted("not logged" if reason is None else reason for reason in reasons))
    return f"reject-reason is {named}: the flow's records do not agree, or the value is newer than this program"


_ENDPOINT_TYPES = {"vpc_endpoint", "gateway_load_balancer_endpoint"}


def _no_endpoint(facts: Facts) -> str | None:
    rules_check = facts.rules_check
    if (
        rules_check is None
        or rules_check.interface.interface_type is None
        or rules_check.interface.interface_type in _ENDPOINT_TYPES
    ):
        return None
    if reason_named(facts):
        return None
    if (rules_check.interface.description or "").startswith("VPC Endpoint"):
        return None  # AWS shows some endpoints' interfaces as plain ones
    return "the interface is no VPC endpoint's, where Encryption Controls reject"


REASONS_NAMED: tuple[Rule, ...] = (
    Rule(
        kind=EvidenceKind.REJECT_REASON,
        when="`reject-reason` is `BPA`",
        strikes=tuple(cause for cause in Cause if cause is not Cause.BLOCK_PUBLIC_ACCESS),
        strength=Strength.HARD,
        source=FLOW_LOG_RECORDS,
        observe=_block_public_access,
    ),
    Rule(
        kind=EvidenceKind.REJECT_REASON,
        when="`reject-reason` is `EC`",
        strikes=tuple(cause for cause in Cause if cause is not Cause.ENCRYPTION_CONTROLS),
        strength=Strength.HARD,
        source=FLOW_LOG_RECORDS,
        observe=_encryption_controls,
    ),
    Rule(
        kind=EvidenceKind.REJECT_REASON,
        when="`reject-reason` is logged and `-`",
        strikes=AWS_CONTROLS,
        strength=Strength.HARD,
        source=FLOW_LOG_RECORDS,
        observe=_other_reason,
    ),
)

REASONS_NOT_NAMED: tuple[Rule, ...] = (
    Rule(
        kind=EvidenceKind.NO_ENDPOINT,
        when="EC2 says that the interface is no VPC endpoint's",
        strikes=(Cause.ENCRYPTION_CONTROLS,),
        strength=Strength.HARD,
        source=f"{VPC_GUIDE}vpc-encryption-controls.html",
        observe=_no_endpoint,
    ),
    Rule(
        kind=EvidenceKind.REJECT_REASON,
        when="`reject-reason` differs between the flow's records, or has an unknown value",
        strikes=(),
        strength=Strength.SOFT,
        source=FLOW_LOG_RECORDS,
        observe=_reasons_at_odds,
        conflicts=True,
    ),
    Rule(
        kind=EvidenceKind.REJECT_REASON,
        when="`reject-reason` is not in the format",
        strikes=AWS_CONTROLS,
        strength=Strength.SOFT,
        source=FLOW_LOG_RECORDS,
        observe=_reason_not_told,
    ),
)
