"""Check whether the rules by now let the packets of an alert pass.

A few packets of each alert are stored with it. When the rules are read again and let all of these
packets pass, the alert is fixed, long before the absence of further rejects would show that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING

from flowverdict.core.availability import NotAvailable
from flowverdict.flowlog.flow_key import FlowKey
from flowverdict.flowlog.losses import NOTHING_MISSING
from flowverdict.flowlog.records import FlowDirection
from flowverdict.flows.model import Context, RejectedFlow, TrafficTotals
from flowverdict.flows.observed import NOTHING_OBSERVED
from flowverdict.network.packet import Outcome
from flowverdict.verdict.model import Leg
from flowverdict.verdict.rules_check import check_rules

if TYPE_CHECKING:
    from flowverdict.network.configuration import NetConfig
    from flowverdict.verdict.explanation import Explanation


MAX_SAMPLES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A rejected packet, with what is needed to evaluate it again.

    Addresses are text, because a sample is stored as JSON.
    """

    account_id: str | None
    region: str | None
    interface_id: str
    source: str
    destination: str
    source_port: int | None
    destination_port: int | None
    protocol: int
    direction: str
    leg: str

    def flow(self) -> RejectedFlow:
        """Return the rejected flow, as far as reading and applying the rules needs it."""
        source, destination = ip_address(self.source), ip_address(self.destination)
        direction = FlowDirection(self.direction)
        return RejectedFlow(
            key=FlowKey(
                self.interface_id,
                source,
                destination,
                source,
                destination,
                self.source_port,
                self.destination_port,
                self.protocol,
                direction,
            ),
            traffic=TrafficTotals(),
            context=Context(account_id=self.account_id, region=self.region),
            direction=direction,
            direction_logged=True,
            mirror=None,
            same=None,
            accepts_logged=False,
            accepts_logged_elsewhere=False,
            losses=NOTHING_MISSING,
            forwards=False,
            same_subnet=None,
            observed=NOTHING_OBSERVED,
            packet_addresses_logged=True,
        )


def sample_of(explanation: Explanation) -> Sample | None:
    """Return the packet of a flow that rules block.

    ``None`` where the rules or the leg are not known well enough to evaluate the packet again.
    """
    flow, rules_check = explanation.flow, explanation.rules_check
    if (
        rules_check is None
        or explanation.blocker is None
        or flow.interface_id is None
        or explanation.verdict.leg is Leg.UNKNOWN
    ):
        return None
    packet = rules_check.packet
    if packet.protocol is None:
        return None
    return Sample(
        account_id=flow.context.account_id,
        region=flow.context.region,
        interface_id=flow.interface_id,
        source=str(packet.source),
        destination=str(packet.destination),
        source_port=packet.source_port,
        destination_port=packet.destination_port,
        protocol=packet.protocol,
        direction=rules_check.direction.value,
        leg=explanation.verdict.leg.value,
    )


class Passage(StrEnum):
    """What the rules do with a packet, as far as is certain."""

    PASSES = "passes"
    BLOCKED = "blocked"
    UNKNOWN = "unknown"


def passage(sample: Sample, config: NetConfig) -> Passage:
    """Return what the rules do with the packet: a reply the network ACL, a request all rules.

    ``UNKNOWN`` if the interface is gone or a rule leaves the answer open.
    """
    rules_check = check_rules(sample.flow(), config)
    if isinstance(rules_check, NotAvailable):
        return Passage.UNKNOWN
    outcomes = {rules_check.acl_outcome}
    if sample.leg != Leg.RESPONSE:
        outcomes.add(rules_check.groups.outcome)
    if Outcome.DENY in outcomes:
        return Passage.BLOCKED
    return Passage.PASSES if outcomes == {Outcome.ALLOW} else Passage.UNKNOWN
