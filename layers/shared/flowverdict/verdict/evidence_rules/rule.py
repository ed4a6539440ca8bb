"""The form of an evidence rule, and the AWS pages that the rules rest on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowverdict.verdict.model import Cause, EvidenceKind, Facts, Hypothesis, Leg, Strength

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A row of the decision table.

    Parameters
    ----------
    when
        What must be observed, in words, for the table in the README.
    strikes
        Legs, causes and single hypotheses: a hypothesis with one of them is struck out.
    source
        The AWS page that the rule rests on.
    observe
        Returns the observation in words for a flow; ``None`` where the rule does not apply.
    conflicts
        The evidence contradicts itself: nothing is struck out, and the verdict is at most possible.
    """

    kind: EvidenceKind
    when: str
    strikes: tuple[Leg | Cause | Hypothesis, ...]
    strength: Strength
    source: str
    observe: Callable[[Facts], str | None]
    conflicts: bool = False


VPC_GUIDE = "https://docs.aws.amazon.com/vpc/latest/userguide/"
EC2_GUIDE = "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/"
FLOW_LOG_RECORDS = f"{VPC_GUIDE}flow-log-records.html"
RECORD_EXAMPLES = f"{VPC_GUIDE}flow-logs-records-examples.html"
NETWORK_ACLS = f"{VPC_GUIDE}vpc-network-acls.html"
SECURITY_GROUP_RULES = f"{VPC_GUIDE}security-group-rules.html"
CONNECTION_TRACKING = f"{EC2_GUIDE}security-group-connection-tracking.html"
BLOCK_PUBLIC_ACCESS = f"{VPC_GUIDE}security-vpc-bpa-basics.html"
ENCRYPTION_CONTROLS = f"{VPC_GUIDE}vpc-encryption-controls.html"
NAT_GATEWAYS = f"{VPC_GUIDE}nat-gateway-basics.html"
SUBNET_SIZING = f"{VPC_GUIDE}subnet-sizing.html"
PATH_MTU = f"{EC2_GUIDE}network_mtu.html"
LOAD_BALANCER_TARGETS = (
    "https://docs.aws.amazon.com/elasticloadbalancing/latest/network/"
    "target-group-register-targets.html"
)

AWS_CONTROLS = (Cause.BLOCK_PUBLIC_ACCESS, Cause.ENCRYPTION_CONTROLS)


def all_but(cause: Cause) -> tuple[Cause, ...]:
    """Return every other cause, for a rule that leaves only this one."""
    return tuple(other for other in Cause if other is not cause)
