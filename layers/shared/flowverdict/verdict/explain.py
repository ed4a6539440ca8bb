"""Explain rejected flows: rules check, verdict and endpoints of each, and the fixes of all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flowverdict.core.availability import NotAvailable
from flowverdict.network.configuration import NetConfig
from flowverdict.verdict.aws_ranges import name_far_end
from flowverdict.verdict.decide import decide
from flowverdict.verdict.endpoints import describe_endpoints
from flowverdict.verdict.explanation import Explanation
from flowverdict.verdict.model import Facts
from flowverdict.verdict.remediation.case import Case
from flowverdict.verdict.remediation.intent import no_fix_without_rules
from flowverdict.verdict.rules_check import check_rules, with_interface_facts
from flowverdict.verdict.transit_gateway import explain_packets_lost

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flowverdict.flows.model import RejectedFlow
    from flowverdict.verdict.aws_ranges import AwsRanges
    from flowverdict.verdict.remediation.model import Remediation
    from flowverdict.verdict.remediation.offers import OpenOffers


def explain_one(flow: RejectedFlow, config: NetConfig | NotAvailable | None) -> Explanation:
    """Explain one rejected flow; its fix is made for this flow alone.

    Parameters
    ----------
    config
        The rules; or why the rules could not be read, which is shown with the verdict; or ``None``
        where no rules were required. Not used for a flow of a transit gateway, which no rule
        blocks.
    """
    return explain_together([(flow, config)])[0]


def explain_together(
    flows: Iterable[tuple[RejectedFlow, NetConfig | NotAvailable | None]],
    open_offers: OpenOffers | None = None,
    ranges: AwsRanges | None = None,
) -> list[Explanation]:
    """Explain flows, each with its rules, in their order; flows of one problem get one fix.

    ``open_offers`` is what the fixes of other problems offer; see ``plan_fixes``. ``ranges`` is a
    list of AWS's ranges; see ``name_far_end``.
    """
    explained = [(_explained(flow, config), config) for flow, config in flows]
    cases = {
        index: Case(
            flow=one.flow,
            verdict=one.verdict,
            rules_check=one.rules_check,
            config=config,
            source_is_inside=one.source_is_inside,
            is_from_outside=one.is_from_outside,
            blocker=one.blocker,
        )
        for index, (one, config) in enumerate(explained)
        if one.rules_check is not None and isinstance(config, NetConfig)
    }
    fixes = _fixes(cases, open_offers) if cases else {}
    return [
        name_far_end(replace(one, remediation=fixes[index]) if index in fixes else one, ranges)
        for index, (one, _) in enumerate(explained)
    ]


def _fixes(
    cases: Mapping[int, Case], open_offers: OpenOffers | None
) -> dict[int, Remediation | NotAvailable]:
    from flowverdict.verdict.remediation.plan import plan_fixes  # noqa: PLC0415 - needs rules

    return dict(zip(cases, plan_fixes([*cases.values()], open_offers), strict=True))


def _explained(flow: RejectedFlow, config: NetConfig | NotAvailable | None) -> Explanation:
    """Explain a flow without its fix; without rules, the reason why there is no fix is final."""
    if flow.packets_lost is not None:
        return explain_packets_lost(flow, flow.packets_lost)
    if not isinstance(config, NetConfig):
        verdict = decide(Facts(flow=flow), None if config is None else config.reason)
        return Explanation(
            flow=flow,
            verdict=verdict,
            remediation=no_fix_without_rules(verdict.kind, "were not read"),
        )
    flow = with_interface_facts(flow, config)
    rules_check = check_rules(flow, config)
    if isinstance(rules_check, NotAvailable):
        verdict = decide(Facts(flow=flow), rules_check.reason)
        return Explanation(
            flow=flow,
            verdict=verdict,
            remediation=no_fix_without_rules(verdict.kind, "could not be applied"),
        )
    verdict = decide(Facts(flow=flow, rules_check=rules_check))
    return Explanation(
        flow=flow,
        verdict=verdict,
        rules_check=rules_check,
        endpoints=describe_endpoints(
            config,
            rules_check.interface,
            rules_check.packet.peer(rules_check.direction),
            rules_check.found_path,
        ),
        remediation=no_fix_without_rules(verdict.kind, "were read, a fix was not looked for"),
    )
