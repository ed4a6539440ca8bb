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

from typing import TYPE_CHECKING

from flowverdict.verdict.evidence_rules import RULES
from flowverdict.verdict.evidence_rules.network_rules import rules_unclear
from flowverdict.verdict.evidence_rules.predicates import reason_named
from flowverdict.verdict.model import (
    HYPOTHESES,
    WITHOUT_RULES,
    Cause,
    Confidence,
    Evidence,
    EvidenceKind,
    Facts,
    Hypothesis,
    Leg,
    Strength,
    Verdict,
    VerdictKind,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flowverdict.verdict.evidence_rules.rule import Rule


_CONFIDENCE = {
    Strength.HARD: Confidence.CERTAIN,
    Strength.SOFT: Confidence.LIKELY,
    Strength.WEAK: Confidence.POSSIBLE,
}

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
_LEG_IS_INCIDENTAL = {
    VerdictKind.CLOSED_CONNECTION,
    VerdictKind.BLOCK_PUBLIC_ACCESS,
    VerdictKind.ENCRYPTION_CONTROLS,
}


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
    if reason_named(facts):
        # AWS's own word: what else suggests itself cannot make it less sure.
        observed = [(rule, detail) for rule, detail in observed if rule.strength is Strength.HARD]
    remaining: dict[Strength, frozenset[Hypothesis]] = {}
    standing = WITHOUT_RULES if facts.rules_check is None else HYPOTHESES
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
    if (
        kind is VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP
        and facts.acl_denies()
        and facts.groups_deny()
    ):
        # Both would block it now. What hard evidence says of then does not tell them apart, so this is not certain.
        # A group that denies is innocent of a reply, so with the leg unknown it is a guess.
        kind = VerdictKind.NETWORK_ACL_AND_SECURITY_GROUP
        settled = max(settled, Strength.WEAK if leg is Leg.UNKNOWN else Strength.SOFT)
    evidence = [
        Evidence(kind=rule.kind, detail=detail, strength=rule.strength)
        for rule, detail in observed
        if rule.strength is not Strength.WEAK or settled is Strength.WEAK
    ]
    unclear = rules_unclear(facts)
    if unclear is not None:
        evidence.append(
            Evidence(kind=EvidenceKind.RULES_UNCLEAR, detail=unclear, strength=Strength.WEAK)
        )
    if rules_not_read is not None:
        evidence.append(
            Evidence(
                kind=EvidenceKind.RULES_NOT_READ, detail=rules_not_read, strength=Strength.WEAK
            )
        )
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
