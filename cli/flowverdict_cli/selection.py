"""Which of the rejected flows ``flowverdict explain`` shows: the filters of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flowverdict.alerts.severity import service_port, severity_of

if TYPE_CHECKING:
    from flowverdict.alerts.model import Severity
    from flowverdict.core.addresses import Network
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.verdict.explanation import Explanation
    from flowverdict.verdict.model import VerdictKind
    from flowverdict_cli.inputs import Period


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a flow must have to be shown; ``None`` asks nothing.

    A flow is of the period if some of its records may be. Every file is read whole and every flow
    is explained first: what is not shown may be the request that explains a reply.
    """

    period: Period | None = None
    severity: Severity | None = None
    interface: str | None = None
    vpc: str | None = None
    remote: Network | None = None
    port: int | None = None
    verdict: VerdictKind | None = None

    def __contains__(self, explanation: Explanation) -> bool:
        """Whether the flow is shown."""
        flow = explanation.flow
        ports = (service_port(explanation), flow.key.destination_port)
        return (
            self._is_of_period(flow)
            and (self.severity is None or severity_of(explanation)[0].rank <= self.severity.rank)
            and self.interface in {None, flow.key.interface}
            and self.vpc in {None, flow.context.vpc_id}
            and (self.remote is None or _is_remote(explanation, self.remote))
            and (self.port is None or self.port in ports)
            and self.verdict in {None, explanation.verdict.kind}
        )

    def _is_of_period(self, flow: RejectedFlow) -> bool:
        """Whether the flow's records are of the period; one without times may be of any."""
        if self.period is None:
            return True
        first, last = flow.traffic.first_start, flow.traffic.last_end
        first, last = last if first is None else first, first if last is None else last
        if first is None or last is None:
            return True
        try:
            span = datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC)
        except (ValueError, OverflowError, OSError):
            return True  # seconds of no year
        return self.period.has(*span)


def _is_remote(explanation: Explanation, network: Network) -> bool:
    """Whether the far end lies in the range; either end where the direction is not known."""
    flow = explanation.flow
    ends = (
        (flow.key.packet_source, flow.key.packet_destination)
        if flow.direction is None
        else (flow.remote,)
    )
    return any(end is not None and end in network for end in ends)
