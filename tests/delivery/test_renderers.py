"""What people and machines are shown: golden files for each face, limits and hostile text for any document."""

from __future__ import annotations

import io
import json
import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flowverdict.alerts.grouping import group
from flowverdict.alerts.model import (
    Alert,
    Evidence,
    Kind,
    Link,
    Notice,
    RemediationText,
    Remote,
    Section,
    Severity,
    Status,
)
from flowverdict.delivery.renderers import amazon_q, ocsf, pagerduty, slack
from flowverdict.delivery.text import chat_line, shortened
from flowverdict.network.snapshot import load_snapshot
from flowverdict.verdict.batch import Batch, FixedConfig
from tests.helpers.slack_blocks import HOSTILE, texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from slack_sdk.models.blocks import Block

    from flowverdict.alerts.model import Notification

ROOT = Path(__file__).parents[2]
SCENARIOS = ROOT / "tests" / "scenarios"
GOLDEN = ROOT / "tests" / "golden"
FOUND_AT = int(datetime(2026, 11, 22, 12, 8, tzinfo=UTC).timestamp())
ROUTING_KEY = "0123456789abcdef0123456789abcdef"


# --- documents --------------------------------------------------------------------------------------------------------


def alert_of(text: str, name: str) -> Alert:
    batch = Batch()
    batch.add_file(io.BytesIO(text.encode()), name=f"{name}.log")
    notification = group(
        batch.explanations(FixedConfig(load_snapshot(SCENARIOS / "shop.config.json")))
    )[0].notification
    assert isinstance(notification, Alert)
    return notification


def scenario(name: str) -> Alert:
    return alert_of((SCENARIOS / f"{name}.log").read_text(), name)


def scan() -> Alert:
    header, line = (SCENARIOS / "rules-inbound-request.log").read_text().splitlines()
    tried = [
        line.replace(" 5432 ", f" {port} ")
        for port in (21, 22, 23, 25, 80, 110, 139, 443, 445, 1433, 3306, 3389, 5432)
    ]
    return alert_of("\n".join([header, *tried]), "scan")


def digest() -> Notice:
    return Notice(
        kind=Kind.DIGEST,
        fingerprint="d" * 32,
        severity=Severity.INFO,
        severity_reason="for your information",
        title="flowverdict digest: 2 open alerts, 14 resolved",
        summary="What was seen from 2026-11-21T08:00:00Z to 2026-11-22T08:00:00Z and did not need a message of its own.",
        records=18_204,
        first_seen=FOUND_AT - 86_400,
        last_seen=FOUND_AT,
        sections=(
            Section(
                heading="Still open",
                lines=("critical: Replies blocked by acl-0aaa0000000000001 rule *, since 12:00",),
            ),
            Section(
                heading="Scans",
                lines=tuple(f"192.0.2.{host}: 120 ports on 4 addresses" for host in range(1, 21)),
            ),
        ),
    )


def records_lost() -> Notice:
    return Notice(
        kind=Kind.RECORDS_LOST,
        fingerprint="e" * 32,
        severity=Severity.MEDIUM,
        severity_reason="what was rejected there in that time cannot be known",
        title="Flow log records lost at eni-0aaaaaaaaaaaaaaa1",
        summary="AWS could not log all traffic of eni-0aaaaaaaaaaaaaaa1 (SKIPDATA). Rejects are missing from that time.",
        account_id="123456789012",
        region="eu-west-1",
        vpc_id="vpc-0123456789abcdef0",
        interfaces=("eni-0aaaaaaaaaaaaaaa1",),
        interface_count=1,
        records=3,
        first_seen=FOUND_AT - 600,
        last_seen=FOUND_AT,
        sections=(
            Section(
                heading="What to do",
                lines=("No rule has to change: AWS skips records on an error of its own.",),
            ),
        ),
    )


DOCUMENTS: dict[str, Callable[[], Notification]] = {
    "critical": lambda: scenario("rules-outbound-response"),
    "high": lambda: scenario("rules-inbound-request"),
    "reminder": lambda: scenario("rules-outbound-response").with_status(
        Status.REMINDER, "still happening: 3 more flows since 12:05"
    ),
    "resolved": lambda: scenario("rules-outbound-response").with_status(
        Status.RESOLVED, "The packet that stood for it passes under the rules as read at 12:40."
    ),
    "scan": scan,
    "digest": digest,
    "records-lost": records_lost,
}


def slack_face(notification: Notification) -> dict[str, Any]:
    text, blocks = slack.message(notification)
    return {"text": text, "blocks": [block.to_dict() for block in blocks]}


