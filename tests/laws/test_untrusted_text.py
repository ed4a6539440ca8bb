"""Whatever stands in records, keys, tags and documents: it is shown as text, acts on nothing, and steers no call.

The laws of limits are in ``test_faces_laws``; these are about what text of somebody else's may do to who reads or pastes it.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
from contextlib import nullcontext, redirect_stdout
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from flowverdict.alerts.grouping import group
from flowverdict.alerts.model import Alert, Status
from flowverdict.alerts.notices import lost_records
from flowverdict.app.observability import Observability
from flowverdict.core.availability import NotAvailable
from flowverdict.core.errors import ConfigError, FlowVerdictError, ObjectError
from flowverdict.delivery.renderers import amazon_q, email, ocsf, pagerduty, slack, teams
from flowverdict.network.ec2 import Ec2Config
from flowverdict.network.ec2_clients import ReaderRole
from flowverdict.network.model import GroupReference, PrefixListReference
from flowverdict.network.snapshot import parse_snapshot
from flowverdict.policy.document import parse_policy
from flowverdict.policy.values import MAX_REASON
from flowverdict.verdict.batch import Batch, FixedConfig
from flowverdict.verdict.contract import to_json
from flowverdict.verdict.remediation import AclChange, Remediation
from flowverdict_cli import explain, policy_check
from tests.helpers.any_notification import NOTIFICATION
from tests.helpers.slack_blocks import texts
from tests.helpers.teams_cards import assert_valid_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.client import BaseClient

    from flowverdict.alerts.model import Notification
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.network.ec2_clients import Credentials
    from flowverdict.verdict.explanation import Explanation
    from flowverdict.verdict.remediation import Change

SCENARIOS = Path(__file__).parents[1] / "scenarios"
SHOP = json.loads((SCENARIOS / "shop.config.json").read_text())

PIECES = [
    *(
        "<!channel>",
        "<@U012AB3CD>",
        "<https://evil.example|click>",
        "[click](https://evil.example)",
        "&lt;",
        "&amp;",
        "```",
        "`id`",
    ),
    *(
        "*Fix*",
        "_x_",
        "|",
        ":rotating_light:",
        "$(touch pwned)",
        "${IFS}",
        ";touch pwned;",
        "'",
        '"',
        "\\",
        "&&",
        ">pwned",
        "#",
    ),
    *(
        "? aws ec2 evil",
        " aws s3 rb s3://x",
        "--endpoint-url=https://evil.example",
        "file:///etc/passwd",
        "},{GroupId=sg-0",
        "*",
        "%0a",
    ),
    *(
        "\n",
        "\r",
        "\t",
        "\x00",
        "\x1b[2J",
        "\x9b2J",
        "\x85",
        "\u2028",
        "\u2029",
        "\u202e",
        "\u2066",
        "\u200b",
        "\ufeff",
        "\u0430ws",
    ),
    *(
        "\N{FIRE}",
        "\u05e9",
        "\ud800",
        "[flowverdict CRITICAL]",
        '{"level":"INFO"}',
        "evil.com/#",
        "..",
        "/",
        "x" * 300,
    ),
]
FREE = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=6).map("".join)
# A field of a record: what is no printable ASCII, or has blanks, is no field and never gets past the reader.
_WORDS = ["".join(one for one in piece if "!" <= one <= "~") for piece in PIECES]
WORD = st.lists(st.sampled_from([word for word in _WORDS if word]), min_size=1, max_size=4).map(
    "".join
)
FIELDS = (
    "account-id",
    "interface-id",
    "vpc-id",
    "subnet-id",
    "instance-id",
    "region",
    "pkt-src-aws-service",
    "reject-reason",
)
LOGS = (
    "rules-outbound-response",
    "rules-inbound-request",
    "rules-both-layers",
    "rules-gateway-endpoint",
    "inbound-request",
)


def hostile_log(name: str, edits: dict[str, str]) -> bytes:
    header, *lines = (SCENARIOS / f"{name}.log").read_text().splitlines()
    names = header.split()
    rows = [line.split() for line in lines]
    for field, value in edits.items():
        if field in names:
            for row in rows:
                row[names.index(field)] = value
        else:
            names.append(field)
            for row in rows:
                row.append(value)
    return "\n".join(" ".join(row) for row in [names, *rows]).encode()


def hostile_shop(tag: str, description: str) -> dict[str, Any]:
    """Give the shop with everything in it that its owners write as they like."""
    shop: dict[str, Any] = json.loads(json.dumps(SHOP))
    tags = [{"Key": key, "Value": tag} for key in ("Name", "Owner", "team", tag)]
    for listed in shop.values():
        for item in listed if isinstance(listed, list) else ():
            item |= {"TagSet": tags, "Tags": tags, "Description": description}
            if "GroupName" in item:
                item["GroupName"] = tag
            for permission in item.get("IpPermissions", []):
                for one in permission.get("IpRanges", []):
                    one["Description"] = description
    return shop


EXPLAINED = st.builds(
    lambda name, edits, shop, key: (hostile_log(name, {"region": "eu-west-1"} | edits), shop, key),
    st.sampled_from(LOGS),
    st.dictionaries(st.sampled_from(FIELDS), WORD, max_size=3),
    st.none()
    | st.builds(hostile_shop, FREE, FREE),  # without rules there is no fix, but more to look at
    FREE,
)
type Input = tuple[bytes, dict[str, Any] | None, str]
few = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def explained(given_: Input) -> tuple[list[Explanation], Batch]:
    log, shop, key = given_
    batch = Batch()
    batch.add_file(io.BytesIO(log), name=f"s3://bucket/{key}")
    return batch.explanations(None if shop is None else FixedConfig(parse_snapshot(shop))), batch


def notifications(given_: Input) -> list[Notification]:
    explanations, batch = explained(given_)
    found = [
        detection.notification
        for detection in (*group(explanations), *lost_records(batch.flows.lost()))
    ]
    assert found
    return found


# --- faces ------------------------------------------------------------------------------------------------------------


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from (str(name), *strings(one))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from strings(one)


def is_plain(text: str) -> bool:
    """Whether nothing in it acts on a terminal or turns the reading direction; lines end where this program ends them."""
    return all(line.isprintable() for line in text.split("\n"))


def holds_email(notification: Notification) -> None:
    body = email.body(notification)
    assert is_plain(body)
    if (
        isinstance(notification, Alert)
        and notification.remediation is not None
        and notification.status is not Status.RESOLVED
    ):
        shown = body.split("\n")
        if all(command.isprintable() for command in notification.remediation.commands):
            assert all(f"    {command}" in shown for command in notification.remediation.commands)
        else:
            assert "Fix: there is one, but its commands cannot be shown" in shown
    subject = email.subject(notification)
    assert subject.isascii() and subject.isprintable() and 1 <= len(subject) < 100  # noqa: PT018 - one law


ESCAPED = re.compile(r"&(?!amp;|lt;|gt;)")
LINK = re.compile(r"<https://[^<>|\s]*\|[^<>|\n]*>")


def holds_slack(notification: Notification) -> None:
    blocks = slack.blocks(notification)
    for one in [str(slack.message(notification)["text"]), *texts(blocks)]:
        without_links = LINK.sub("", one)
        assert not re.search(r"[<>]", without_links)
        assert not ESCAPED.search(one)
        assert is_plain(one)
        assert "```" not in one
    told = [block.to_dict() for block in blocks]  # Slack's own validators
    assert all(is_plain(one) for one in strings(told))


def holds_teams(notification: Notification) -> None:
    message = teams.message(notification)
    assert_valid_message(message)
    assert all(is_plain(text) for text in strings(message))
    assert not re.search(r"<(?=/?at\b)|\{\{", "\n".join(strings(message)), re.IGNORECASE)


def holds_amazon_q(notification: Notification) -> None:
    told = json.loads(amazon_q.render(notification))
    description = told["content"]["description"]
    assert all(is_plain(one) for one in strings(told))
    assert description.count("```") in {0, 2}
    for one in (
        told["content"]["title"],
        *told["content"]["nextSteps"],
        re.sub(r"```.*?```", "", description, flags=re.DOTALL),
    ):
        assert not re.search(r"[<>]|\]\(", one)
        assert not ESCAPED.search(one)


def holds_machines(notification: Notification) -> None:
    event = pagerduty.event(notification, pagerduty.NO_ROUTING_KEY)
    assert all(is_plain(one) and len(one) <= 2_000 for one in strings(event.get("payload", {})))
    assert all(link["href"].startswith("https://") for link in event.get("links", []))
    for told in (event, ocsf.finding(notification, found_at=0)):
        assert json.loads(json.dumps(told)) == json.loads(json.dumps(told, ensure_ascii=False))
    assert notification.to_json().isascii()
    assert notification.to_json().isprintable()


FACES: dict[str, Callable[[Notification], None]] = {
    "email": holds_email,
    "slack": holds_slack,
    "teams": holds_teams,
    "amazon-q": holds_amazon_q,
    "machines": holds_machines,
}


@pytest.mark.parametrize("face", FACES)
@few
@given(notification=NOTIFICATION)
def test_no_face_lets_a_document_act(face: str, notification: Notification) -> None:
    FACES[face](notification)


@few
@given(given_=EXPLAINED)
def test_no_face_lets_what_is_in_records_and_tags_act(given_: Input) -> None:
    for notification in notifications(given_):
        for holds in FACES.values():
            holds(notification)
        # SNS takes 256 KiB.
        assert len(notification.to_json()) < 100_000
        assert len(email.body(notification)) < 100_000


# --- logs and the command's output ------------------------------------------------------------------------------------


@few
@given(given_=EXPLAINED, key=FREE)
def test_a_log_line_is_one_line_of_printable_ascii(given_: Input, key: str) -> None:
    written = io.StringIO()
    observability = Observability("test")
    log, _, _ = given_
    with redirect_stdout(written):
        reading = Batch().add_file(
            io.BytesIO(log + b"\nwords \x1b[2J that are no record\n"), name=key
        )
        observability.read(reading)
        observability.already_counted(key)
        observability.rules_not_read({(key, key): key})
        observability.message_failed(key, str(ObjectError(key, "broken")), with_traceback=False)
    lines = written.getvalue().split("\n")
    assert lines.pop() == ""
    assert len(lines) == 5
    for line in lines:
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 12_000
    assert [json.loads(line)["message"] for line in lines][-1] == "message failed"
    assert json.loads(lines[0])["source"] == key.encode("utf-8", "surrogatepass").decode(
        "utf-8", "surrogatepass"
    )


@given(text=FREE)
def test_an_errors_text_is_one_line(text: str) -> None:
    for error in (FlowVerdictError(text), ObjectError(text, text), ConfigError(text)):
        assert str(error).isprintable()


@few
@given(given_=EXPLAINED)
def test_the_commands_table_and_fixes_do_nothing_to_a_terminal(given_: Input) -> None:
    explanations, _ = explained(given_)
    written = io.StringIO()
    with redirect_stdout(written):
        explain.show(explanations)
    assert explanations
    assert is_plain(written.getvalue())
    on_a_terminal = Console(width=10_000, file=io.StringIO())
    with on_a_terminal.capture() as capture:
        on_a_terminal.print(explain.table(explanations))
    assert [line.rstrip() + "\n" for line in capture.get().splitlines()] == explain.lines(
        explanations
    )
    assert all(to_json(one).isprintable() and to_json(one).isascii() for one in explanations)


@given(reason=FREE, name=FREE)
def test_a_policys_reasons_do_nothing_to_a_terminal(reason: str, name: str) -> None:
    notification = {
        "version": 1,
        "expected": [{"match": {"port": 1}, "reason": reason[:MAX_REASON]}],
    }
    try:
        policy = parse_policy(json.dumps(notification))
    except FlowVerdictError:
        return  # what it says is one line, as of all errors
    written = io.StringIO()
    with redirect_stdout(written):
        policy_check.show(
            policy_check.check(name, policy, policy_check.moment("2026-12-01T00:00:00Z"), None)
        )
    assert is_plain(written.getvalue())


# --- commands that a person pastes ------------------------------------------------------------------------------------


def words_of(change: Change, region: str | None) -> list[str]:
    """Give what the AWS CLI has to get, from the change itself."""
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
            peer = f"UserIdGroupPairs=[{{GroupId={rule.peer.group_id}}}]"
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
    """Run a command as a person's shell does, where ``aws`` only notes what it gets; fails if anything else happens."""
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


