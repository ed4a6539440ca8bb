"""Cases in which an evidence rule must not make a verdict certain."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from flowverdict.core.errors import NotAFlowLogError
from flowverdict.verdict.batch import FixedConfig
from flowverdict.verdict.model import Confidence, VerdictKind
from tests.helpers.shop import APP, NAT, SHOP, batch_of, explain, line, with_interface

OUT = "10.0.1.220 203.0.113.9 egress -"
OTHER_ACCOUNT = "999999999999_vpcflowlogs_eu-west-1_fl-0a1b_20261122T1200Z_4f2a.log"


def test_within_a_subnet_is_not_certain_since_a_load_balancer_may_keep_the_clients_address() -> (
    None
):
    verdict = explain(
        line(APP, "10.0.2.77 10.0.2.20", "40000 443", "2 10.0.2.77 10.0.2.20 ingress -")
    ).verdict
    assert (verdict.kind, verdict.confidence) == (VerdictKind.SECURITY_GROUP, Confidence.LIKELY)


def test_a_transit_gateways_interface_has_no_group_and_its_subnets_acl_counts() -> None:
    gateway = with_interface(APP, interface_type="transit_gateway", group_ids=())
    same = explain(
        line(APP, "10.0.2.77 10.0.2.20", "40000 443", "2 10.0.2.77 10.9.0.1 ingress -"),
        config=gateway,
    ).verdict
    assert same.kind is not VerdictKind.SECURITY_GROUP
    assert same.confidence is not Confidence.CERTAIN


def test_a_reply_is_not_certain_whatever_the_rules_as_read_say() -> None:
    # The interface may have had other security groups when the connection began, and the current
    # rules apply to each packet of an untracked connection.
    request = line(
        APP,
        "10.0.2.20 203.0.113.9",
        "40000 443",
        "2 10.0.2.20 203.0.113.9 egress -",
        more="6 ACCEPT",
    )
    reply = line(APP, "203.0.113.9 10.0.2.20", "443 40000", "18 203.0.113.9 10.0.2.20 ingress -")
    for config in (SHOP, replace(SHOP, network_acls=None)):
        assert explain(request, reply, config=config).verdict.confidence is not Confidence.CERTAIN


def test_a_reply_is_certain_at_a_nat_gateway_unless_the_client_had_sent_fin_or_rst() -> None:
    reply = line(NAT, "203.0.113.9 10.0.1.220", "443 40000", "18 203.0.113.9 10.0.1.220 ingress -")
    confidences = {}
    for flags in (2, 3, 6):
        request = line(
            NAT,
            "10.0.1.220 203.0.113.9",
            "40000 443",
            f"{flags} 10.0.1.220 203.0.113.9 egress -",
            more="6 ACCEPT",
        )
        confidences[flags] = explain(request, reply).verdict.confidence
    assert confidences == {2: Confidence.CERTAIN, 3: Confidence.LIKELY, 6: Confidence.LIKELY}


def test_evidence_says_that_several_icmp_rules_may_decide() -> None:
    acl = SHOP.network_acl("acl-0bbb0000000000002")
    web = SHOP.network_acl("acl-0aaa0000000000001")
    assert acl is not None
    assert web is not None
    ping = next(entry for entry in web.entries or () if entry.icmp is not None)
    denying = (
        replace(ping, rule_number=50, action="deny"),
        replace(ping, rule_number=60, action="deny", icmp=None),
    )
    acls = tuple(
        replace(each, entries=(*denying, *(each.entries or ()))) if each is acl else each
        for each in SHOP.network_acls or ()
    )
    config = replace(SHOP, network_acls=acls)
    explanation = explain(
        line(APP, "10.0.1.5 10.0.2.20", "0 0", "- 10.0.1.5 10.0.2.20 ingress -", more="1 REJECT"),
        config=config,
    )
    assert explanation.blocking_entry is None
    assert any(
        "may match before the rule that certainly does" in item.detail
        for item in explanation.verdict.evidence
    )


def test_lost_records_lower_the_confidence_of_a_missing_request() -> None:
    lost = f"8 123456789012 {APP} - - - - - - - 1795348800 1795348860 - SKIPDATA - - - - -"
    seen = line(
        APP, "10.0.1.5 10.0.2.20", "40001 8080", "- 10.0.1.5 10.0.2.20 ingress -", more="6 ACCEPT"
    )
    asked = line(APP, "10.0.1.5 10.0.2.20", "40000 8081", "- 10.0.1.5 10.0.2.20 ingress -")
    confidences = {}
    for name, lines in (("whole", (seen, asked)), ("lost", (lost, seen, asked))):
        (explanation,) = batch_of(*lines).explanations()
        confidences[name] = explanation.verdict.confidence
    assert confidences == {"whole": Confidence.LIKELY, "lost": Confidence.POSSIBLE}


def test_a_file_that_was_not_read_weakens_what_rests_on_absence() -> None:
    lines = (
        line(NAT, "10.0.1.220 203.0.113.9", "40000 443", f"2 {OUT}", more="6 ACCEPT"),
        line(NAT, "203.0.113.9 10.0.1.220", "443 40000", "18 203.0.113.9 10.0.1.220 ingress -"),
    )
    confidences = {}
    for name in (None, "x.log", OTHER_ACCOUNT):
        batch = batch_of(*lines)
        if name is not None:
            with pytest.raises(NotAFlowLogError):
                batch.add_file(io.BytesIO(b"hello"), name=name)
        (explanation,) = batch.explanations(FixedConfig(SHOP))
        confidences[name] = explanation.verdict.confidence
    assert confidences == {
        None: Confidence.CERTAIN,
        "x.log": Confidence.LIKELY,
        OTHER_ACCOUNT: Confidence.CERTAIN,
    }


@pytest.mark.parametrize("flags", [3, 6, 7])
def test_one_record_may_hold_a_late_packet_and_a_new_request(flags: int) -> None:
    verdict = explain(
        line(APP, "10.0.1.5 10.0.2.20", "40000 443", f"{flags} 10.0.1.5 10.0.2.20 ingress -")
    ).verdict
    assert verdict.leg == "request"
    assert verdict.confidence is not Confidence.CERTAIN


def test_a_direction_that_was_guessed_makes_nothing_certain() -> None:
    # A VPC with a public range: the private address is the remote end, which neither the records
    # nor the rules show.
    public = with_interface(APP, ipv4_addresses=None)
    verdict = explain(
        line(APP, "10.7.0.5 11.0.1.9", "40000 443", "2 10.7.0.5 11.0.1.9 - -"), config=public
    ).verdict
    assert verdict.confidence is not Confidence.CERTAIN


@pytest.mark.parametrize("reasons", [("BPA", "EC"), ("BPA", "-"), ("SOMETHING_NEW",)])
def test_reject_reasons_that_disagree_or_are_unknown_are_shown_and_make_nothing_certain(
    reasons: tuple[str, ...],
) -> None:
    verdict = explain(
        *(
            line(APP, "10.0.1.5 10.0.2.20", "40000 443", f"2 10.0.1.5 10.0.2.20 ingress {reason}")
            for reason in reasons
        )
    ).verdict
    assert verdict.confidence is Confidence.POSSIBLE
    assert any("do not agree, or the value is newer" in item.detail for item in verdict.evidence)
