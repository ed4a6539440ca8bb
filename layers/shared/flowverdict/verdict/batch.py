"""Read flow log files into one batch and explain its rejected flows.

The command evaluates all files of a call together, so that a request in one file explains the reply
in another. The functions use only ``explain_flows``: they evaluate flows by window.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from flowverdict.core.errors import NotAFlowLogError, ObjectError
from flowverdict.flowlog.line_reader import LineReader
from flowverdict.flowlog.losses import Loss, span_of_file
from flowverdict.flowlog.object_key import contradiction_in, origin_of
from flowverdict.flowlog.record_counts import RecordCounts
from flowverdict.flows.collector import FlowCollector
from flowverdict.flows.evidence import FlowsByWindow
from flowverdict.flows.read_source import Reading, read_text
from flowverdict.verdict.explain import explain_together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.core.availability import NotAvailable
    from flowverdict.flowlog.records import RecordFormat
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.ports import ConfigSource
    from flowverdict.verdict.aws_ranges import AwsRanges
    from flowverdict.verdict.explanation import Explanation
    from flowverdict.verdict.remediation.offers import OpenOffers


@dataclass(frozen=True, slots=True)
class FixedConfig:
    """One configuration for every account and Region, as a snapshot file holds it."""

    config: NetConfig

    def read(
        self,
        account_id: str | None,  # noqa: ARG002 - the same for all
        region: str | None,  # noqa: ARG002
        flows: Sequence[RejectedFlow],  # noqa: ARG002
        *,
        seconds: float | None = None,  # noqa: ARG002
    ) -> NetConfig:
        """Return the configuration."""
        return self.config


@dataclass(slots=True)
class Batch:
    """All files that the command evaluates together.

    Parameters
    ----------
    most
        How many flows are evaluated one by one at most, ``None`` for all; see ``FlowCollector``.
    with_services
        As in ``FlowCollector``; hashing the services takes a tenth of the time of reading.
    """

    most: int | None = None
    with_services: bool = True
    flows: FlowCollector = field(init=False)
    counts: RecordCounts = field(init=False, default_factory=RecordCounts)

    def __post_init__(self) -> None:
        self.flows = FlowCollector(
            secrets.randbits(64), most=self.most, with_services=self.with_services
        )

    def add_file(
        self, stream: BinaryIO, *, name: str, headerless: tuple[RecordFormat, ...] = ()
    ) -> Reading:
        """Read one flow log file; its name gives account and Region where the records lack them.

        Raises
        ------
        ObjectError
            The file is not a flow log or cannot be read to its end. The batch then has nothing of
            it, and knows that its records are missing.
        """
        if (reason := contradiction_in(name)) is not None:
            self.flows.losses.add(Loss.NOT_READ)
            raise NotAFlowLogError(name, reason)
        origin = origin_of(name)
        flows = FlowsByWindow(
            self.flows.seed,
            origin,
            name=name,
            apart=False,
            most=self.most,
            with_services=self.with_services,
        )
        try:
            reading = read_text(
                stream,
                flows,
                LineReader(headerless),
                name=name,
                seed=self.flows.seed,
                headerless=headerless,
            )
        except ObjectError:
            self.add_unread(name)
            raise
        for window_flows in flows.windows.values():
            self.flows.merge(window_flows, spent=True)
        self.flows.accepted_index.shrink()
        self.counts.merge(reading.counts)
        return reading

    def add_unread(self, name: str) -> None:
        """Note that the records of a file are missing, since it could not be read."""
        self.flows.losses.add(Loss.NOT_READ, None, origin_of(name), span_of_file(name))

    def explanations(
        self, configs: ConfigSource | None = None, ranges: AwsRanges | None = None
    ) -> list[Explanation]:
        """Explain every rejected flow, in the order in which the flows were first seen.

        ``ranges`` is a list of AWS's ranges in place of the one that comes with this version.
        """
        return explain_flows([*self.flows.rejected()], configs, ranges=ranges)


def explain_flows(
    flows: Sequence[RejectedFlow],
    configs: ConfigSource | None,
    open_offers: OpenOffers | None = None,
    ranges: AwsRanges | None = None,
) -> list[Explanation]:
    """Explain rejected flows, in their order; the rules are read once an account and Region.

    No rules are read for the flows of a transit gateway. Fixes are made for all flows together:
    one for each problem, with rule numbers of its own; ``open_offers`` is what other fixes offer,
    ``ranges`` a list of AWS's ranges in place of the one that comes with this version.
    """
    by_place: dict[tuple[str | None, str | None], list[RejectedFlow]] = {}
    for flow in flows:
        if flow.packets_lost is None:
            by_place.setdefault((flow.context.account_id, flow.context.region), []).append(flow)
    read: dict[tuple[str | None, str | None], NetConfig | NotAvailable | None] = {
        place: None if configs is None else configs.read(*place, flows_there)
        for place, flows_there in by_place.items()
    }
    return explain_together(
        ((flow, read.get((flow.context.account_id, flow.context.region))) for flow in flows),
        open_offers,
        ranges,
    )
