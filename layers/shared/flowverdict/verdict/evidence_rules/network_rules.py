"""Evidence of the rules as they were read: what network ACL and security groups do now.

The rules are read minutes after the packet, so this evidence is soft. Network ACLs:
https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html. Security groups, which have
only rules that allow: https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html.
"""

from __future__ import annotations

from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.packet import Outcome
from flowverdict.verdict.evidence_rules.predicates import public_access_blocked, when_read
from flowverdict.verdict.evidence_rules.rule import (
    AWS_CONTROLS,
    BLOCK_PUBLIC_ACCESS,
    FLOW_LOG_LIMITATIONS,
    NETWORK_ACLS,
    SECURITY_GROUP_RULES,
    Need,
    Rule,
    all_but,
)
from flowverdict.verdict.model import Cause, EvidenceKind, Facts, Hypothesis, Leg, Strength


def _acl_allows(facts: Facts) -> str | None:
    if facts.rules_check is not None and facts.rules_check.unfiltered is not None:
        return f"network ACLs do not filter traffic of {facts.rules_check.unfiltered}"
    return _acl_observation(facts, Outcome.ALLOW, "lets it pass")


def _acl_denies(facts: Facts) -> str | None:
    return _acl_observation(facts, Outcome.DENY, "blocks it")


def _acl_observation(facts: Facts, outcome: Outcome, verb: str) -> str | None:
    rules_check = facts.rules_check
    if rules_check is None or rules_check.acl is None or rules_check.acl.outcome is not outcome:
        return None
    rule = f"{rules_check.acl.network_acl_id} {rules_check.acl.entry}"
    return f"{rule} {verb}{when_read(rules_check)}"


def _groups_allow(facts: Facts) -> str | None:
    rules_check = facts.rules_check
    if (
        rules_check is None
        or rules_check.groups.outcome is not Outcome.ALLOW
        or rules_check.interface.is_nat_gateway
        or allowed_only_direct(facts) is not None
    ):
        return None
    if rules_check.groups.rule is None:
        return "; ".join(rules_check.groups.reasons)
    return f"{rules_check.groups.rule} lets it pass{when_read(rules_check)}"


def allowed_only_direct(facts: Facts) -> str | None:
    """Return an observation if groups allow the packet, but not if it came by a load balancer.

    If the network ACL denies the packet, the groups do not matter; accepted packets of the
    connection show that the rule is right for them.
    """
    rules_check = facts.rules_check
    if (
        rules_check is None
        or not rules_check.groups.only_direct
        or rules_check.acl_outcome is not Outcome.ALLOW
        or facts.flow.mirror is not None
        or facts.flow.same is not None
    ):
        return None
    return (
        f"{rules_check.groups.rule} lets it pass{when_read(rules_check)}, but not if it came by a "
        "load balancer that keeps the client's address: then a rule for the address is needed"
    )


def _groups_deny(facts: Facts) -> str | None:
    rules_check = facts.rules_check
    if rules_check is None or rules_check.groups.outcome is not Outcome.DENY:
        return None
    miss = rules_check.groups.nearest_miss
    nearest = "" if miss is None else f"; the nearest, {miss.rule}, differs in its {miss.differs}"
    way = "in" if rules_check.direction is FlowDirection.INGRESS else "out"
    groups = ", ".join(rules_check.groups.group_ids or ())
    return f"if it is a request, no rule of {groups} lets it {way}{nearest}{when_read(rules_check)}"


def _unfiltered(facts: Facts) -> str | None:
    if facts.rules_check is None or facts.rules_check.unfiltered is None:
        return None
    return (
        f"no rule filters traffic of {facts.rules_check.unfiltered}, and AWS does not record it in "
        "flow logs: this record is not explained"
    )


def rules_unclear(facts: Facts) -> str | None:
    """Return what the rules leave open, in words; ``None`` if the rules decide or were not read."""
    if facts.rules_check is None:
        return None
    acl, groups = facts.rules_check.acl, facts.rules_check.groups
    unclear: list[str] = []
    if acl is not None and acl.outcome is Outcome.UNKNOWN:
        unclear += acl.reasons
    elif acl is not None and acl.possible:
        possible = ", ".join(str(entry) for entry in acl.possible)
        unclear.append(
            f"in {acl.network_acl_id} these may match before the rule that certainly does: "
            f"{possible}"
        )
    if groups.outcome is Outcome.UNKNOWN:
        unclear += groups.reasons
    return f"the rules leave it open: {'; '.join(unclear)}" if unclear else None


NETWORK_RULES: tuple[Rule, ...] = (
    Rule(
        kind=EvidenceKind.CONFLICT,
        when="no rule filters traffic of the remote end (resolver, instance metadata, time), and "
        "AWS does not record it",
        strikes=(),
        strength=Strength.WEAK,
        source=FLOW_LOG_LIMITATIONS,
        observe=_unfiltered,
        needs=Need.RULES,
        conflicts=True,
    ),
    Rule(
        kind=EvidenceKind.BLOCK_PUBLIC_ACCESS_ON,
        when="Block Public Access is on in the subnet or VPC, the traffic passes an internet "
        "gateway (outbound: and neither layer denies it), and `reject-reason` is not in the format",
        strikes=all_but(Cause.BLOCK_PUBLIC_ACCESS),
        by_absence=all_but(Cause.BLOCK_PUBLIC_ACCESS),
        strength=Strength.SOFT,
        source=BLOCK_PUBLIC_ACCESS,
        observe=public_access_blocked,
        needs=Need.RULES,
    ),
    Rule(
        kind=EvidenceKind.NETWORK_ACL_ALLOWS,
        when="the network ACL, as read, allows the packet, or does not filter it (traffic of the "
        "VPC's resolver, instance metadata, time)",
        strikes=(Cause.NETWORK_ACL,),
        strength=Strength.SOFT,
        source=NETWORK_ACLS,
        observe=_acl_allows,
        needs=Need.RULES,
    ),
    Rule(
        kind=EvidenceKind.NETWORK_ACL_DENIES,
        when="the network ACL, as read, denies the packet",
        strikes=(Cause.CLOSED_CONNECTION, Cause.CHANGED_RULE, *AWS_CONTROLS),
        strength=Strength.SOFT,
        source=NETWORK_ACLS,
        observe=_acl_denies,
        needs=Need.RULES,
    ),
    Rule(
        kind=EvidenceKind.SECURITY_GROUPS_ALLOW,
        when="a security group of the interface, as read, allows the packet, or none filters it",
        strikes=(Cause.SECURITY_GROUP,),
        strength=Strength.SOFT,
        source=SECURITY_GROUP_RULES,
        observe=_groups_allow,
        needs=Need.RULES,
    ),
    Rule(
        kind=EvidenceKind.SECURITY_GROUPS_DENY,
        when="no security group of the interface, as read, allows the packet",
        strikes=(
            Hypothesis(Leg.REQUEST, Cause.CLOSED_CONNECTION),
            Hypothesis(Leg.REQUEST, Cause.CHANGED_RULE),
        ),
        strength=Strength.SOFT,
        source=SECURITY_GROUP_RULES,
        observe=_groups_deny,
        needs=Need.RULES,
    ),
)
