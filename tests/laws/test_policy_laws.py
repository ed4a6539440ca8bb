"""What a policy mutes, against its entries: each muted flow matches its entry, other flows none.

Requirement: "All given matchers must hold, any value within one. An expired silence mutes nothing."
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from flowverdict.alerts.grouping import fingerprint_of
from flowverdict.alerts.model import Severity
from flowverdict.alerts.severity import service_port, severity_of
from flowverdict.flowlog.records import Action, FlowDirection, FlowRecord
from flowverdict.flows.collector import FlowCollector
from flowverdict.policy.entries import Expected, Match, Silence
from flowverdict.policy.model import Policy
from flowverdict.verdict.explain import explain_one
from flowverdict.verdict.model import VerdictKind

if TYPE_CHECKING:
    from flowverdict.verdict.explanation import Explanation

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
# Few values of each, so that flows and entries meet.
_ADDRESSES = [
    ip_address(text)
    for text in ("10.0.0.1", "10.0.1.2", "203.0.113.5", "2001:db8::1", "2001:db8:1::2")
]
_NETWORKS = [
    ip_network(text)
    for text in (
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.0.0.0/24",
        "10.0.0.1",
        "203.0.113.5/32",
        "::/0",
        "2001:db8::/32",
        "2001:db8::1/128",
    )
]
_PORTS = [0, 22, 443, 40_000, 50_122]


def some[T](values: list[T]) -> st.SearchStrategy[tuple[T, ...] | None]:
    """Draw one or two of the values, or ``None``."""
    return st.none() | st.lists(st.sampled_from(values), min_size=1, max_size=2).map(tuple)


_MATCHES = (
    st.fixed_dictionaries(
        {
            "cidr": some(_NETWORKS),
            "port": some(_PORTS),
            "interface_id": some(["eni-1", "eni-2"]),
            "vpc_id": some(["vpc-1", "vpc-2"]),
            "verdict": some([*VerdictKind]),
            "protocol": some([1, 6]),
            "account_id": some(["123456789012"]),
            "severity": some([*Severity]),
        }
    )
    .map(lambda given: {name: values for name, values in given.items() if values is not None})
    .filter(bool)
    .map(Match.model_validate)
)
_TIMES = st.sampled_from([-1, 0, 1]).map(lambda seconds: NOW + timedelta(seconds=seconds))
_POLICIES = st.builds(
    Policy,
    silences=st.lists(
        st.builds(Silence, match=_MATCHES, until=_TIMES, reason=st.just("test")), max_size=4
    ).map(tuple),
    expected=st.lists(st.builds(Expected, match=_MATCHES, reason=st.just("test")), max_size=4).map(
        tuple
    ),
)


def _explained(records: list[FlowRecord]) -> list[Explanation]:
    collector = FlowCollector()
    for record in records:
        collector.add(record)
    return [explain_one(flow, None) for flow in collector.rejected()]


_EXPLANATIONS = st.lists(
    st.builds(
        FlowRecord,
        account_id=st.sampled_from([None, "123456789012"]),
        interface_id=st.sampled_from([None, "eni-1", "eni-2"]),
        resource_id=st.sampled_from([None, "nat-1"]),
        srcaddr=st.sampled_from([None, *_ADDRESSES]),
        dstaddr=st.sampled_from([None, *_ADDRESSES]),
        srcport=st.sampled_from([None, *_PORTS]),
        dstport=st.sampled_from([None, *_PORTS]),
        protocol=st.sampled_from([None, 1, 6, 17]),
        action=st.sampled_from(Action),
        vpc_id=st.sampled_from([None, "vpc-1", "vpc-2"]),
        flow_direction=st.sampled_from([None, *FlowDirection]),
        reject_reason=st.sampled_from([None, "-", "BPA"]),
    ),
    max_size=12,
).map(_explained)


def holds(match: Match, explanation: Explanation) -> bool:
    """Say whether a match holds, word for word as the document promises."""
    flow, port = explanation.flow, service_port(explanation)
    ends = (
        {flow.remote}
        if flow.direction is not None
        else {flow.key.packet_source, flow.key.packet_destination}
    )
    ports: set[object] = {flow.key.source_port, flow.key.destination_port}
    ports = ports if port is None else {port}
    holding: dict[str, set[object]] = {
        "port": ports,
        "interface_id": {flow.interface_id},
        "vpc_id": {flow.context.vpc_id},
        "verdict": {explanation.verdict.kind},
        "protocol": {flow.key.protocol},
        "account_id": {flow.context.account_id},
        "severity": {severity_of(explanation)[0]},
        "fingerprint": {fingerprint_of(explanation)},
    }
    asked = {key: set(getattr(match, key)) for key in holding}
    return all(not asked[key] or bool(asked[key] & values) for key, values in holding.items()) and (
        not match.cidr
        or any(end is not None and end in network for end in ends for network in match.cidr)
    )


def _asked(policy: Policy) -> list[Silence | Expected]:
    return [*(one for one in policy.silences if one.until > NOW), *policy.expected]


@given(policy=_POLICIES, explanations=_EXPLANATIONS)
def test_the_first_entry_that_holds_mutes_and_what_none_holds_for_is_kept(
    policy: Policy, explanations: list[Explanation]
) -> None:
    sifted = policy.sift(explanations, NOW)
    for muted in sifted.muted:
        assert muted.entry is next(
            entry for entry in _asked(policy) if holds(entry.match, muted.explanation)
        )
        assert policy.entries()[muted.place] is muted.entry
    for kept in sifted.kept:
        assert not any(holds(entry.match, kept) for entry in _asked(policy))


@given(policy=_POLICIES, explanations=_EXPLANATIONS)
def test_none_is_lost_or_doubled_and_order_is_kept(
    policy: Policy, explanations: list[Explanation]
) -> None:
    sifted = policy.sift(explanations, NOW)
    muted = {id(one.explanation) for one in sifted.muted}
    assert [*sifted.kept] == [one for one in explanations if id(one) not in muted]
    assert [one.explanation for one in sifted.muted] == [
        one for one in explanations if id(one) in muted
    ]


@given(policy=_POLICIES, explanations=_EXPLANATIONS, data=st.data())
def test_order_of_explanations_does_not_matter(
    policy: Policy, explanations: list[Explanation], data: st.DataObject
) -> None:
    shuffled = policy.sift(data.draw(st.permutations(explanations)), NOW)
    sifted = policy.sift(explanations, NOW)
    assert {id(one) for one in shuffled.kept} == {id(one) for one in sifted.kept}
    assert {id(one.explanation): one.place for one in shuffled.muted} == {
        id(one.explanation): one.place for one in sifted.muted
    }


@given(policy=_POLICIES, explanations=_EXPLANATIONS)
def test_a_silence_that_has_ended_mutes_nothing(
    policy: Policy, explanations: list[Explanation]
) -> None:
    without = Policy(
        silences=tuple(one for one in policy.silences if one.until > NOW), expected=policy.expected
    )
    assert policy.sift(explanations, NOW).kept == without.sift(explanations, NOW).kept
    after = Policy(silences=policy.silences).sift(explanations, NOW + timedelta(days=1))
    assert (after.kept, after.muted) == (tuple(explanations), ())


@given(policy=_POLICIES, explanations=_EXPLANATIONS)
def test_what_matches_is_told_of_ended_silences_too(
    policy: Policy, explanations: list[Explanation]
) -> None:
    for explanation in explanations:
        assert policy.matching(explanation) == tuple(
            place for place, entry in policy.entries().items() if holds(entry.match, explanation)
        )
