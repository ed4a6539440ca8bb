"""The form of an evidence rule, and the AWS pages that the rules rest on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntFlag
from functools import cache
from typing import TYPE_CHECKING

from flowverdict.verdict.model import Cause, Hypothesis, Leg, Strength

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowverdict.verdict.model import EvidenceKind, Facts


class Need(IntFlag):
    """What is known of some flows only. A rule that needs what a flow lacks is not asked about it.

    ``FLAGS`` are TCP flags of the rejected records, ``REASON`` a logged ``reject-reason``,
    ``ACCEPTED`` accepted traffic of either direction.
    """

    NOTHING = 0
    RULES = 1
    MIRROR = 2
    SAME = 4
    FLAGS = 8
    REASON = 16
    ACCEPTED = 32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """A row of the decision table; there is one object for each row and each part of one.

    Parameters
    ----------
    when
        What must be observed, in words, for the table in docs/understand/evidence.md.
    strikes
        Legs, causes and single hypotheses: a hypothesis with one of them is struck out.
    by_absence
        Those of ``strikes`` that rest on a record that was not seen. Where records of the interface
        are missing, this evidence is weak. A hard rule is then soft in the rest, and as a whole
        where records only may be missing: soft evidence can be overturned by a lost record anyway.
    source
        The AWS page that the rule rests on.
    observe
        Returns the observation in words for a flow; ``None`` where the rule does not apply.
    needs
        Without all of it, ``observe`` returns ``None``.
    conflicts
        The evidence contradicts itself: nothing is struck out, and the verdict is at most possible.
    """

    kind: EvidenceKind
    when: str
    strikes: tuple[Leg | Cause | Hypothesis, ...]
    strength: Strength
    source: str
    observe: Callable[[Facts], str | None]
    by_absence: tuple[Leg | Cause | Hypothesis, ...] = ()
    needs: Need = Need.NOTHING
    conflicts: bool = False

    def parts(self, facts: Facts) -> tuple[Rule, ...]:
        """Return the rule, or its parts of less strength where records are or may be missing."""
        if not (self.by_absence and facts.flow.losses):
            return (self,)
        return _parts(self, surely=bool(facts.flow.losses.surely))


@cache
def _parts(rule: Rule, *, surely: bool) -> tuple[Rule, ...]:
    if not surely:
        return (replace(rule, strength=max(rule.strength, Strength.SOFT)),)
    rest = tuple(item for item in rule.strikes if item not in rule.by_absence)
    weak = replace(rule, strikes=rule.by_absence, strength=Strength.WEAK)
    if not rest:
        return (weak,)
    return replace(rule, strikes=rest, strength=max(rule.strength, Strength.SOFT)), weak


VPC_GUIDE = "https://docs.aws.amazon.com/vpc/latest/userguide/"
EC2_GUIDE = "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/"
FLOW_LOG_RECORDS = f"{VPC_GUIDE}flow-log-records.html"
RECORD_EXAMPLES = f"{VPC_GUIDE}flow-logs-records-examples.html"
FLOW_LOG_LIMITATIONS = f"{VPC_GUIDE}flow-logs-limitations.html"
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
