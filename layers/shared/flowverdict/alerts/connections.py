"""Count how many of the connections to a service failed: the "how much of how much" of an alert."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from flowverdict.alerts.model import Alert
from flowverdict.flows.connections import connections_to
from flowverdict.verdict.model import Confidence, Leg, VerdictKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowverdict.alerts.detection import Detection
    from flowverdict.flowlog.flow_key import FlowKey
    from flowverdict.flows.collector import FlowCollector
    from flowverdict.verdict.explanation import Explanation

_MAX_ALERTS = 1_000  # the most severe ones; of each the services are looked for among all flows


def with_connections(
    detections: Sequence[Detection],
    members: Mapping[str, Sequence[Explanation]],
    collected: FlowCollector,
) -> list[Detection]:
    """Return the detections with ``Alert.connections`` where the flow logs can show them.

    They cannot where the accepted flows are not logged at each of the interfaces, or where the
    alert's packets are not surely requests or replies, or have no port of a service. A connection
    is a client's address and port, and the address and port of the service, at one interface. One
    that is used again after its end counts once. It failed if a request was rejected, or a reply.
    One of whose packets some passed failed too.

    Parameters
    ----------
    members
        All flows of each alert, by its fingerprint.
    """
    countable = (each for each in detections if _is_countable(each, members))
    names = [each.notification.fingerprint for each in islice(countable, _MAX_ALERTS)]
    counts = connections_to(collected, [_requests(members[name]) for name in names])
    if counts is None:
        return [*detections]
    seen = dict(zip(names, counts, strict=True))
    return [
        _with(each, members[name], seen[name], collected)
        if (name := each.notification.fingerprint) in seen
        else each
        for each in detections
    ]


def _is_countable(detection: Detection, members: Mapping[str, Sequence[Explanation]]) -> bool:
    alert = detection.notification
    return (
        isinstance(alert, Alert)
        and alert.service_port is not None
        and alert.leg in {Leg.REQUEST, Leg.RESPONSE}
        and alert.confidence != Confidence.POSSIBLE
        and alert.verdict != VerdictKind.CLOSED_CONNECTION  # it was over, and did not fail
        and all(each.flow.accepts_logged for each in members.get(alert.fingerprint, ()))
        and alert.fingerprint in members
    )


def _requests(flows: Sequence[Explanation]) -> dict[FlowKey, bool]:
    """Return the requests of the flows' connections, and whether some were accepted too."""
    return {
        key if is_request else key.mirrors()[0]: accepted is not None
        for each in flows
        for key, is_request in [(each.flow.key, each.verdict.leg is Leg.REQUEST)]
        for accepted in [each.flow.same if is_request else each.flow.mirror]
    }


def _with(
    detection: Detection, flows: Sequence[Explanation], seen: int, collected: FlowCollector
) -> Detection:
    alert = detection.notification
    if not isinstance(alert, Alert):
        return detection
    is_least = any(
        each.flow.losses or each.flow.key.interface in collected.aggregated for each in flows
    )
    # Two flows of one connection differ in what their records say of the direction.
    connections = max(seen, alert.flows)
    return replace(
        detection,
        notification=replace(alert, connections=connections, connections_at_least=is_least),
    )
