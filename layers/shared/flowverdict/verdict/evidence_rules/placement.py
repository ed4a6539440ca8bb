"""TODO flowverdict.verdict.evidence_rules.placement."""

from __future__ import annotations

from flowverdict.network.model import FORWARDING_TYPES
from flowverdict.verdict.evidence_rules.predicates import reason_named
from flowverdict.verdict.evidence_rules.rule import (
    BLOCK_PUBLIC_ACCESS,
    NAT_GATEWAYS,
    NETWORK_ACLS,
    Rule,
)
from flowverdict.verdict.model import Cause, EvidenceKind, Facts, Strength


def _private_addresses(facts: Facts) -> str | None:
    if facts.flow.between_private_addresses is not True or reason_named(facts):
        return None
    return (
        "both packet addresses are private, and Block Public Access concerns internet traffic only"
    )


def _same_subnet(facts: Facts) -> str | None:
    if facts.flow.context.interface_type in FORWARDING_TYPES or (
        facts.rules_check is not None and facts.rules_check.interface.forwards
    ):
        return None  # what it forwards may come from another subnet, whatever its addresses say
    by_rules = facts.rules_check is not None and facts.rules_check.stays_in_subnet is True
    if not (by_rules or facts.flow.same_subnet is True):
        return None
    subnet = (
        facts.rules_check.interface.subnet_id
        if by_rules and facts.rules_check is not None
        else facts.flow.context.subnet_id
    )
    return f"both ends lie in {subnet}, and network ACLs are checked only at a subnet's boundary"


def _nat_gateway(facts: Facts) -> str | None:
    by_type = facts.flow.context.interface_type == "nat_gateway"
    by_rules = facts.rules_check is not None and facts.rules_check.interface.is_nat_gateway
    return (
        "the interface is a NAT gateway's, which has no security group"
        if by_type or by_rules
        else None
    )


def _regional_nat_gateway(facts: Facts) -> str | None:
    context = facts.flow.context
    by_resource = context.resource_id is not None and context.resource_id.startswith("nat-")
    if context.interface_type != "regional_nat_gateway" and not by_resource:
        return None
    return "it is a regional NAT gateway's, which has no security group"


PLACEMENT: tuple[Rule, ...] = (
    Rule(
        kind=EvidenceKind.PRIVATE_ADDRESSES,
        when="`pkt-srcaddr` and `pkt-dstaddr` are both private",
        strikes=(Cause.BLOCK_PUBLIC_ACCESS,),
        strength=Strength.HARD,
        source=BLOCK_PUBLIC_ACCESS,
        observe=_private_addresses,
    ),
    Rule(
        kind=EvidenceKind.SAME_SUBNET,
        when="both ends lie in one subnet (`subnet-id` of both interfaces, or the subnet's range)",
        strikes=(Cause.NETWORK_ACL, Cause.BLOCK_PUBLIC_ACCESS),
        strength=Strength.SOFT,  # a load balancer that keeps the client's address brings it in from another subnet
        source=NETWORK_ACLS,
        observe=_same_subnet,
    ),
    Rule(
        kind=EvidenceKind.NAT_GATEWAY,
        when="the interface is a zonal NAT gateway's (`interface-type`, or EC2 says so)",
        strikes=(Cause.SECURITY_GROUP,),
        strength=Strength.HARD,
        source=NAT_GATEWAYS,
        observe=_nat_gateway,
    ),
    Rule(
        kind=EvidenceKind.NAT_GATEWAY,
        when="the record is a regional NAT gateway's (`resource-id`), which lies in no subnet",
        strikes=(Cause.SECURITY_GROUP,),
        strength=Strength.SOFT,
        source=NAT_GATEWAYS,
        observe=_regional_nat_gateway,
    ),
)
