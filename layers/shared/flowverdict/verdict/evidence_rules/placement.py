"""Evidence of where the interface and the remote end lie: private, same subnet, NAT gateway.

Block Public Access concerns traffic of internet gateways only
(https://docs.aws.amazon.com/vpc/latest/userguide/security-vpc-bpa-basics.html). A network ACL is
checked only at a subnet's boundary
(https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html). A NAT gateway has no
security group (https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html).
"""

from __future__ import annotations

from flowverdict.network.model import FORWARDING_TYPES
from flowverdict.verdict.evidence_rules.predicates import reason_named
from flowverdict.verdict.evidence_rules.rule import (
    BLOCK_PUBLIC_ACCESS,
    FLOW_LOG_RECORDS,
    NAT_GATEWAYS,
    NETWORK_ACLS,
    Rule,
)
from flowverdict.verdict.model import Cause, EvidenceKind, Facts, Strength
from flowverdict.verdict.paths import WITHOUT_INTERNET_GATEWAY


def _private_addresses(facts: Facts) -> str | None:
    if facts.flow.between_private_addresses is not True or reason_named(facts):
        return None
    return (
        "both packet addresses are private, and Block Public Access concerns internet traffic only"
    )


# Another resource in the VPC (1) may be a NAT gateway, behind which an internet gateway follows.
_BESIDE_INTERNET_GATEWAYS = WITHOUT_INTERNET_GATEWAY - {1}


def _path_without_internet_gateway(facts: Facts) -> str | None:
    paths = facts.flow.observed.integers("traffic-path")
    if not paths or not paths <= _BESIDE_INTERNET_GATEWAYS or reason_named(facts):
        return None
    logged = ", ".join(map(str, sorted(path for path in paths if path is not None)))
    return f"traffic-path is {logged}, and Block Public Access concerns internet gateways only"


def _same_subnet(facts: Facts) -> str | None:
    if facts.flow.context.interface_type in FORWARDING_TYPES or (
        facts.rules_check is not None and facts.rules_check.interface.forwards
    ):
        return None  # forwarded packets may come from another subnet, whatever the addresses say
    if facts.rules_check is not None and facts.rules_check.stays_in_subnet is True:
        subnet = facts.rules_check.interface.subnet_id
    elif facts.flow.same_subnet is True:
        subnet = facts.flow.context.subnet_id
    else:
        return None
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
    return "the record is a regional NAT gateway's, which has no security group"


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
        kind=EvidenceKind.PRIVATE_ADDRESSES,
        when="`traffic-path` of all records leads through no internet gateway (3 to 7)",
        strikes=(Cause.BLOCK_PUBLIC_ACCESS,),
        strength=Strength.HARD,
        source=FLOW_LOG_RECORDS,
        observe=_path_without_internet_gateway,
    ),
    Rule(
        kind=EvidenceKind.SAME_SUBNET,
        when="both ends lie in one subnet (`subnet-id` of both interfaces, or the subnet's range)",
        strikes=(Cause.NETWORK_ACL, Cause.BLOCK_PUBLIC_ACCESS),
        # A load balancer that keeps the client's address may forward from another subnet.
        strength=Strength.SOFT,
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
