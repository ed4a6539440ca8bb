"""The policy document: what it may say, and how each problem of a bad document is reported."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_network

import pytest

from flowverdict.alerts.model import Severity
from flowverdict.core.errors import PolicyError
from flowverdict.policy.document import MAX_DOCUMENT_BYTES, parse_policy
from flowverdict.policy.entries import Expected, Match, Silence
from flowverdict.policy.model import Policy
from flowverdict.policy.values import parse_time
from flowverdict.verdict.model import VerdictKind
from tests.helpers.policy_documents import REFUSED, document, matching, silence


def problems(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    assert "\n" not in str(caught.value)
    return caught.value.problems


# --- valid documents ------------------------------------------------------------------------------


def test_a_document_of_every_key_is_read() -> None:
    policy = parse_policy(
        document(
            minimum_severity="low",
            silences=[
                silence(
                    match={
                        "cidr": ["203.0.113.0/24", "2001:db8::1"],
                        "port": [0, 65_535],
                        "interface_id": ["eni-0a"],
                        "vpc_id": ["vpc-0a"],
                        "verdict": ["network-acl"],
                    },
                    until="2026-12-01T01:30:00+01:00",
                    reason=" pen test ",
                )
            ],
            expected=[{"match": {"cidr": "10.0.0.0/8"}, "reason": "egress filter"}],
        )
    )
    assert policy == Policy(
        minimum_severity=Severity.LOW,
        silences=(
            Silence(
                match=Match(
                    cidr=(ip_network("203.0.113.0/24"), ip_network("2001:db8::1/128")),
                    port=(0, 65_535),
                    interface_id=("eni-0a",),
                    vpc_id=("vpc-0a",),
                    verdict=(VerdictKind.NETWORK_ACL,),
                ),
                until=datetime(2026, 12, 1, 0, 30, tzinfo=UTC),
                reason="pen test",
            ),
        ),
        expected=(Expected(match=Match(cidr=(ip_network("10.0.0.0/8"),)), reason="egress filter"),),
    )
    assert policy.silences[0].until.tzinfo is UTC


def test_a_document_may_say_nothing_but_its_version() -> None:
    assert parse_policy(document()) == Policy()
    assert Policy().entries() == {}
    assert all(Policy().allows(severity) for severity in Severity)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_bytes_are_read_in_the_encodings_that_shells_write(encoding: str) -> None:
    (entry,) = parse_policy(
        document(expected=[{"match": {"port": 1}, "reason": "Prüfung"}]).encode(encoding)
    ).expected
    assert entry.reason == "Prüfung"


@pytest.mark.parametrize(
    ("name", "scalar"),
    [
        ("cidr", "10.0.0.0/8"),
        ("port", 22),
        ("interface_id", "eni-0a"),
        ("vpc_id", "vpc-0a"),
        ("verdict", "undetermined"),
    ],
)
def test_a_single_value_is_a_list_of_one(name: str, scalar: object) -> None:
    assert parse_policy(matching(**{name: scalar})) == parse_policy(matching(**{name: [scalar]}))


def test_as_much_as_the_bounds_allow_is_read() -> None:
    policy = parse_policy(
        document(
            silences=[silence(match={"port": [*range(100)]}, reason="x" * 500)] + [silence()] * 199,
            expected=[{"match": {"port": 1}, "reason": "x"}] * 200,
        )
    )
    assert (len(policy.silences), len(policy.expected)) == (200, 200)
    assert parse_policy(document().ljust(MAX_DOCUMENT_BYTES)) == Policy()


def test_minimum_severity_lets_what_is_as_severe_or_more_pass() -> None:
    policy = parse_policy(document(minimum_severity="medium"))
    assert [severity for severity in Severity if policy.allows(severity)] == [
        Severity.CRITICAL,
        Severity.HIGH,
        Severity.MEDIUM,
    ]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_every_problem_is_told_with_its_place(text: str | bytes, expected: list[str]) -> None:
    assert list(problems(text)) == expected


def test_the_text_of_the_error_lists_the_problems_and_does_not_go_on_for_ever() -> None:
    with pytest.raises(
        PolicyError,
        match=r"^silences\[0\]\.until: missing; silences\[1\]\.match\.cidr\[0\]: 1 is no address",
    ):
        parse_policy(
            document(silences=[{"match": {"port": 1}, "reason": "x"}, silence(match={"cidr": 1})])
        )
    with pytest.raises(PolicyError, match=r"; and 30 more$"):
        parse_policy(matching(port=["x"] * 50))


def test_a_time_is_read_as_in_the_document() -> None:
    assert parse_time("2026-12-01T00:00+01:00") == datetime(2026, 11, 30, 23, tzinfo=UTC)
    with pytest.raises(PolicyError, match=r"^\"now\" is no time like"):
        parse_time("now")