OPTIONS = {"--region", "--filters", "--network-interface-ids", "--query", "--output"}


@settings(few, max_examples=80)
@example(
    given_=(
        hostile_log("rules-inbound-request", {"region": "--endpoint-url=https://evil.example"}),
        SHOP,
        "key",
    )
)
@example(given_=(hostile_log("rules-inbound-request", {"region": "$(id)"}), None, "key"))
@example(given_=(hostile_log("inbound-request", {"interface-id": "eni-1;id"}), None, "key"))
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
                assert re.fullmatch(r"describe-[a-z-]+", words[1])
                assert {word for word in words if word.startswith("-")} <= OPTIONS
                for word in words[2:]:
                    assert word in {
                        "NetworkInterfaces[0].SubnetId",
                        "NetworkInterfaces[].Groups",
                    } or re.fullmatch(r"[A-Za-z0-9.,=-]+", word)
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
    with nullcontext() if is_id else pytest.raises(ConfigError, match="is no id"):
        parse_snapshot({listed: [{key: text}]})


@settings(few, max_examples=200)
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


# --- calls to AWS -----------------------------------------------------------------------------------------------------


class _Refusing:
    """Notes which clients are asked for and which roles, and refuses them: what is never asked for cannot be answered."""

    def __init__(self) -> None:
        self.clients: list[tuple[str, str]] = []
        self.roles: list[dict[str, str]] = []

    def __call__(self, service: str, region: str, credentials: Credentials | None) -> BaseClient:
        assert credentials is None
        self.clients.append((service, region))
        return cast(
            "BaseClient",
            SimpleNamespace(
                assume_role=self._assume_role, get_paginator=self._paginator, meta=self._meta()
            ),
        )

    def _assume_role(self, **arguments: str) -> None:
        self.roles.append(arguments)
        self._refuse("AssumeRole")

    def _paginator(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(paginate=lambda **_: (self._refuse(name) for _ in "1"))

    def _refuse(self, name: str) -> NoReturn:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, name)

    def _meta(self) -> SimpleNamespace:
        shape = SimpleNamespace(input_shape=None)
        return SimpleNamespace(service_model=SimpleNamespace(operation_model=lambda _: shape))


