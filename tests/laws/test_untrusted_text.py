"""Text of records, keys, tags and documents is shown as text, does nothing and directs no call.

``test_renderer_laws`` has the limits of length, ``test_pasted_commands`` the commands.
"""

from __future__ import annotations

import io
import json
import re
from contextlib import redirect_stdout
from types import SimpleNamespace
from typing import TYPE_CHECKING, NoReturn, cast

import pytest
from botocore.exceptions import ClientError
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from flowverdict.alerts.model import Alert, Severity, Status
from flowverdict.app.deadlines import BudgetedConfigSource
from flowverdict.app.observability import Observability
from flowverdict.core.availability import NotAvailable
from flowverdict.core.errors import ConfigError, FlowVerdictError, ObjectError
from flowverdict.delivery.renderers import amazon_q, email, ocsf, pagerduty, slack, teams
from flowverdict.network.ec2 import Ec2Config
from flowverdict.network.ec2_clients import ReaderRole
from flowverdict.policy.document import parse_policy
from flowverdict.policy.values import MAX_REASON
from flowverdict.verdict.batch import Batch
from flowverdict.verdict.contract import to_json
from flowverdict_cli import explain, outputs, policy_check, report
from tests.helpers.any_notification import NOTIFICATION
from tests.helpers.hostile_text import (
    EXPLAINED,
    FREE,
    WORD,
    Input,
    explained,
    lenient,
    notifications,
)
from tests.helpers.hypothesis_weight import examples
from tests.helpers.pages import assert_inert
from tests.helpers.slack_blocks import texts, without_dates
from tests.helpers.teams_cards import assert_valid_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.client import BaseClient

    from flowverdict.alerts.model import Notification
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.network.ec2_clients import Credentials
    from flowverdict.network.ports import ConfigSource


# --- faces ----------------------------------------------------------------------------------------


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
    """Whether no character acts on a terminal, turns the direction or ends a line by itself."""
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
        without_links = LINK.sub("", without_dates(one))
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
@examples(0.6, lenient)
@given(notification=NOTIFICATION)
def test_no_face_lets_a_document_act(face: str, notification: Notification) -> None:
    FACES[face](notification)


@examples(0.6, lenient)
@given(given_=EXPLAINED)
def test_no_face_lets_what_is_in_records_and_tags_act(given_: Input) -> None:
    for notification in notifications(given_):
        for holds in FACES.values():
            holds(notification)
        # SNS takes 256 KiB.
        assert len(notification.to_json()) < 100_000
        assert len(email.body(notification)) < 100_000


# --- logs and the command's output ----------------------------------------------------------------


@examples(0.6, lenient)
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
        configs = BudgetedConfigSource(
            cast("ConfigSource", SimpleNamespace(read=lambda *_, **__: NotAvailable(key)))
        )
        configs.read(key, key, ())
        observability.rules_not_read(configs)
        observability.passed_over(key, key)
        observability.message_failed(key, ObjectError(key, "broken"))
    lines = written.getvalue().split("\n")
    assert lines.pop() == ""
    assert len(lines) == 6
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


@examples(0.6, lenient)
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


@examples(0.6, lenient)
@given(given_=EXPLAINED)
def test_the_commands_answer_in_every_form_does_nothing(given_: Input) -> None:
    explanations, batch = explained(given_)
    read = explain.FilesRead(batch=batch, readings=[], errors=[], notes=[])
    shown = explain.Explained(
        read=read,
        explanations=explanations,
        has_rules=False,
        least=Severity.INFO,
        some_left_out=False,
    )
    for output in ("table", "markdown", "csv"):
        written = io.StringIO()
        with redirect_stdout(written):
            outputs.write(output, shown, flows=False)
        assert written.getvalue()
        assert is_plain(written.getvalue())
    assert_inert(report.page_of(shown))


@given(reason=FREE, name=FREE)
def test_a_policys_reasons_do_nothing_to_a_terminal(reason: str, name: str) -> None:
    notification = {
        "version": 1,
        "expected": [{"match": {"port": 1}, "reason": reason[:MAX_REASON]}],
    }
    try:
        policy = parse_policy(json.dumps(notification))
    except FlowVerdictError:
        return  # the text of every error is one line
    written = io.StringIO()
    with redirect_stdout(written):
        policy_check.show(
            policy_check.check(name, policy, policy_check.moment("2026-12-01T00:00:00Z"), None)
        )
    assert is_plain(written.getvalue())


# --- calls to AWS ---------------------------------------------------------------------------------


class _Refusing:
    """Records the clients and roles that are asked for, and refuses every call."""

    def __init__(self) -> None:
        self.clients: list[tuple[str, str]] = []
        self.roles: list[dict[str, str]] = []

    def __call__(self, service: str, region: str, credentials: Credentials | None) -> BaseClient:
        assert credentials is None
        self.clients.append((service, region))
        return cast(
            "BaseClient",
            SimpleNamespace(
                assume_role=self._assume_role,
                can_paginate=lambda _: True,
                get_paginator=self._paginator,
                meta=self._meta(),
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


@examples(3, lenient)
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
        reader_role=ReaderRole(name="reader", external_id="shared", organization="o-a1b2c3d4e5"),
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
