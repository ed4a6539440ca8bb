"""TODO flowverdict.verdict.evidence_rules.rule."""

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
        What has to be observed, in words, for the table in the README.
    strikes
        Every hypothesis with one of these legs or causes, and these very hypotheses, are struck out.
    source
        The AWS page it rests on, or how it follows.
    observe
        Gives the observation in words for this flow, ``None`` where the rule does not apply.
    conflicts
        The evidence speaks both ways: nothing is struck out and the verdict can be no more than possible.
    """

    kind: EvidenceKind
    when: str
    strikes: tuple[Leg | Cause | Hypothesis, ...]
    strength: Strength
    source: str
    observe: Callable[[Facts], str | None]
    conflicts: bool = False


# --- the table --------------------------------------------------------------------------------------------------------

VPC_GUIDE = "https://docs.aws.amazon.com/vpc/latest/userguide/"
FLOW_LOG_RECORDS = f"{VPC_GUIDE}flow-log-records.html"
RECORD_EXAMPLES = f"{VPC_GUIDE}flow-logs-records-examples.html"
NETWORK_ACLS = f"{VPC_GUIDE}vpc-network-acls.html"
BLOCK_PUBLIC_ACCESS = f"{VPC_GUIDE}security-vpc-bpa-basics.html"
NAT_GATEWAYS = f"{VPC_GUIDE}nat-gateway-basics.html"
CONNECTION_TRACKING = (
    "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html"
)

AWS_CONTROLS = (Cause.BLOCK_PUBLIC_ACCESS, Cause.ENCRYPTION_CONTROLS)
ALL_BUT_CLOSED = tuple(cause for cause in Cause if cause is not Cause.CLOSED_CONNECTION)
SECURITY_GROUP_RULES = f"{VPC_GUIDE}security-group-rules.html"