PLACE = st.none() | FREE | WORD | st.sampled_from(["210987654321", "eu-west-1", "cn-north-1"])


@settings(few, max_examples=300)
@given(account=PLACE, region=PLACE, interface=WORD | st.just("eni-0aaaaaaaaaaaaaaa1"))
@example(account="210987654321", region="evil.com/#", interface="eni-0aaaaaaaaaaaaaaa1")
@example(account="210987654321\n", region="eu-west-1", interface="eni-0aaaaaaaaaaaaaaa1")
@example(account="\u0661" * 12, region="eu-west-1", interface="eni-0aaaaaaaaaaaaaaa1")
@example(account="210987654321", region="eu-west-\u0661", interface="eni-0aaaaaaaaaaaaaaa1")
@example(account="210987654321:role/admin", region="eu-west-1", interface="eni-0aaaaaaaaaaaaaaa1")
@example(account="*", region="eu-west-1", interface="eni-*")
@example(account="210987654321", region="eu-west-1", interface="eni-0aaaaaaaaaaaaaaa1")
def test_no_text_reaches_a_host_name_or_a_roles_arn(
    account: str | None, region: str | None, interface: str
) -> None:
    asked = _Refusing()
    source = Ec2Config(
        clients=asked,
        logger=Observability("test").logger,
        default_region="eu-west-1",
        own_account="123456789012",
        reader_role=ReaderRole(name="reader", external_id="shared"),
    )
    flow = cast("RejectedFlow", SimpleNamespace(interface_id=interface))
    with redirect_stdout(io.StringIO()):
        outcome = source.read(account, region, [flow])
    assert isinstance(outcome, NotAvailable)
    assert outcome.reason.isprintable()
    assert len(outcome.reason) < 300
    for service, partition in asked.clients:
        assert service in {"ec2", "sts"}
        assert re.fullmatch(r"[a-z]+(-[a-z]+)+-[0-9]{1,2}", partition, re.ASCII)
    for role in asked.roles:
        assert re.fullmatch(r"arn:aws:iam::[0-9]{12}:role/reader", role.pop("RoleArn"))
        assert role == {"RoleSessionName": "flowverdict", "ExternalId": "shared"}
    if (account, region, interface) == ("210987654321", "eu-west-1", "eni-0aaaaaaaaaaaaaaa1"):
        assert (asked.clients, len(asked.roles)) == (
            [("sts", "eu-west-1")],
            1,
        )  # a law about nothing would hold too
