"""Where no rule should change, and where a fix is for the case that the traffic is wanted."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from flowverdict.network.model import NetworkAcl, NetworkAclEntry, PortRange
from tests.helpers.fixes import (
    NETWORK,
    explained,
    fix_of,
    reason_of,
    rejected,
    with_acl,
    with_group,
)

APP_TO_WEB = rejected("web", "10.60.1.20", "10.60.1.10", (40_100, 8080), "ingress")
APP_TO_API = rejected("api", "10.60.1.20", "10.60.2.10", (40_100, 8443), "ingress")


def with_denial(entry: NetworkAclEntry) -> NetworkAcl:
    acl = NETWORK.network_acl("acl-0f60closed")
    assert acl is not None
    return replace(acl, entries=(*(acl.entries or ()), entry))


def denial(
    network: str, *, protocol: str = "-1", ports: PortRange | None = None
) -> NetworkAclEntry:
    return NetworkAclEntry(
        rule_number=300,
        egress=False,
        action="deny",
        protocol=protocol,
        network=ip_network(network),
        ports=ports,
    )


@pytest.mark.parametrize(
    "entry",
    [
        denial("10.60.1.20/32"),
        denial("10.60.0.0/16"),
        denial("0.0.0.0/0", protocol="6", ports=PortRange(first=8000, last=9000)),
        denial("0.0.0.0/0", protocol="6"),
    ],
    ids=["one host", "a network", "some ports", "a protocol"],
)
def test_a_denial_that_someone_wrote_is_named_and_not_overruled(entry: NetworkAclEntry) -> None:
    reason = reason_of(APP_TO_API, config=with_acl("acl-0f60closed", lambda _: with_denial(entry)))
    assert reason.startswith("none offered: acl-0f60closed rule 300: deny")
    assert "written on purpose?" in reason


def test_a_numbered_denial_of_everything_is_a_default_and_the_entry_goes_before_it() -> None:
    catch_all = denial("0.0.0.0/0")
    fix = fix_of(APP_TO_API, config=with_acl("acl-0f60closed", lambda _: with_denial(catch_all)))
    (command,) = fix.commands("eu-central-1")
    number = int(command.split("--rule-number ")[1].split()[0])
    assert 100 < number < 300


def test_a_network_acl_that_lets_nothing_pass_is_a_quarantine() -> None:
    closed = with_acl("acl-0f60closed", lambda acl: replace(acl, entries=()))
    assert reason_of(APP_TO_API, config=closed) == (
        "none offered: acl-0f60closed lets nothing in and nothing out: was it isolated on purpose?"
    )


def test_a_group_without_any_rule_and_a_host_named_as_isolated_stay_alone() -> None:
    bare = with_group("sg-0f60web", lambda group: replace(group, ingress=(), egress=()))
    only = replace(
        bare,
        interfaces=tuple(
            replace(each, group_ids=("sg-0f60web",)) if each.interface_id == "eni-0fweb" else each
            for each in bare.interfaces or ()
        ),
    )
    assert "sg-0f60web of eni-0fweb has no rule at all" in reason_of(APP_TO_WEB, config=only)
    named = replace(
        NETWORK,
        interfaces=tuple(
            replace(each, tags={"Name": "app-1 ISOLATED"})
            if each.interface_id == "eni-0fapp1"
            else each
            for each in NETWORK.interfaces or ()
        ),
    )
    assert "eni-0fapp1 is named as isolated" in reason_of(APP_TO_WEB, config=named)


def test_an_obvious_mistake_is_a_fix_and_a_restriction_a_question() -> None:
    assert fix_of(APP_TO_WEB).if_wanted is None
    assert fix_of(APP_TO_API).if_wanted is None
    both_layers = rejected("api", "10.60.1.20", "10.60.2.10", (40_100, 5432), "ingress")
    assert fix_of(both_layers).if_wanted == (
        "network ACL and security groups both block it, as between separate networks"
    )
    call = rejected("task", "10.60.1.30", "203.0.113.90", (40_100, 443), "egress")
    assert fix_of(call).if_wanted == (
        "outbound traffic to the internet is restricted here, which may be intended"
    )


def test_a_call_whose_server_lets_it_in_lacks_a_rule_by_mistake() -> None:
    call = rejected("report", "10.60.1.31", "10.60.1.41", (40_100, 8443), "egress")
    expected = with_group(
        "sg-0f60eks",
        lambda group: replace(
            group,
            ingress=tuple(
                replace(rule, group_id="sg-0f60eks")
                for rule in (NETWORK.security_group("sg-0f60api") or group).ingress or ()
            ),
        ),
    )
    assert fix_of(call, config=expected).if_wanted is None
    assert "EKS" in reason_of(call)  # the server's group does not let it in, and is EKS's


@pytest.mark.parametrize("port", [22, 3389, 4444, 8080, 33_000])
def test_no_command_for_a_call_to_an_internet_host_that_groups_restrict(port: int) -> None:
    call = rejected("task", "10.60.1.30", "203.0.113.66", (40_100, port), "egress")
    assert reason_of(call) == (
        f"none offered: outbound traffic is restricted here, and 203.0.113.66:{port} is a "
        "public address: see what the host runs, and whether it should call there"
    )


@pytest.mark.parametrize(("port", "offered"), [(25, False), (443, False), (1023, False)])
def test_a_reply_to_a_low_port_of_an_internet_host_gets_no_command(
    port: int, *, offered: bool
) -> None:
    request = rejected(
        "inside", "192.0.2.25", "10.60.8.10", (port, 8443), "ingress", action="ACCEPT"
    )
    reply = rejected("inside", "10.60.8.10", "192.0.2.25", (8443, port), "egress", flags=18)
    (one,) = explained(request, reply)
    assert hasattr(one.remediation, "changes") is offered
    assert f"from port {port}" in str(one.remediation)


def test_time_servers_use_the_same_low_port_at_both_ends() -> None:
    request = rejected(
        "denied", "192.0.2.9", "10.60.4.10", (123, 123), "ingress", protocol=17, action="ACCEPT"
    )
    reply = rejected(
        "denied", "10.60.4.10", "192.0.2.9", (123, 123), "egress", protocol=17, flags="-"
    )
    no_udp = with_acl(
        "acl-0f60denied",
        lambda acl: replace(
            acl,
            entries=tuple(
                replace(entry, protocol="6") if entry.egress and entry.rule_number == 100 else entry
                for entry in acl.entries or ()
            ),
        ),
    )
    (one,) = explained(request.replace("OK 2", "OK -"), reply, config=no_udp)
    assert "from port 123" not in str(one.remediation)


@pytest.mark.parametrize(("ports", "is_scan"), [(9, False), (10, True)])
def test_ten_ports_of_one_source_are_a_scan(ports: int, *, is_scan: bool) -> None:
    records = [
        rejected("report", "10.60.1.20", "10.60.1.31", (40_300 + port, 3000 + port), "ingress")
        for port in range(ports)
    ]
    reasons = {str(one.remediation) for one in explained(*records)}
    assert any("scan" in reason for reason in reasons) is is_scan
