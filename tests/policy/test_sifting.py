"""Which flows a policy mutes, which entry is named for it, and what the search costs."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flowverdict.alerts.grouping import group
from flowverdict.alerts.model import Alert
from flowverdict.network.snapshot import load_snapshot
from flowverdict.policy.document import parse_policy
from flowverdict.policy.model import Policy
from flowverdict.verdict.batch import Batch, FixedConfig
from tests.helpers.policy_documents import document, matching, silence

if TYPE_CHECKING:
    from collections.abc import Callable

SCENARIOS = Path(__file__).parents[1] / "scenarios"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FIELDS = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes "
    "start end action log-status vpc-id flow-direction"
)
INBOUND = (
    "2 123456789012 eni-1 203.0.113.9 10.0.0.1 50122 22 6 1 60 "
    "1795348800 1795348860 REJECT OK vpc-1 ingress"
)


def batch_of(*lines: str) -> Batch:
    batch = Batch()
    batch.add_file(io.BytesIO("\n".join((FIELDS, *lines)).encode()), name="flow.log")
    return batch


def places(text: str, line: str = INBOUND, at: datetime = NOW) -> list[str]:
    return [
        muted.place for muted in parse_policy(text).sift(batch_of(line).explanations(), at).muted
    ]


@pytest.mark.parametrize(
    ("matchers", "muted"),
    [
        ({"cidr": "203.0.113.9"}, True),
        ({"cidr": ["198.51.100.0/24", "203.0.113.0/24"]}, True),
        ({"cidr": "0.0.0.0/0"}, True),
        ({"cidr": "203.0.113.8"}, False),
        ({"cidr": "10.0.0.1"}, False),  # the near end
        ({"cidr": "::/0"}, False),
        ({"port": 22}, True),
        ({"port": [23, 22]}, True),
        ({"port": 50122}, False),  # never the ephemeral one
        ({"interface_id": "eni-1"}, True),
        ({"interface_id": "eni-2"}, False),
        ({"vpc_id": "vpc-1"}, True),
        ({"vpc_id": "vpc-2"}, False),
        ({"verdict": "network-acl-or-security-group"}, True),
        ({"verdict": "network-acl"}, False),
        ({"cidr": "203.0.113.9", "port": 22, "interface_id": "eni-1", "vpc_id": "vpc-1"}, True),
        ({"cidr": "203.0.113.9", "port": 23}, False),
        ({"account_id": "123456789012"}, True),
        ({"account_id": "210987654321"}, False),
        ({"region": "eu-west-1"}, False),  # no field of these records
        ({"subnet_id": "subnet-1"}, False),
        ({"security_group_id": "sg-1"}, False),
        ({"network_acl_id": "acl-1"}, False),
        ({"owner": "team=payments"}, False),
        ({"protocol": "tcp"}, True),
        ({"protocol": 17}, False),
        ({"severity": ["medium", "low"]}, True),
        ({"severity": "critical"}, False),
        ({"fingerprint": "0" * 32}, False),
    ],
)
def test_all_matchers_have_to_hold_and_any_value_is_enough(
    matchers: dict[str, object], *, muted: bool
) -> None:
    assert places(matching(**matchers)) == ["expected[0]"] * muted


def test_the_fingerprint_is_that_of_the_alert_the_flow_becomes() -> None:
    (detection,) = group(batch_of(INBOUND).explanations())
    found = detection.notification.fingerprint
    assert places(matching(fingerprint=["0" * 32, found])) == ["expected[0]"]


@pytest.mark.parametrize("scenario", ["fix-block-list", "network-acl-changed-under-connection"])
def test_what_the_rules_show_is_matched_where_they_were_read(scenario: str) -> None:
    files = json.loads((SCENARIOS / f"{scenario}.json").read_text())
    batch = Batch()
    with (SCENARIOS / f"{scenario}.log").open("rb") as log:
        batch.add_file(log, name="flow.log")
    configs = FixedConfig(load_snapshot(SCENARIOS / files["config"]))
    explanations = batch.explanations(configs)
    alert = group(explanations)[0].notification
    assert isinstance(alert, Alert)
    assert alert.network_acl_entry is not None
    blocker = alert.network_acl_entry.network_acl_id
    assert Policy().sift(explanations, NOW).muted == ()
    assert len(parse_policy(matching(network_acl_id=blocker)).sift(explanations, NOW).muted) > 0
    assert parse_policy(matching(network_acl_id="acl-0")).sift(explanations, NOW).muted == ()


def test_ipv6_is_matched_by_its_leading_bits() -> None:
    line = INBOUND.replace("203.0.113.9", "2001:db8:1::9").replace("10.0.0.1", "2600:1::1")
    assert places(matching(cidr="2001:db8::/32"), line) == ["expected[0]"]
    assert places(matching(cidr="2001:db9::/32"), line) == []
    assert places(matching(cidr="0.0.0.0/0"), line) == []


def test_where_the_direction_is_not_known_either_end_may_match() -> None:
    line = INBOUND.replace("203.0.113.9", "10.0.0.2").replace("ingress", "-")
    (explanation,) = batch_of(line).explanations()
    assert explanation.flow.direction is None
    for end in ("10.0.0.1", "10.0.0.2"):
        assert places(matching(cidr=end), line) == ["expected[0]"]
    assert places(matching(cidr="10.0.0.3"), line) == []


def test_where_no_port_tells_either_logged_one_may_match() -> None:
    line = INBOUND.replace(" 50122 22 ", " 40001 40000 ")
    ports = [port for port in (40_000, 40_001, 40_002) if places(matching(port=port), line)]
    assert ports == [40_000, 40_001]


def test_the_first_entry_that_matches_is_named_silences_before_what_is_expected() -> None:
    text = document(
        expected=[{"match": {"port": 22}, "reason": "always"}],
        silences=[silence(match={"port": 23}), silence(reason="first"), silence(reason="second")],
    )
    policy = parse_policy(text)
    (muted,) = policy.sift(batch_of(INBOUND).explanations(), NOW).muted
    assert (muted.place, muted.entry) == ("silences[1]", policy.silences[1])
    assert policy.matching(muted.explanation) == ("silences[1]", "silences[2]", "expected[0]")
    assert list(policy.entries()) == ["silences[0]", "silences[1]", "silences[2]", "expected[0]"]


@pytest.mark.parametrize(
    ("until", "muted"),
    [
        ("2026-11-22T12:00:00Z", False),
        ("2026-11-22T12:00:01Z", True),
        ("2026-11-22T12:30:00+01:00", False),
    ],
)
def test_a_silence_ends_at_its_time(until: str, *, muted: bool) -> None:
    assert places(document(silences=[silence(until=until)])) == ["silences[0]"] * muted


def test_a_naive_time_is_refused_where_it_matters() -> None:
    with pytest.raises(TypeError):
        parse_policy(document(silences=[silence()])).sift((), NOW.replace(tzinfo=None))


def calls_of(do: Callable[[], object]) -> int:
    """Count the Python functions that are called."""
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        do()
    finally:
        sys.setprofile(None)
    return calls


def test_a_flow_costs_a_few_look_ups_however_many_entries_a_policy_has() -> None:
    blocks = [
        f"{first}.{second}.0.0/{length}"
        for first in (20, 21, 22)
        for second, length in ((0, 14), (64, 16), (128, 20))
    ]
    policy = parse_policy(
        document(
            silences=[
                silence(match={"cidr": blocks, "port": [22, number]})
                for number in range(1_000, 1_050)
            ],
            expected=[
                {"match": {"cidr": f"198.51.100.{number}"}, "reason": "x"} for number in range(200)
            ],
        )
    )
    (explanation,) = batch_of(INBOUND).explanations()
    once = calls_of(lambda: policy.sift([explanation], NOW))
    often = calls_of(lambda: policy.sift([explanation] * 1_001, NOW))
    assert (often - once) / 1_000 < 50 < len(policy.silences) + len(policy.expected)
    assert len(policy.sift([explanation] * 1_000, NOW).kept) == 1_000
