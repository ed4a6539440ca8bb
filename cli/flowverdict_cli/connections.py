"""Count how many of the connections to a service failed: the "how much of how much" of a problem.

The command reads all files itself, so it has seen the accepted flows too.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from flowverdict.core.formatting import counted
from flowverdict.core.protocols import Protocol
from flowverdict.flowlog.records import FlowDirection
from flowverdict.verdict.model import Confidence, Leg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowverdict.alerts.model import Alert
    from flowverdict.flowlog.flow_key import FlowKey
    from flowverdict.verdict.batch import Batch
    from flowverdict.verdict.explanation import Explanation

_MAX_ALERTS = 50  # each is looked up among all accepted flows
_WORDS = {FlowDirection.INGRESS: "inbound ", FlowDirection.EGRESS: "outbound ", None: ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """How many connections to a service failed, of how many that were seen.

    A connection is a client's address and port, and the address and port of the service, at one
    interface. One that is used again after its end counts once. It failed if a request was
    rejected, or a reply. One of whose packets some passed failed too.

    Parameters
    ----------
    direction
        Of the requests, as the interface sees them.
    is_least
        Whether there may be more than ``seen``, since records are missing or were not read.
    """

    failed: int
    seen: int
    protocol: int | None
    direction: FlowDirection | None
    is_least: bool

    def __str__(self) -> str:
        """Return the counts in words: ``3 of 480 inbound connections failed``."""
        noun = "connection" if self.protocol == Protocol.TCP else "flow"
        least = "at least " if self.is_least else ""
        seen = counted(self.seen, f"{_WORDS[self.direction]}{noun}")
        return f"{self.failed:,} of {least}{seen} failed"


def count(
    batch: Batch, alerts: Sequence[Alert], members: Mapping[str, list[Explanation]]
) -> dict[str, Connections]:
    """Return the connections of alerts by their fingerprints, where the input can know them.

    The input cannot know them where the accepted flows are not logged at each of the interfaces, or
    where the alert's packets are not surely requests or replies, or have no port of a service.

    Parameters
    ----------
    members
        All flows of each alert, by its fingerprint.
    """
    chosen = {
        alert.fingerprint: members[alert.fingerprint]
        for alert in islice((each for each in alerts if _is_countable(each, members)), _MAX_ALERTS)
    }
    accepted = batch.flows.accepted_to([list(map(_request, flows)) for flows in chosen.values()])
    counts = batch.counts
    is_least = bool(
        batch.flows.all_losses()
        or batch.flows.aggregated
        or counts.no_action
        or counts.malformed.total()
    )
    return {
        fingerprint: _connections(flows, passed, is_least=is_least)
        for (fingerprint, flows), passed in zip(chosen.items(), accepted, strict=True)
    }


def _is_countable(alert: Alert, members: Mapping[str, list[Explanation]]) -> bool:
    flows = members.get(alert.fingerprint, [])
    return (
        alert.service_port is not None
        and alert.leg in {Leg.REQUEST, Leg.RESPONSE}
        and alert.confidence != Confidence.POSSIBLE
        and len(flows) == alert.flows
        and all(each.flow.accepts_logged for each in flows)
    )


def _request(explanation: Explanation) -> FlowKey:
    """Return the key of the flow's requests."""
    key = explanation.flow.key
    return key if explanation.verdict.leg is Leg.REQUEST else key.mirrors()[0]


def _connections(flows: Sequence[Explanation], accepted: int, *, is_least: bool) -> Connections:
    first = flows[0]
    is_request = first.verdict.leg is Leg.REQUEST
    # Accepted requests of the failed connections are among the accepted flows.
    requests = (each.flow.same if is_request else each.flow.mirror for each in flows)
    not_accepted = sum(seen is None for seen in requests)
    direction = first.flow.direction
    if not is_request and direction is not None:
        direction = direction.opposite
    return Connections(
        failed=len(flows),
        seen=accepted + not_accepted,
        protocol=first.flow.key.protocol,
        direction=direction,
        is_least=is_least,
    )
