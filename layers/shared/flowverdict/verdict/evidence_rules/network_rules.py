"""TODO flowverdict.verdict.evidence_rules.network_rules."""

from __future__ import annotations

from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.packet import Outcome
from flowverdict.verdict.evidence_rules.predicates import public_access_blocked, when_read
from flowverdict.verdict.evidence_rules.rule import (
    AWS_CONTROLS,
    BLOCK_PUBLIC_ACCESS,
    NETWORK_ACLS,
    SECURITY_GROUP_RULES,
    Rule,
)
from flowverdict.verdict.model import Cause, EvidenceKind, Facts, Hypothesis, Leg, Strength


def _acl_allows(facts: Facts) -> str | None:
    rules_check = facts.rules_check
    if (
        rules_check is None
        or rules_check.acl is None
        or rules_check.acl.outcome is not Outcome.ALLOW
    ):
        return None
    return f"{rules_check.acl.network_acl_id} {rules_check.acl.entry} lets it pass{when_read(rules_check)}"


def _acl_denies(facts: Facts) -> str | None:
    rules_check = facts.rules_check
    if (
        rules_check is None
        or rules_check.acl is None
        or rules_check.acl.outcome is not Outcome.DENY
    ):
        return None
    return f"{rules_check.acl.network_acl_id} {rules_check.acl.entry} blocks it{when_read(rules_check)}"


def _groups_allow(facts: Facts) -> str | None:
    rules_check = facts.rules_check
    if (
        rules_check is None
        or rules_check.groups.outcome is not Outcome.ALLOW
        or rules_check.interface.is_nat_gateway
    ):
        return None
    if rules_check.groups.rule is None:
        return "; ".join(rules_check.groups.reasons)
    return f"{rules_check.groups.rule} lets it pass{when_read(rules_check)}"


def _groups_deny(facts: Facts) -> str | None:
    rules_check = facts.rules_check
    if rules_check is None or rules_check.groups.outcome is not Outcome.DENY:
        return None
    miss = rules_check.groups.nearest_miss
    nearest = "" if miss is None else f"; the nearest, {miss.rule}, differs in its {miss.differs}"
    way = "in" if rules_check.direction is FlowDirection.INGRESS else "out"
    return f"taken for a request, no rule of {', '.join(rules_check.groups.group_ids or ())} lets it {way}{nearest}{when_read(rules_check)}"


def rules_unclear(facts: Facts) -> str | None:
    rules_check = facts.rules_check
    if rules_check is None:
        return None
    unclear = [
        *(
            rules_check.acl.reasons
            if rules_check.acl is not None and rules_check.acl.outcome is Outcome.UNKNOWN
            else ()
        )
    ]
    if (
        rules_check.acl is not None
        and rules_check.acl.outcome is not Outcome.UNKNOWN
        and rules_check.acl.possible
    ):
        first = ", ".join(str(entry) for entry in rules_check.acl.possible)
        unclear.append(
            f"in {rules_check.acl.network_acl_id} these may match before the entry that surely does: {first}"
        )
    unclear += rules_check.groups.reasons if rules_check.groups.outcome is Outcome.UNKNOWN else ()
    return f"the rules leave it open: {'; '.join(unclear)}" if unclear else None


NETWORK_RULES: tuple[Rule, ...] = (
    Rule(
        kind=EvidenceKind.BLOCK_PUBLIC_ACCESS_ON,
        when="the VPC has Block Public Access on, the remote address is public, and `reject-reason` is not in the format",
        strikes=tuple(cause for cause in Cause if cause is not Cause.BLOCK_PUBLIC_ACCESS),
        strength=Strength.SOFT,
        source=BLOCK_PUBLIC_ACCESS,
        observe=public_access_blocked,
    ),
    Rule(
        kind=EvidenceKind.NETWORK_ACL_ALLOWS,
        when="the network ACL, as read, allows the packet",
        strikes=(Cause.NETWORK_ACL,),
        strength=Strength.SOFT,
        source=NETWORK_ACLS,
        observe=_acl_allows,
    ),
    Rule(
        kind=EvidenceKind.NETWORK_ACL_DENIES,
        when="the network ACL, as read, denies the packet",
        strikes=(Cause.CLOSED_CONNECTION, Cause.CHANGED_RULE, *AWS_CONTROLS),
        strength=Strength.SOFT,
        source=NETWORK_ACLS,
        observe=_acl_denies,
    ),
    Rule(
        kind=EvidenceKind.SECURITY_GROUPS_ALLOW,
        when="a security group of the interface, as read, allows the packet",
        strikes=(Cause.SECURITY_GROUP,),
        strength=Strength.SOFT,
        source=SECURITY_GROUP_RULES,
        observe=_groups_allow,
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
    ),
)
