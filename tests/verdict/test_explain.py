"""Rejected flows that get no fix, or a smaller fix."""

from __future__ import annotations

import io

from flowverdict.core.availability import NotAvailable
from flowverdict.flowlog.records import DEFAULT_FORMAT
from flowverdict.verdict.batch import Batch, FixedConfig
from tests.helpers.shop import APP, NAT, SHOP, WEB, explain, line


def test_without_packet_addresses_a_fix_leaves_the_far_end_of_a_nat_gateway_alone() -> None:
    batch = Batch()
    text = (
        " ".join(DEFAULT_FORMAT.names)
        + f"\n2 123456789012 {NAT} 10.0.2.20 10.0.1.220 40000 25 17 3 180 "
        "1795348800 1795348805 REJECT OK\n"
    )
    batch.add_file(io.BytesIO(text.encode()), name="123456789012_vpcflowlogs_eu-west-1_fl-0a_x")
    (explanation,) = batch.explanations(FixedConfig(SHOP))
    assert not isinstance(explanation.remediation, NotAvailable)
    assert all("sg-" not in command for command in explanation.remediation.commands(None))


def test_without_packet_addresses_a_fix_for_one_of_several_addresses_is_not_verified() -> None:
    """The record shows the primary address; the far network ACL may treat another one otherwise."""
    batch = Batch()
    text = (
        " ".join(DEFAULT_FORMAT.names)
        + f"\n2 123456789012 {WEB} 10.0.2.20 10.0.1.5 40000 8080 6 3 180 "
        "1795348800 1795348805 REJECT OK\n"
    )
    batch.add_file(io.BytesIO(text.encode()), name="123456789012_vpcflowlogs_eu-west-1_fl-0a_x")
    (explanation,) = batch.explanations(FixedConfig(SHOP))
    remediation = explanation.remediation
    assert not isinstance(remediation, NotAvailable)
    assert not remediation.verified
    assert remediation.tried[-1] == (
        "far side: tried with 10.0.1.5 only, "
        "which the records show for every address of the interface"
    )


def test_no_fix_lets_in_the_internet_even_from_an_aws_range() -> None:
    remediation = explain(
        line(APP, "52.218.1.1 10.0.2.20", "40000 22", "2 52.218.1.1 10.0.2.20 ingress -")
    ).remediation
    assert remediation == NotAvailable(
        "none offered: nothing here is meant to answer this from the internet; "
        "opening is not the answer"
    )
