"""A rule says nothing of a flow that lacks what the rule needs, so it need not be asked."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from flowverdict.core.addresses import address_of
from flowverdict.flowlog.fields import OBSERVED_FIELDS
from flowverdict.flowlog.flow_key import FlowKey
from flowverdict.flowlog.losses import Loss, Missing
from flowverdict.flowlog.records import FlowDirection
from flowverdict.flows.accepted_index import Activity
from flowverdict.flows.model import Context, RejectedFlow, TrafficTotals
from flowverdict.flows.observed import ObservedValues
from flowverdict.verdict.decide import known_of
from flowverdict.verdict.evidence_rules import RULES
from flowverdict.verdict.evidence_rules.rule import Need
from flowverdict.verdict.model import Facts
from tests.helpers.hypothesis_weight import examples
from tests.helpers.shop import APP, explain, line

_NUMBERS = st.none() | st.integers(0, 63)
_TIMES = st.none() | st.integers(1_000, 1_400)
_ADDRESSES = st.none() | st.sampled_from(
    [*map(address_of, ("10.0.2.20", "10.0.2.255", "203.0.113.9", "224.0.0.1", "2001:db8::1"))]
)
_PORTS = st.none() | st.sampled_from((0, 20, 53, 443, 5_000, 40_000))
_ACTIVITIES = st.builds(Activity, _TIMES, _TIMES, _NUMBERS)
_REASONS = st.sets(st.sampled_from((None, "-", "BPA", "EC", "NEW")))
_LOSSES = st.frozensets(st.sampled_from(Loss))
_KINDS = st.none() | st.sampled_from(("nat_gateway", "vpc_endpoint", "lambda", "transit_gateway"))

_CHECKS = [
    None,
    *(
        explain(line(APP, ends, ports, f"2 {ends} ingress -")).rules_check
        for ends in ("10.0.2.77 10.0.2.20", "203.0.113.9 10.0.2.20")
        for ports in ("40000 443", "443 40000")
    ),
]


@st.composite
def _facts(draw: st.DrawFn) -> Facts:
    observed = dict.fromkeys(OBSERVED_FIELDS, frozenset({None}))
    flow = RejectedFlow(
        key=FlowKey(
            "eni-1",
            draw(_ADDRESSES),
            draw(_ADDRESSES),
            draw(_ADDRESSES),
            draw(_ADDRESSES),
            draw(_PORTS),
            draw(_PORTS),
            draw(st.sampled_from((None, 1, 6, 17, 47, 58))),
            draw(st.none() | st.sampled_from(FlowDirection)),
        ),
        traffic=TrafficTotals(
            draw(_TIMES),
            draw(_TIMES),
            draw(_NUMBERS),
            1,
            draw(st.integers(0, 3)),
            draw(st.sampled_from((0, 56, 576))),
            draw(st.integers(-1, 63)),
        ),
        context=Context(interface_type=draw(_KINDS), subnet_id="subnet-1"),
        direction=draw(st.none() | st.sampled_from(FlowDirection)),
        direction_logged=draw(st.booleans()),
        mirror=draw(st.none() | _ACTIVITIES),
        same=draw(st.none() | _ACTIVITIES),
        accepts_logged=draw(st.booleans()),
        accepts_logged_elsewhere=draw(st.booleans()),
        losses=Missing(surely=draw(_LOSSES), perhaps=draw(_LOSSES)),
        forwards=draw(st.booleans()),
        same_subnet=draw(st.none() | st.booleans()),
        observed=ObservedValues.of({**observed, "reject-reason": draw(_REASONS)}),
        packet_addresses_logged=draw(st.booleans()),
    )
    return Facts(flow=flow, rules_check=draw(st.sampled_from(_CHECKS)))


@given(_facts())
@examples(4)
def test_a_rule_says_nothing_where_it_lacks_what_it_needs(facts: Facts) -> None:
    known = known_of(facts)
    for rule in RULES:
        if rule.needs & known != rule.needs:
            assert rule.observe(facts) is None, (rule.when, Need(rule.needs & ~known))


@given(_facts())
def test_what_is_known_is_known_by_its_name(facts: Facts) -> None:
    every = replace(
        facts,
        rules_check=_CHECKS[1],
        flow=replace(
            facts.flow,
            mirror=Activity(),
            same=Activity(),
            traffic=TrafficTotals(tcp_flags=2),
            observed=ObservedValues.of({"reject-reason": {"BPA"}}),
        ),
    )
    assert known_of(every) == sum(Need)
    nothing = replace(
        facts,
        rules_check=None,
        flow=replace(
            facts.flow,
            mirror=None,
            same=None,
            traffic=TrafficTotals(),
            observed=ObservedValues.of({}),
        ),
    )
    assert known_of(nothing) == Need.NOTHING
    one = {
        Need.RULES: replace(nothing, rules_check=_CHECKS[1]),
        Need.MIRROR | Need.ACCEPTED: replace(
            nothing, flow=replace(nothing.flow, mirror=Activity())
        ),
        Need.SAME | Need.ACCEPTED: replace(nothing, flow=replace(nothing.flow, same=Activity())),
        Need.FLAGS: replace(
            nothing, flow=replace(nothing.flow, traffic=TrafficTotals(tcp_flags=0))
        ),
        Need.REASON: replace(
            nothing,
            flow=replace(nothing.flow, observed=ObservedValues.of({"reject-reason": {None, "-"}})),
        ),
    }
    for need, such in one.items():
        assert known_of(such) == need
