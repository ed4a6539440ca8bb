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
    ruling = facts.ruling
    if ruling is None or ruling.acl is None or ruling.acl.outcome is not Outcome.ALLOW:
        return None
    return f"{ruling.acl.network_acl_id} {ruling.acl.entry} lets it pass{when_read(ruling)}"


def _acl_denies(facts: Facts) -> str | None:
    ruling = facts.ruling
    if ruling is None or ruling.acl is None or ruling.acl.outcome is not Outcome.DENY:
        return None
    return f"{ruling.acl.network_acl_id} {ruling.acl.entry} blocks it{when_read(ruling)}"


def _groups_allow(facts: Facts) -> str | None:
    ruling = facts.ruling
    if (
        ruling is None
        or ruling.groups.outcome is not Outcome.ALLOW
        or ruling.interface.is_nat_gateway
    ):
        return None
    if ruling.groups.rule is None:
        return "; ".join(ruling.groups.reasons)
    return f"{ruling.groups.rule} lets it pass{when_read(ruling)}"


def _groups_deny(facts: Facts) -> str | None:
    ruling = facts.ruling
    if ruling is None or ruling.groups.outcome is not Outcome.DENY:
        return None
    miss = ruling.groups.nearest_miss
    nearest = "" if miss is None else f"; the nearest, {miss.rule}, differs in its {miss.differs}"
    way = "in" if ruling.direction is FlowDirection.INGRESS else "out"
    return f"taken for a request, no rule of {', '.join(ruling.groups.group_ids or ())} lets it {way}{nearest}{when_read(ruling)}"


def rules_unclear(facts: Facts) -> str | None:
    ruling = facts.ruling
    if ruling is None:
        return None
    unclear = [
        *(
            ruling.acl.reasons
            if ruling.acl is not None and ruling.acl.outcome is Outcome.UNKNOWN
            else ()
        )
    ]
    if ruling.acl is not None and ruling.acl.outcome is not Outcome.UNKNOWN and ruling.acl.possible:
        first = ", ".join(str(entry) for entry in ruling.acl.possible)
        unclear.append(
            f"in {ruling.acl.network_acl_id} these may match before the entry that surely does: {first}"
        )
    unclear += ruling.groups.reasons if ruling.groups.outcome is Outcome.UNKNOWN else ()
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
