"""Security groups: https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from flowverdict.network.configuration import NetConfig
from flowverdict.network.model import (
    GroupReference,
    PrefixList,
    PrefixListReference,
    SecurityGroup,
    SecurityGroupRule,
)
from flowverdict.network.packet import Criterion, Outcome, Packet
from flowverdict.network.security_groups import evaluate_groups
from tests.helpers.group_rules import (
    ALLOW,
    APP,
    DENY,
    GRE,
    ICMP,
    ICMPV6,
    IN,
    ME,
    OUT,
    UDP,
    UNKNOWN,
    answer,
    config,
    packet,
    rule,
)

CASES: dict[str, tuple[tuple[SecurityGroupRule, ...], Packet, Outcome]] = {
    "no rule": ((), packet(), DENY),
    "a rule that matches": ((rule(),), packet(), ALLOW),
    "another protocol": ((rule(protocol="udp"),), packet(), DENY),
    "another port": ((rule(ports=(80, 80)),), packet(), DENY),
    "another peer": ((rule("192.0.2.0/24"),), packet(), DENY),
    "an outbound rule does not allow inbound packets": ((rule(egress=True),), packet(), DENY),
    "first port of a range": ((rule(ports=(443, 500)),), packet(), ALLOW),
    "last port of a range": ((rule(ports=(1, 443)),), packet(), ALLOW),
    "-1 is everything, whatever its range": ((rule(protocol="-1", ports=(1, 2)),), packet(), ALLOW),
    "a number in place of a name": ((rule(protocol="6"),), packet(), ALLOW),
    "GRE, whatever its range": (
        (rule(protocol="47", ports=(1, 2)),),
        packet(protocol=GRE, port=0),
        ALLOW,
    ),
    "SCTP, whatever its range": (
        (rule(protocol="132", ports=(1, 2)),),
        packet(protocol=132),
        ALLOW,
    ),
    "udp": ((rule(protocol="udp", ports=(53, 53)),), packet(protocol=UDP, port=53), ALLOW),
    "tcp without a range": ((rule(ports=(None, None)),), packet(), ALLOW),
    "tcp with -1": ((rule(ports=(-1, -1)),), packet(), ALLOW),
    "port 0": ((rule(ports=(0, 0)),), packet(port=0), ALLOW),
    "port 0 is not all ports": ((rule(ports=(0, 0)),), packet(), DENY),
    "a port that is not known": ((rule(),), packet(port=None), UNKNOWN),
    "a protocol that is not known": ((rule(),), packet(protocol=None), UNKNOWN),
    "all ports of a port that is not known": ((rule(ports=(0, 65_535)),), packet(port=None), ALLOW),
    "a protocol this program does not know": ((rule(protocol="quic"),), packet(), UNKNOWN),
    "an unknown protocol for another peer": (
        (rule("192.0.2.0/24", protocol="quic"),),
        packet(),
        DENY,
    ),
    "a peer this program does not know": ((rule(None),), packet(), UNKNOWN),
    "an unknown peer on another port": ((rule(None, ports=(80, 80)),), packet(), DENY),
    "a possible match does not matter where another rule allows": (
        (rule(None), rule()),
        packet(),
        ALLOW,
    ),
    "IPv6 range, IPv4 packet": ((rule("::/0"),), packet(), DENY),
    "IPv4 range, IPv6 packet": ((rule("0.0.0.0/0"),), packet("2001:db8::1"), DENY),
    "IPv6 range, IPv6 packet": ((rule("2001:db8::/32"),), packet("2001:db8::1"), ALLOW),
    "icmp of all types": (
        (rule(protocol="icmp", ports=(-1, -1)),),
        packet(protocol=ICMP, port=0),
        ALLOW,
    ),
    "icmp of one type, from a flow log": (
        (rule(protocol="icmp", ports=(8, -1)),),
        packet(protocol=ICMP, port=0),
        UNKNOWN,
    ),
    "icmp of that type": (
        (rule(protocol="icmp", ports=(8, -1)),),
        packet(protocol=ICMP, icmp=(8, 0)),
        ALLOW,
    ),
    "icmp of type 0 is one type": (
        (rule(protocol="icmp", ports=(0, -1)),),
        packet(protocol=ICMP, icmp=(8, 0)),
        DENY,
    ),
    "icmp of another code": (
        (rule(protocol="1", ports=(3, 4)),),
        packet(protocol=ICMP, icmp=(3, 3)),
        DENY,
    ),
    "icmpv6": ((rule("::/0", "icmpv6", (-1, -1)),), packet("2001:db8::1", ICMPV6, 0), ALLOW),
    "icmp is not icmpv6": (
        (rule("::/0", "icmp", (-1, -1)),),
        packet("2001:db8::1", ICMPV6, 0),
        DENY,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_groups_allow_what_one_rule_allows_and_deny_the_rest(case: str) -> None:
    rules, of, expected = CASES[case]
    result = answer(config(*rules), of)
    assert result.outcome is expected
    assert (result.rule is not None) is (expected is ALLOW)
    assert bool(result.reasons) is (expected is UNKNOWN)
    assert result.group_ids == ("sg-1",)


def test_outbound_rules_match_the_destination() -> None:
    out = config(rule("10.0.2.0/24", egress=True))
    assert answer(out, packet(direction=OUT), OUT).outcome is ALLOW
    assert answer(out, packet("10.0.3.1", direction=OUT), OUT).outcome is DENY


def test_all_groups_of_the_interface_count() -> None:
    two = NetConfig(
        security_groups=(
            SecurityGroup(group_id="sg-1", ingress=(), egress=()),
            SecurityGroup(group_id="sg-2", ingress=(rule(group="sg-2"),), egress=()),
        )
    )
    mine = replace(ME, group_ids=("sg-1", "sg-2"))
    assert evaluate_groups(two, mine, packet(), IN).rule == rule(group="sg-2")
    assert evaluate_groups(two, ME, packet(), IN).outcome is DENY


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (NetConfig(), "the ingress rules of sg-1 are not known"),
        (NetConfig(security_groups=()), "the ingress rules of sg-1 are not known"),
        (
            NetConfig(security_groups=(SecurityGroup(group_id="sg-1", egress=()),)),
            "the ingress rules of sg-1 are not known",
        ),
    ],
)
def test_a_group_that_is_not_known_makes_a_denial_unknown(known: NetConfig, reason: str) -> None:
    result = answer(known, packet())
    assert (result.outcome, result.reasons) == (UNKNOWN, (reason,))


def test_a_group_that_is_not_known_does_not_matter_where_another_allows() -> None:
    assert (
        evaluate_groups(
            config(rule()), replace(ME, group_ids=("sg-1", "sg-9")), packet(), IN
        ).outcome
        is ALLOW
    )


@pytest.mark.parametrize(
    ("interface_type", "groups", "expected"),
    [
        ("nat_gateway", (), ALLOW),
        ("natGateway", None, ALLOW),
        ("network_load_balancer", (), ALLOW),
        ("network_load_balancer", None, UNKNOWN),
        ("interface", (), UNKNOWN),
        ("interface", None, UNKNOWN),
        ("of_tomorrow", (), UNKNOWN),
        (None, (), UNKNOWN),
    ],
)
def test_an_interface_without_groups(
    interface_type: str | None, groups: tuple[str, ...] | None, expected: Outcome
) -> None:
    result = evaluate_groups(
        config(), replace(ME, interface_type=interface_type, group_ids=groups), packet(), IN
    )
    assert result.outcome is expected
    assert result.reasons


def test_a_rule_reads_as_a_sentence() -> None:
    assert str(rule()) == "sg-1: TCP 443 from 10.0.0.0/8"
    assert str(rule(ports=(1024, 65_535), egress=True)) == "sg-1: TCP 1024-65535 to 10.0.0.0/8"
    assert (
        str(rule(GroupReference(group_id="sg-2"), "-1", (None, None)))
        == "sg-1: all traffic from sg-2"
    )
    assert (
        str(rule(PrefixListReference(prefix_list_id="pl-1"), "icmp", (8, -1)))
        == "sg-1: ICMP type 8 code all from pl-1"
    )
    assert str(rule(None, "quic", (None, None))) == "sg-1: protocol 'quic' from an unknown peer"


# --- prefix lists -----------------------------------------------------------------------------

S3 = PrefixListReference(prefix_list_id="pl-s3")


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        (None, UNKNOWN),
        ((), UNKNOWN),
        ((PrefixList(prefix_list_id="pl-s3"),), UNKNOWN),
        ((PrefixList(prefix_list_id="pl-s3", cidrs=()),), DENY),
        (
            (
                PrefixList(
                    prefix_list_id="pl-s3",
                    cidrs=(ip_network("52.216.0.0/15"), ip_network("2600::/16")),
                ),
            ),
            ALLOW,
        ),
        ((PrefixList(prefix_list_id="pl-s3", cidrs=(ip_network("3.5.0.0/16"),)),), DENY),
        (
            (PrefixList(prefix_list_id="pl-s3", cidrs=(ip_network("3.5.0.0/16"),), is_cut=True),),
            UNKNOWN,
        ),
        (
            (
                PrefixList(
                    prefix_list_id="pl-s3", cidrs=(ip_network("52.216.0.0/15"),), is_cut=True
                ),
            ),
            ALLOW,
        ),
    ],
)
def test_a_prefix_list_is_its_entries(
    lists: tuple[PrefixList, ...] | None, expected: Outcome
) -> None:
    known = replace(config(rule(S3, egress=True)), prefix_lists=lists)
    assert answer(known, packet("52.216.1.2", direction=OUT), OUT).outcome is expected


# --- the nearest miss -------------------------------------------------------------------------

MISSES: dict[
    str, tuple[tuple[SecurityGroupRule, ...], Packet, tuple[SecurityGroupRule, Criterion] | None]
] = {
    "no rules": ((), packet(), None),
    "the peer differs": ((rule("192.0.2.0/24"),), packet(), (rule("192.0.2.0/24"), Criterion.PEER)),
    "the port differs": ((rule(ports=(80, 80)),), packet(), (rule(ports=(80, 80)), Criterion.PORT)),
    "the protocol differs": (
        (rule(protocol="udp"),),
        packet(),
        (rule(protocol="udp"), Criterion.PROTOCOL),
    ),
    "peer and port differ": ((rule("192.0.2.0/24", ports=(80, 80)),), packet(), None),
    "a rule for ICMP is not a near miss of TCP": (
        (rule(protocol="icmp", ports=(-1, -1)),),
        packet(),
        None,
    ),
    "a rule for GRE is not a near miss of TCP": ((rule(protocol="47"),), packet(), None),
    "a rule for TCP is not a near miss of GRE": (
        (rule(ports=(0, 65_535)),),
        packet(protocol=GRE, port=0),
        None,
    ),
    "a rule for TCP is not a near miss of ICMP": (
        (rule(ports=(0, 65_535)),),
        packet(protocol=ICMP, port=0),
        None,
    ),
    "a rule that may differ in a second criterion is not a near miss": (
        (rule("192.0.2.0/24", "icmp", (8, -1)),),
        packet(protocol=ICMP, port=0),
        None,
    ),
    "all traffic from another peer": (
        (rule("192.0.2.0/24", "-1", (None, None)),),
        packet(),
        (rule("192.0.2.0/24", "-1", (None, None)), Criterion.PEER),
    ),
    "the peer before the port": (
        (rule(ports=(80, 80)), rule("192.0.2.0/24"), rule(protocol="udp")),
        packet(),
        (rule("192.0.2.0/24"), Criterion.PEER),
    ),
    "the port before the protocol": (
        (rule(protocol="udp"), rule(ports=(80, 80))),
        packet(),
        (rule(ports=(80, 80)), Criterion.PORT),
    ),
    "the nearer port": (
        (rule(ports=(1, 80)), rule(ports=(450, 500)), rule(ports=(8443, 8443))),
        packet(),
        (rule(ports=(450, 500)), Criterion.PORT),
    ),
    "the nearer range": (
        (rule("192.0.2.0/24"), rule("10.0.3.0/24"), rule("10.9.0.0/16"), rule("::/0")),
        packet(),
        (rule("10.0.3.0/24"), Criterion.PEER),
    ),
    "a reference before a range of the other IP version": (
        (rule("::/0"), rule(APP)),
        packet("10.0.2.99"),
        (rule(APP), Criterion.PEER),
    ),
}


@pytest.mark.parametrize("case", MISSES)
def test_a_denial_names_the_nearest_miss(case: str) -> None:
    rules, of, expected = MISSES[case]
    for order in (rules, rules[::-1]):
        miss = answer(config(*order), of).nearest_miss
        assert (miss and (miss.rule, miss.differs)) == expected


def test_only_a_denial_has_a_nearest_miss() -> None:
    assert answer(config(rule(), rule(ports=(80, 80))), packet()).nearest_miss is None
    assert answer(config(rule(None), rule(ports=(80, 80))), packet()).nearest_miss is None