FACES: dict[str, Callable[[Notification], dict[str, Any]]] = {
    "slack": slack_face,
    "amazon-q": lambda notification: json.loads(amazon_q.message(notification)),
    "pagerduty": lambda notification: pagerduty.event(notification, ROUTING_KEY),
    "ocsf": lambda notification: ocsf.finding(notification, time=FOUND_AT),
}


@pytest.mark.parametrize("notification", DOCUMENTS)
@pytest.mark.parametrize("face", FACES)
def test_the_face_is_as_agreed(face: str, notification: str) -> None:
    """``UPDATE_GOLDEN=1 make test`` writes the files anew; read the difference before committing it."""
    text = json.dumps(FACES[face](DOCUMENTS[notification]()), indent=2, ensure_ascii=False) + "\n"
    path = GOLDEN / f"{face}-{notification}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


# --- what a person does with the Slack message ------------------------------------------------------------------------


def preformatted(blocks: list[Block]) -> list[str]:
    told = [block.to_dict() for block in blocks]
    return [
        block["elements"][0]["elements"][0]["text"]
        for block in told
        if block["type"] == "rich_text"
    ]


def test_the_fix_is_copied_exactly_and_whole() -> None:
    alert = scenario("rules-outbound-response")
    assert alert.remediation is not None
    assert "\n".join(alert.remediation.commands) in preformatted(slack.blocks(alert))
    # Rich text is not escaped: what a shell is to see is what stands there.
    odd = "aws ec2 x --query 'a[?b<`1`] && \"c\"'"
    assert odd in preformatted(
        slack.blocks(replace(alert, remediation=RemediationText(commands=(odd,), opens="nothing")))
    )


@pytest.mark.parametrize(
    "command",
    ["aws " + "x" * 3_000, "aws a\nrm -rf /", "aws \u202egnihton"],
    ids=["long", "line", "bidi"],
)
def test_a_command_that_cannot_be_shown_as_it_is_is_not_shown(command: str) -> None:
    alert = replace(
        scenario("rules-outbound-response"),
        remediation=RemediationText(commands=(command,), opens="nothing"),
    )
    shown = json.dumps([block.to_dict() for block in slack.blocks(alert)], ensure_ascii=False)
    assert "cannot be shown in Slack; the email has them" in shown
    assert command[:20] not in shown
    for other in (
        amazon_q.message(alert),
        json.dumps(pagerduty.event(alert, ROUTING_KEY), ensure_ascii=False),
    ):
        assert "cannot be shown here; the email has them" in other
        assert command[:20] not in other


def test_a_resolved_message_is_short_and_offers_nothing_to_do() -> None:
    blocks = slack.blocks(DOCUMENTS["resolved"]())
    assert len(blocks) <= 4
    assert preformatted(blocks) == []
    assert (
        blocks[0]
        .to_dict()["text"]["text"]
        .startswith("\N{WHITE HEAVY CHECK MARK} RESOLVED: Replies blocked by ")
    )


def test_a_reminder_says_still() -> None:
    text, blocks = slack.message(DOCUMENTS["reminder"]())
    assert text.startswith("STILL CRITICAL: ")
    assert " STILL CRITICAL: " in blocks[0].to_dict()["text"]["text"]


# --- hostile text -----------------------------------------------------------------------------------------------------


def hostile() -> Alert:
    return replace(
        scenario("rules-outbound-response"),
        summary=HOSTILE,
        headline=HOSTILE,
        severity_reason=HOSTILE,
        status_reason=HOSTILE,
        service=HOSTILE,
        local_end=HOSTILE,
        notes=(HOSTILE,),
        owners=(("team", HOSTILE), (HOSTILE, "x")),
        evidence=(Evidence(kind="x", detail=HOSTILE),),
        explains=(HOSTILE,),
        next_steps=(f"{HOSTILE}? aws {HOSTILE}",),
        links=(
            Link(title=f"{HOSTILE}|x", url=f"https://aws.example/#{HOSTILE}"),
            Link(title="x", url="javascript:alert(1)"),
        ),
        logs_query=HOSTILE,
        top_remotes=(Remote(address=HOSTILE, flows=1, packets=1),),
    )


