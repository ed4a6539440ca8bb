"""The decision table: laws that hold for every row, and the confidence rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowverdict.flowlog.records import DEFAULT_FORMAT, RecordFormat
from flowverdict.flows.collector import FlowCollector
from flowverdict.verdict.decide import decide, possible_hypotheses
from flowverdict.verdict.evidence_rules import RULES, decision_table
from flowverdict.verdict.evidence_rules.predicates import answers, opens
from flowverdict.verdict.model import (
    UNTRACKED_RESPONSE,
    Cause,
    Confidence,
    Facts,
    Hypothesis,
    Leg,
    Strength,
    VerdictKind,
)
from tests.helpers.hypothesis_weight import examples

ROOT = Path(__file__).parents[2]
FORMAT = RecordFormat(
    (
        *DEFAULT_FORMAT.names,
        "tcp-flags",
        "pkt-srcaddr",
        "pkt-dstaddr",
        "flow-direction",
        "reject-reason",
        "interface-type",
    )
)


def facts_of(*lines: str) -> Facts:
    collector = FlowCollector()
    for line in lines:
        collector.add(FORMAT.parse(line if len(line.split()) == len(FORMAT.names) else f"{line} -"))
    (flow,) = collector.rejected()
    return Facts(flow=flow)


def line(
    *,
    ports: str = "50122 443",
    ends: str = "10.0.2.20 10.0.1.5",
    action: str = "REJECT",
    start: int = 100,
    tail: str,
) -> str:
    return f"8 123456789012 eni-1 {ends} {ports} 6 1 44 {start} {start + 5} {action} OK {tail}"


REQUEST = "10.0.2.20 10.0.1.5 ingress -"
REPLY = "10.0.1.5 10.0.2.20 egress -"


def test_a_security_group_blocks_a_response_only_of_an_untracked_connection() -> None:
    request = line(action="ACCEPT", tail=f"2 {REQUEST}")
    reply = line(ends="10.0.1.5 10.0.2.20", ports="443 50122", tail=f"0 {REPLY}")
    late = line(ends="10.0.1.5 10.0.2.20", ports="443 50122", start=2_000, tail=f"0 {REPLY}")
    assert UNTRACKED_RESPONSE not in possible_hypotheses(facts_of(request, reply))
    assert UNTRACKED_RESPONSE not in possible_hypotheses(facts_of(request, late))
    assert Hypothesis(Leg.RESPONSE, Cause.NETWORK_ACL) in possible_hypotheses(facts_of(reply))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.kind}-{rule.strength.name}")
def test_every_row_has_a_source_and_strikes_something_or_says_it_conflicts(rule: object) -> None:
    assert rule in RULES
    (row,) = [entry for entry in RULES if entry is rule]
    assert row.source.startswith("https://docs.aws.amazon.com/")
    assert bool(row.strikes) is not row.conflicts


def test_port_numbers_are_never_more_than_weak() -> None:
    assert {rule.strength for rule in RULES if rule.kind == "ports"} == {Strength.WEAK}


def test_the_page_holds_the_table_of_the_code() -> None:
    assert decision_table() in (ROOT / "docs" / "understand" / "evidence.md").read_text()


def test_certain_needs_hard_evidence_alone() -> None:
    syn = decide(facts_of(line(tail=f"2 {REQUEST}")))
    assert (syn.kind, syn.confidence) == (
        VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP,
        Confidence.CERTAIN,
    )
    assert {item.strength for item in syn.evidence} == {Strength.HARD}


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("BPA", VerdictKind.BLOCK_PUBLIC_ACCESS), ("EC", VerdictKind.ENCRYPTION_CONTROLS)],
)
def test_the_reason_that_aws_names_overrules_what_addresses_suggest(
    reason: str, kind: VerdictKind
) -> None:
    named = decide(facts_of(line(tail=f"2 10.0.2.20 10.0.1.5 ingress {reason}")))
    assert (named.kind, named.confidence) == (kind, Confidence.CERTAIN)


def test_a_reason_that_only_some_records_have_is_not_certain_for_all() -> None:
    some = line(tail="2 203.0.113.9 10.0.1.5 ingress BPA")
    others = line(start=200, tail="2 203.0.113.9 10.0.1.5 ingress -")
    mixed = decide(facts_of(some, others))
    assert (mixed.kind, mixed.confidence) == (VerdictKind.UNDETERMINED, Confidence.POSSIBLE)


def test_a_syn_among_late_packets_of_another_connection_is_not_certain() -> None:
    late, syn = line(tail=f"4 {REQUEST}"), line(start=400, tail=f"2 {REQUEST}")
    mixed = decide(facts_of(late, syn))
    assert (mixed.leg, mixed.confidence) == (Leg.REQUEST, Confidence.LIKELY)


def test_evidence_that_leaves_nothing_is_undetermined_and_shows_both_sides() -> None:
    subnet = RecordFormat((*FORMAT.names, "subnet-id"))
    collector = FlowCollector()
    for text in (
        line(action="ACCEPT", tail=f"2 {REQUEST} - subnet-1"),
        line(
            ends="10.0.1.5 10.0.2.20", ports="443 50122", start=104, tail=f"18 {REPLY} - subnet-1"
        ),
        line(
            ends="10.0.2.20 10.0.1.99",
            tail="2 10.0.2.20 10.0.1.99 egress - - subnet-1",
            action="ACCEPT",
        ).replace("eni-1", "eni-2"),
    ):
        collector.add(subnet.parse(text))
    (flow,) = collector.rejected()
    contradiction = decide(Facts(flow=flow))
    assert (contradiction.kind, contradiction.confidence) == (
        VerdictKind.UNDETERMINED,
        Confidence.POSSIBLE,
    )
    assert {item.kind for item in contradiction.evidence} >= {"same-subnet", "tcp-syn-ack"}


def test_a_reply_is_certain_only_where_its_connection_was_surely_tracked_and_its_syn_is_fresh() -> (
    None
):
    # A NAT gateway tracks every connection and has no security group. At other interfaces, a rule
    # of a security group may have been removed during the connection.
    nat = " nat_gateway"
    request = line(action="ACCEPT", tail=f"2 {REQUEST}")
    soon = line(ends="10.0.1.5 10.0.2.20", ports="443 50122", start=104, tail=f"18 {REPLY}")
    late = line(ends="10.0.1.5 10.0.2.20", ports="443 50122", start=900, tail=f"18 {REPLY}")
    confidences = {
        "plain": decide(facts_of(request + " -", soon + " -")).confidence,
        "NAT gateway": decide(facts_of(request + nat, soon + nat)).confidence,
        "NAT gateway, late": decide(facts_of(request + nat, late + nat)).confidence,
    }
    assert confidences == {
        "plain": Confidence.LIKELY,
        "NAT gateway": Confidence.CERTAIN,
        "NAT gateway, late": Confidence.LIKELY,
    }


def test_a_reply_that_was_accepted_at_another_time_is_not_certain() -> None:
    request = line(action="ACCEPT", tail=f"2 {REQUEST}")
    accepted = line(
        ends="10.0.1.5 10.0.2.20", ports="443 50122", action="ACCEPT", start=300, tail=f"18 {REPLY}"
    )
    rejected = line(ends="10.0.1.5 10.0.2.20", ports="443 50122", start=104, tail=f"18 {REPLY}")
    verdict = decide(facts_of(request, accepted, rejected))
    assert (verdict.leg, verdict.kind, verdict.confidence) == (
        Leg.RESPONSE,
        VerdictKind.NETWORK_ACL,
        Confidence.LIKELY,
    )


@pytest.mark.parametrize(
    ("flags", "opening", "answering"),
    [
        (2, True, False),
        (3, True, False),
        (18, False, True),
        (19, False, True),
        (0, False, False),
        (1, False, False),
        (4, False, False),
        (None, False, False),
    ],
)
def test_flags_say_who_started_as_aws_documents(
    flags: int | None,
    opening: bool,  # noqa: FBT001
    answering: bool,  # noqa: FBT001
) -> None:
    assert (opens(flags), answers(flags)) == (opening, answering)


TAILS = st.builds(
    lambda flags, direction, reason: (flags, direction, reason),
    st.sampled_from(["-", "0", "1", "2", "3", "4", "18", "19"]),
    st.sampled_from(["ingress", "egress", "-"]),
    st.sampled_from(["-", "BPA", "EC"]),
)


@examples(3)
@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.sampled_from(["ACCEPT", "REJECT"]),
            st.integers(0, 1000),
            TAILS,
            st.sampled_from(["6", "17", "1"]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_every_verdict_has_evidence_and_certain_never_rests_on_less_than_hard(
    seen: list[tuple[bool, str, int, tuple[str, str, str], str]],
) -> None:
    collector = FlowCollector()
    for forward, action, start, (flags, direction, reason), protocol in seen:
        ends, ports = (
            ("10.0.2.20 10.0.1.5", "50122 443") if forward else ("10.0.1.5 10.0.2.20", "443 50122")
        )
        text = (
            f"8 123456789012 eni-1 {ends} {ports} {protocol} 1 44 {start} {start} "
            f"{action} OK {flags} "
            f"{ends} {direction} {reason} -"
        )
        collector.add(FORMAT.parse(text))
    for flow in collector.rejected():
        verdict = decide(Facts(flow=flow))
        assert verdict.evidence
        if verdict.confidence is Confidence.CERTAIN:
            assert verdict.kind is not VerdictKind.UNDETERMINED
            assert any(item.strength is Strength.HARD for item in verdict.evidence)
        if verdict.leg is Leg.RESPONSE:
            assert verdict.kind is not VerdictKind.SECURITY_GROUP
