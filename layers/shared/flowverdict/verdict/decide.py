"""Decide why a flow was rejected: evidence in, verdict out. Pure; the rules are a table.

Two facts of AWS (https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-records-examples.html):
a rejected *response* is the work of the network ACL, because security groups are stateful, unless
the connection is not tracked; a rejected *request* can be the work of either. AWS has causes that
are neither: packets that arrive after the connection was closed, VPC Block Public Access and VPC
Encryption Controls.

A hypothesis is a leg and a cause. The decision starts from all hypotheses, each piece of evidence
strikes some out, and what is left is the verdict. ``evidence_rules.RULES`` is the whole decision,
in order; the table of docs/understand/evidence.md is printed from it.

The confidence follows from the weakest evidence that the verdict needs. *Hard* evidence follows
from how AWS works and cannot mislead; if hard evidence alone gives the verdict, it is ``certain``.
With *soft* evidence, which a lost or late record can overturn, the verdict is ``likely``; with
*weak* evidence such as port numbers, ``possible``. Evidence that contradicts itself makes a verdict
``possible``, and both sides are shown.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.core.protocols import Protocol
from flowverdict.flowlog.records import FlowDirection
from flowverdict.flows.observed import NOT_LOGGED
from flowverdict.network.packet import Outcome
from flowverdict.verdict.evidence_rules import RULES
from flowverdict.verdict.evidence_rules.network_rules import rules_unclear
from flowverdict.verdict.evidence_rules.predicates import (
    reason_named,
    records_missing,
    reply_may_be_new,
)
from flowverdict.verdict.model import (
    HYPOTHESES,
    UNTRACKED_RESPONSE,
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
    from collections.abc import Iterable, Mapping, Sequence

    from flowverdict.verdict.evidence_rules.rule import Rule

type _Strikes = tuple[Strength, tuple[Leg | Cause | Hypothesis, ...]]

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

# Groups let ICMP errors of tracked connections pass, whatever their rules say of requests.
_ICMP = {Protocol.ICMP, Protocol.ICMPV6}

# For these verdicts the leg does not change what to do, so an unknown leg does not lower the
# confidence.
_LEG_IS_INCIDENTAL = {
    VerdictKind.CLOSED_CONNECTION,
    VerdictKind.BLOCK_PUBLIC_ACCESS,
    VerdictKind.ENCRYPTION_CONTROLS,
}


def decide(facts: Facts, rules_not_read: str | None = None) -> Verdict:
    """Decide why a flow was rejected.

    ``certain`` is only a verdict to which hard evidence alone leaves no other explanation.
    ``rules_not_read`` says why there are no rules although they were required; the reason is shown
    with the evidence.
    """
    observed = _observe(facts)
    kind, leg, required, causes = _conclude(
        possible_hypotheses(facts), tuple([rule for rule, _ in observed])
    )
    if kind is VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP:
        kind, strength = _by_rules_as_read(facts, leg)
        required = max(required, strength)
    if _rule_may_match(facts, kind) or _lacks_addresses(facts):
        required = Strength.WEAK
    return Verdict(
        kind=kind,
        leg=leg,
        confidence=_CONFIDENCE[required],
        causes=causes,
        evidence=(
            *_evidence(observed, required),
            *_remarks(rules_unclear(facts), rules_not_read),
        ),
    )


def possible_hypotheses(facts: Facts) -> frozenset[Hypothesis]:
    """Return what is possible at all for a flow.

    Whether a rule has changed shows only where the rules were read. A security group blocks a
    response only if it may not track the connection.
    """
    return _hypotheses(rules_read=facts.rules_check is not None, untracked=reply_may_be_new(facts))


@cache
def _hypotheses(*, rules_read: bool, untracked: bool) -> frozenset[Hypothesis]:
    return frozenset(
        hypothesis
        for hypothesis in HYPOTHESES
        if (hypothesis.cause is not Cause.CHANGED_RULE or rules_read)
        and (hypothesis != UNTRACKED_RESPONSE or untracked)
    )


def _by_rules_as_read(facts: Facts, leg: Leg) -> tuple[VerdictKind, Strength]:
    """Return which of the two layers the rules as read name, and the strength of that.

    A layer that denies the packet now blocks it, whatever the other does. Hard evidence about the
    time of the reject does not show that, so the verdict is not certain.
    """
    if facts.groups_deny() and leg is Leg.REQUEST and _denied_at_attachment(facts):
        return VerdictKind.SECURITY_GROUP, Strength.SOFT
    if facts.acl_denies() and facts.groups_deny() and leg is not Leg.RESPONSE:
        # A security group blocks no reply that it tracks: with the leg unknown this is a guess.
        guess = leg is Leg.UNKNOWN
        return (
            VerdictKind.NETWORK_ACL_AND_SECURITY_GROUP,
            Strength.WEAK if guess else Strength.SOFT,
        )
    if facts.acl_denies():
        return VerdictKind.NETWORK_ACL, Strength.SOFT
    if facts.groups_deny() and leg is Leg.REQUEST and facts.flow.key.protocol not in _ICMP:
        return VerdictKind.SECURITY_GROUP, Strength.SOFT
    return VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP, Strength.HARD


def _denied_at_attachment(facts: Facts) -> bool:
    """Whether inbound entries deny an outbound packet: at a transit gateway's attachment beside it.

    The packet comes there only after the groups of its own interface have let it out.
    """
    acl = None if facts.rules_check is None else facts.rules_check.acl
    return (
        acl is not None
        and acl.outcome is Outcome.DENY
        and acl.entry is not None
        and not acl.entry.egress
        and facts.flow.direction is FlowDirection.EGRESS
    )


def _lacks_addresses(facts: Facts) -> bool:
    """Whether the records name no addresses, so that many connections look like one flow.

    A reason that AWS names itself is true of each of them.
    """
    key = facts.flow.key
    return (key.source is None or key.destination is None) and not reason_named(facts)


def _rule_may_match(facts: Facts, kind: VerdictKind) -> bool:
    """Whether a rule of the layer that is named may allow the packet after all."""
    rules_check = facts.rules_check
    if rules_check is None:
        return False
    match kind:
        case VerdictKind.SECURITY_GROUP:
            return bool(rules_check.groups.possible)
        case VerdictKind.NETWORK_ACL:
            acl = rules_check.acl
            return acl is not None and acl.outcome is Outcome.UNKNOWN and bool(acl.possible)
        case _:
            return False


def _observe(facts: Facts) -> list[tuple[Rule, str]]:
    """Return the rules that apply to the flow, each with its observation in words."""
    missing = records_missing(facts)
    observed = [
        (part, detail if missing is None or not rule.by_absence else f"{detail}, but {missing}")
        for rule in _rules_about(known_of(facts))
        if (detail := rule.observe(facts)) is not None
        for part in rule.parts(facts)
    ]
    if reason_named(facts):
        # AWS names the reason: other evidence must not lower the confidence.
        return [(rule, detail) for rule, detail in observed if rule.strength is Strength.HARD]
    return observed


def known_of(facts: Facts) -> int:
    """Return what is known of a flow, of all that rules may need."""
    flow = facts.flow
    return (
        (facts.rules_check is not None)
        | (flow.mirror is not None) << 1
        | (flow.same is not None) << 2
        | (flow.traffic.tcp_flags is not None) << 3
        | (flow.reject_reasons != NOT_LOGGED) << 4
        | (flow.mirror is not None or flow.same is not None) << 5
    )


@cache
def _rules_about(known: int) -> tuple[Rule, ...]:
    """Return the rules that may apply to a flow of which so much is known."""
    return tuple(rule for rule in RULES if rule.needs & known == rule.needs)


class _Conclusion(NamedTuple):
    """What is left; ``required`` is the weakest evidence that it needs."""

    kind: VerdictKind
    leg: Leg
    required: Strength
    causes: frozenset[Cause]


# The flows of a file show a few hundred sets of evidence.
@lru_cache(maxsize=4096)
def _conclude(hypotheses: frozenset[Hypothesis], rules: tuple[Rule, ...]) -> _Conclusion:
    """Conclude from what the rules strike out that apply, in their order."""
    strikes: tuple[_Strikes, ...] = tuple((rule.strength, rule.strikes) for rule in rules)
    remaining, contradicted = _eliminate(hypotheses, strikes)
    required = _weakest_required(remaining)
    kind, leg = _reading(remaining[required])
    causes = frozenset(hypothesis.cause for hypothesis in remaining[Strength.WEAK])
    conflicting = contradicted or any(rule.conflicts for rule in rules)
    if kind is VerdictKind.UNDETERMINED or conflicting:
        required = Strength.WEAK
    if kind is VerdictKind.RULES_ALLOW:
        required = max(required, Strength.SOFT)  # the rules as of now, not as of the reject
    return _Conclusion(kind, leg, required, causes)


def _eliminate(
    hypotheses: frozenset[Hypothesis], strikes: Sequence[_Strikes]
) -> tuple[Mapping[Strength, frozenset[Hypothesis]], bool]:
    """Strike hypotheses out, strongest evidence first.

    Return what remains after the evidence of each strength, and whether hard or soft evidence
    contradicts itself or what is stronger.
    """
    remaining: dict[Strength, frozenset[Hypothesis]] = {}
    contradicted = False
    for strength in Strength:
        left = _strike(hypotheses, [items for of, items in strikes if of is strength])
        # Evidence of one strength that leaves nothing contradicts what is stronger, and is ignored.
        contradicted = contradicted or (not left and strength is not Strength.WEAK)
        hypotheses = left if left or strength is Strength.HARD else hypotheses
        remaining[strength] = hypotheses
    return remaining, contradicted


def _strike(
    hypotheses: frozenset[Hypothesis], strikes: Iterable[Sequence[Leg | Cause | Hypothesis]]
) -> frozenset[Hypothesis]:
    struck = {item for items in strikes for item in items}
    return frozenset(
        hypothesis
        for hypothesis in hypotheses
        if not struck & {hypothesis, hypothesis.leg, hypothesis.cause}
    )


def _weakest_required(remaining: Mapping[Strength, frozenset[Hypothesis]]) -> Strength:
    """Return the strongest strength of evidence that already gives the verdict of all evidence."""
    kind, leg = _reading(remaining[Strength.WEAK])
    required = Strength.WEAK
    for strength in reversed(Strength):
        kind_so_far, leg_so_far = _reading(remaining[strength])
        if kind_so_far is not kind or (kind not in _LEG_IS_INCIDENTAL and leg_so_far is not leg):
            break
        required = strength
    return required


def _reading(hypotheses: frozenset[Hypothesis]) -> tuple[VerdictKind, Leg]:
    # A changed rule is the answer only where nothing else is left: one of the two layers rejected
    # the packet all the same.
    decisive = [
        hypothesis for hypothesis in hypotheses if hypothesis.cause is not Cause.CHANGED_RULE
    ] or hypotheses
    legs = {hypothesis.leg for hypothesis in decisive}
    causes = frozenset(hypothesis.cause for hypothesis in decisive)
    kind = _KINDS.get(causes, VerdictKind.UNDETERMINED)
    return kind, legs.pop() if len(legs) == 1 else Leg.UNKNOWN


def _evidence(observed: Iterable[tuple[Rule, str]], required: Strength) -> list[Evidence]:
    """Return the evidence to show: weak evidence only where the verdict needs it."""
    return [
        _piece(rule.kind, detail, rule.strength)
        for rule, detail in observed
        if rule.strength is not Strength.WEAK or required is Strength.WEAK
    ]


# Most details name neither address nor time, and many flows share them.
@lru_cache(maxsize=4_096)
def _piece(kind: EvidenceKind, detail: str, strength: Strength) -> Evidence:
    return Evidence(kind=kind, detail=detail, strength=strength)


@lru_cache(maxsize=4_096)
def _remarks(unclear: str | None, not_read: str | None) -> tuple[Evidence, ...]:
    """Return what is to be known about the rules, which strikes nothing out."""
    remarks = ((EvidenceKind.RULES_UNCLEAR, unclear), (EvidenceKind.RULES_NOT_READ, not_read))
    return tuple(
        Evidence(kind=kind, detail=detail, strength=Strength.WEAK)
        for kind, detail in remarks
        if detail is not None
    )