def test_hostile_text_mentions_no_one_opens_no_code_block_and_fakes_no_line() -> None:
    text, blocks = slack.message(hostile())
    for one in [text, *texts(blocks)]:
        # All that is left of brackets are our own links, to https and without a bar too many.
        outside = re.sub(r"<https://aws\.example/#[!-;=?-{}~]*\|[^<>|]*>", "", one)
        assert "<" not in outside
        assert ">" not in outside
        assert "```" not in one
        assert not re.search(r"&(?!amp;|lt;|gt;)", one)
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u2028\u2029\x1b]", one)
        # Only the first line of a text may be a heading, and we write it.
        assert not any(line.startswith("*") for line in one.splitlines()[1:])
        assert re.search(r"(?<!`):rotating_light:(?!`)", outside) is None
    assert not re.search(
        "[\u202a-\u202e\u2066-\u2069\u2028\x1b]",
        json.dumps([b.to_dict() for b in blocks], ensure_ascii=False),
    )
    assert all(one["verbatim"] for one in fields_and_sections(blocks))


def fields_and_sections(blocks: list[Block]) -> list[dict[str, Any]]:
    told = [block.to_dict() for block in blocks]
    sections = [block for block in told if block["type"] == "section"]
    return [
        one
        for section in sections
        for one in [section.get("text"), *section.get("fields", [])]
        if one is not None
    ]


def test_hostile_text_harms_no_other_face() -> None:
    content = json.loads(amazon_q.message(hostile()))["content"]
    for text in (
        content["title"],
        content["description"],
        *content["nextSteps"],
        *content["keywords"],
    ):
        assert "<" not in text
        assert "](" not in text
        # The one code block is the fix's.
        assert text.count("```") in {0, 2}
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u2028\x1b]", text)
    event = json.dumps(pagerduty.event(hostile(), ROUTING_KEY)["payload"], ensure_ascii=False)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u2028\x1b]", event)


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("a & b", 100, "a &amp; b"),
        ("", 100, "-"),
        (
            "from 2001:db8:100::1 to [2001:db8:1234::1]:443",
            100,
            "from `2001:db8:100::1` to `[2001:db8:1234::1]:443`",
        ),
        ("12:00:05, 2026-11-22T12:00:05Z", 100, "12:00:05, 2026-11-22T12:00:05Z"),
        ("&" * 40, 32, "&amp;" * 4 + "..."),
        ("x" * 40, 32, "x" * 29 + "..."),
    ],
)
def test_text_shows_in_a_chat_as_it_is(text: str, limit: int, shown: str) -> None:
    assert chat_line(text, limit) == shown


def test_ids_are_shortened_before_anything_is_cut() -> None:
    assert (
        shortened("Replies blocked by acl-0aaa0000000000001", 33)
        == "Replies blocked by acl-0aaa..0001"
    )


# --- too much ---------------------------------------------------------------------------------------------------------


def test_what_matters_least_is_left_out_first_and_is_named() -> None:
    alert = scenario("rules-outbound-response")
    crowded = replace(
        alert,
        evidence=tuple(
            Evidence(kind="x", detail=f"{number} " + "evidence " * 50) for number in range(40)
        ),
        explains=tuple(f"{number} " + "explained " * 40 for number in range(40)),
        top_remotes=tuple(
            Remote(address=f"2001:db8::{number:x}", flows=1, packets=1) for number in range(10)
        ),
        remote_count=5_000,
        next_steps=tuple(f"{'look ' * 50}? aws {'x' * 1_500}{number}" for number in range(9)),
        links=tuple(
            Link(title=f"link {number}", url=f"https://aws.example/{'x' * 300}{number}")
            for number in range(9)
        ),
    )
    blocks = slack.blocks(crowded)
    shown = "\n".join(texts(blocks))
    assert slack.characters(blocks) <= slack.MAX_CHARACTERS
    assert "Too long for Slack, see the email: logs query" in shown
    assert alert.remediation is not None
    assert alert.remediation.commands[0] in preformatted(blocks)
    assert re.search(r"\.\.\. \d+ more", shown)


def test_more_remotes_than_are_shown_are_counted() -> None:
    alert = replace(scenario("rules-outbound-response"), remote_count=5_001)
    assert any("and 5,000 more" in text for text in preformatted(slack.blocks(alert)))


@pytest.mark.parametrize("character", ['"', "\\", "&", "x", ":", "\N{FIRE}"])
def test_what_always_stays_fits_by_itself(character: str) -> None:
    long = character * 2_000
    alert = replace(
        scenario("rules-outbound-response").with_status(Status.REMINDER, long),
        headline=long,
        summary=long,
        severity_reason=long,
        service=long,
        verdict_caption=long,
        account_id=long,
        local_end=long,
        path=long,
        connection=long,
        owners=((long, long),),
        flows=2,
        remediation=RemediationText(commands=(long,), opens=long),
    )
    blocks = slack.blocks(alert)
    assert slack.characters(blocks) <= slack.MAX_CHARACTERS
    assert len(blocks[1].to_dict()["text"]["text"]) <= 400
    assert any("*Severity*" in text for text in texts(blocks))
