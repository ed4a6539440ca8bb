"""A command that a person pastes runs ``aws`` with the intended words, and nothing else.

``test_untrusted_text`` has the laws of what is only shown.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given

from flowverdict.alerts.model import Alert
from flowverdict.network.model import GroupReference, PrefixListReference
from flowverdict.network.snapshot import parse_snapshot
from flowverdict.verdict.remediation.model import AclChange, Remediation
from tests.helpers.hostile_text import (
    EXPLAINED,
    FREE,
    SHOP,
    Input,
    explained,
    hostile_log,
    lenient,
    notifications,
)
from tests.helpers.hypothesis_weight import examples

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowverdict.verdict.remediation.model import Change


def words_of(change: Change, region: str | None) -> list[str]:
    """Return the words that the AWS CLI must get for a change."""
    named = [] if region is None else ["--region", region]
    if isinstance(change, AclChange):
        entry = change.entry
        words = [
            "ec2",
            "create-network-acl-entry",
            *named,
            "--network-acl-id",
            change.network_acl_id,
        ]
        words += [
            "--egress" if entry.egress else "--ingress",
            "--rule-number",
            str(entry.rule_number),
            "--rule-action",
            "allow",
        ]
        words += ["--protocol", str(entry.protocol)]
        if entry.ports is not None:
            words += ["--port-range", f"From={entry.ports.first},To={entry.ports.last}"]
        if entry.icmp is not None:
            words += ["--icmp-type-code", f"Type={entry.icmp.type},Code={entry.icmp.code}"]
        assert entry.network is not None
        return [
            *words,
            "--cidr-block" if entry.network.version == 4 else "--ipv6-cidr-block",
            str(ip_network(entry.network)),
        ]
    rule = change.rule
    way = "egress" if rule.egress else "ingress"
    ports = "" if rule.from_port is None else f",FromPort={rule.from_port},ToPort={rule.to_port}"
    match rule.peer:
        case GroupReference():
            owner = "" if rule.peer.account_id is None else f",UserId={rule.peer.account_id}"
            peer = f"UserIdGroupPairs=[{{GroupId={rule.peer.group_id}{owner}}}]"
        case PrefixListReference():
            peer = f"PrefixListIds=[{{PrefixListId={rule.peer.prefix_list_id}}}]"
        case _:
            assert rule.peer is not None
            peer = (
                f"IpRanges=[{{CidrIp={rule.peer}}}]"
                if rule.peer.version == 4
                else f"Ipv6Ranges=[{{CidrIpv6={rule.peer}}}]"
            )
    permission = f"IpProtocol={rule.protocol}{ports},{peer}"
    return [
        "ec2",
        f"authorize-security-group-{way}",
        *named,
        "--group-id",
        rule.group_id,
        "--ip-permissions",
        permission,
    ]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[list[str]]]:
    """Run a command in a shell whose ``aws`` records its words; fail on any other effect."""
    partition = tmp_path_factory.mktemp("shell")
    aws, calls, home = partition / "bin" / "aws", partition / "calls", partition / "home"
    aws.parent.mkdir()
    home.mkdir()
    aws.write_text(
        f'#!/bin/bash\n{{ printf "%s\\0" "$@"; printf "\\n\\0"; }} >>{calls}\necho subnet-0answer\n'
    )
    aws.chmod(0o755)

    def run(command: str) -> list[list[str]]:
        calls.write_text("")
        finished = subprocess.run(  # noqa: S603 - what it is for
            ["/bin/bash", "-c", command],
            cwd=home,
            env={"PATH": str(aws.parent), "HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        assert finished.stderr == ""
        assert finished.returncode == 0
        left = list(home.iterdir())
        for one in left:
            one.unlink()
        assert left == []
        words = calls.read_text().split("\0")
        told: list[list[str]] = [[]]
        for word in words[:-1]:
            if word == "\n":
                told.append([])
            else:
                told[-1].append(word)
        return told[:-1]

    return run


def test_the_shell_notices_what_else_a_command_does(
    shell: Callable[[str], list[list[str]]],
) -> None:
    assert shell("aws 'a b' $(aws in)") == [["in"], ["a b", "subnet-0answer"]]
    for command in ("aws x; echo >pwned", "aws x | no-such", "aws 'x"):
        with pytest.raises(AssertionError):
            shell(command)


UNDOING = {
    "delete-network-acl-entry",
    "revoke-security-group-egress",
    "revoke-security-group-ingress",
}
OPTIONS = {
    "--region",
    "--filters",
    "--network-interface-ids",
    "--query",
    "--output",
    "--transit-gateway-attachment-ids",
    "--transit-gateway-route-table-id",
}


@examples(0.8, lenient)
@example(
    given_=(
        hostile_log("rules-inbound-request", {"region": "--endpoint-url=https://evil.example"}),
        SHOP,
        "key",
    )
)
@example(given_=(hostile_log("rules-inbound-request", {"region": "$(id)"}), None, "key"))
@example(given_=(hostile_log("inbound-request", {"interface-id": "eni-1;id"}), None, "key"))
@example(
    given_=(
        hostile_log("transit-gateway-no-route", {"tgw-attachment-id": "tgw-attach-1;id"}),
        None,
        "key",
    )
)
@given(given_=EXPLAINED)
def test_what_a_person_pastes_runs_aws_with_the_intended_words_and_nothing_else(
    shell: Callable[[str], list[list[str]]], given_: Input
) -> None:
    explanations, _ = explained(given_)
    for notification in notifications(given_):
        assert isinstance(notification, Alert)
        for step in notification.next_steps:
            separator = step.find(" aws ec2 ")
            if separator < 0:
                continue
            for words in shell(step[separator + 1 :]):
                assert words[0] == "ec2"
                assert re.fullmatch(r"(describe|search)-[a-z-]+", words[1])
                assert {word for word in words if word.startswith("-")} <= OPTIONS
                for word in words[2:]:
                    assert word in {
                        "NetworkInterfaces[0].SubnetId",
                        "NetworkInterfaces[].Groups",
                        "TransitGatewayAttachments[0].Association.TransitGatewayRouteTableId",
                    } or re.fullmatch(r"[A-Za-z0-9.,=/:-]+", word)
    for explanation in explanations:
        region = explanation.flow.context.region
        if not isinstance(explanation.remediation, Remediation):
            continue
        wanted = (
            None
            if region is None or not re.fullmatch(r"[a-z]+(-[a-z]+)+-[0-9]+", region)
            else region
        )
        for change, command in zip(
            explanation.remediation.changes, explanation.remediation.commands(region), strict=True
        ):
            assert shlex.split(command) == ["aws", *words_of(change, wanted)]
            assert shell(command) == [words_of(change, wanted)]
        for undo in explanation.remediation.undo(region):
            (words,) = shell(undo)
            assert words[1] in UNDOING
            assert ("--region" in words) is (wanted is not None)


@pytest.mark.parametrize("key", ["GroupId", "NetworkAclId", "NetworkInterfaceId"])
@example(text="sg-1},{GroupId=sg-2")
@example(text="--endpoint-url=https://evil.example")
@given(text=FREE)
def test_an_id_of_a_snapshot_is_never_an_option_or_syntax(key: str, text: str) -> None:
    listed = {
        "GroupId": "SecurityGroups",
        "NetworkAclId": "NetworkAcls",
        "NetworkInterfaceId": "NetworkInterfaces",
    }[key]
    is_id = re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z._:/-]{0,255}", text) is not None
    config = parse_snapshot({listed: [{key: text}]})
    assert bool(config.notes) is not is_id
    assert all("is not an id" in note for note in config.notes)
    read = config.security_groups or config.network_acls or config.interfaces or ()
    assert len(read) == is_id


@examples(2, lenient)
@given(given_=EXPLAINED)
def test_links_lead_to_awss_console_and_queries_are_of_words_alone(given_: Input) -> None:
    for notification in notifications(given_):
        if not isinstance(notification, Alert):
            continue
        for link in notification.links:
            assert re.match(
                r"https://[a-z]+(-[a-z]+)+-[0-9]+\.console\.(aws\.amazon|amazonaws-us-gov|amazonaws)\.(com|cn)/",
                link.url,
            )
            assert not re.search(r"[\s<>|\"'`]", link.url)
        if notification.logs_query is not None:
            likes = re.findall(
                r"@message like (/\S+( \S+)?/)(?= and | \|)", notification.logs_query
            )
            rest = re.sub(
                r"@message like /\(\^\| \)[0-9A-Za-z:.\[\]-]+\( \|\$\)/( and )?",
                "",
                notification.logs_query,
            )
            assert (
                rest == "fields @timestamp, @message | filter  | sort @timestamp desc | limit 100"
            ), likes
