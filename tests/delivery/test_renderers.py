"""The renderers: golden files for each, limits, and hostile text in Slack and in the others."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import time_machine

from flowverdict.alerts.counts import Remote
from flowverdict.alerts.model import (
    Alert,
    Evidence,
    Link,
    RemediationText,
    Status,
)
from flowverdict.delivery.renderers import RENDERERS, amazon_q, pagerduty, slack
from flowverdict.delivery.text import chat_line, shortened
from tests.helpers.notification_samples import FOUND_AT, NOTIFICATIONS, scenario
from tests.helpers.slack_blocks import HOSTILE, texts, without_dates

if TYPE_CHECKING:
    from slack_sdk.models.blocks import Block

GOLDEN = Path(__file__).parents[1] / "golden"
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
UPDATES = bool(os.environ.get("UPDATE_GOLDEN"))


# --- all renderers --------------------------------------------------------------------------------


def golden(renderer: str, notification: str) -> Path:
    """Return the path of a golden file; the text of an email has no other suffix for JSON."""
    suffix = "txt" if renderer == "email" else "json"
    return GOLDEN / f"{renderer}-{notification}.{suffix}"


@pytest.mark.parametrize("notification", NOTIFICATIONS)
@pytest.mark.parametrize(
    "renderer", [name for name in RENDERERS if UPDATES or golden(name, "critical").exists()]
)
def test_output_equals_the_golden_file(
    renderer: str, notification: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``UPDATE_GOLDEN=1`` writes the files; read the difference before you commit it."""
    monkeypatch.setattr(pagerduty, "NO_ROUTING_KEY", ROUTING_KEY)
    with time_machine.travel(datetime.fromtimestamp(FOUND_AT, UTC), tick=False):
        text = RENDERERS[renderer].render(NOTIFICATIONS[notification]())
    path = golden(renderer, notification)
    if path.suffix == ".json":
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    if UPDATES:
        path.write_text(text)
    assert path.read_text() == text


def test_names_and_purposes_are_fit_for_the_command() -> None:
    for name, renderer in RENDERERS.items():
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert renderer.purpose
        assert "\n" not in renderer.purpose


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("notification", NOTIFICATIONS)
def test_output_is_whole_and_printable(renderer: str, notification: str) -> None:
    text = RENDERERS[renderer].render(NOTIFICATIONS[notification]())
    assert text.strip()
    assert text.replace("\n", "").isprintable()


# --- Slack: the fix, reminders, resolved alerts --------------------------------------------------


def preformatted(blocks: list[Block]) -> list[str]:
    return [
        block["elements"][0]["elements"][0]["text"]
        for block in (block.to_dict() for block in blocks)
        if block["type"] == "rich_text"
    ]


def test_the_fix_is_copied_exactly_and_whole() -> None:
    alert = scenario("rules-outbound-response")
    assert alert.remediation is not None
    assert "\n".join(alert.remediation.commands) in preformatted(slack.blocks(alert))
    # Rich text is not escaped: the shell reads what the message shows.
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
        amazon_q.render(alert),
        json.dumps(pagerduty.event(alert, ROUTING_KEY), ensure_ascii=False),
    ):
        assert "cannot be shown here; the email has them" in other
        assert command[:20] not in other


def test_a_resolved_message_is_short_and_offers_nothing_to_do() -> None:
    blocks = slack.blocks(NOTIFICATIONS["resolved"]())
    assert len(blocks) <= 6
    (show,) = preformatted(blocks)
    assert re.fullmatch("flowverdict alerts show [0-9a-f]{32}", show)
    assert (
        blocks[0]
        .to_dict()["text"]["text"]
        .startswith("\N{WHITE HEAVY CHECK MARK} FIXED: shop-web :443 (HTTPS): replies to ")
    )


def test_a_reminder_says_still() -> None:
    message = slack.message(NOTIFICATIONS["reminder"]())
    blocks = slack.blocks(NOTIFICATIONS["reminder"]())
    assert str(message["text"]).startswith("STILL CRITICAL: ")
    assert " STILL CRITICAL: " in blocks[0].to_dict()["text"]["text"]


# --- hostile text ---------------------------------------------------------------------------------


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


def test_hostile_text_makes_no_mention_no_code_block_and_no_heading_in_slack() -> None:
    blocks = slack.blocks(hostile())
    for text in [str(slack.message(hostile())["text"]), *texts(blocks)]:
        # The only brackets left are those of our own links: https, with one bar.
        link = r"<https://[a-z0-9.-]*aws\.[a-z.]*/[!-;=?-{}~]*\|[^<>|]*>"
        outside = re.sub(link, "", without_dates(text))
        assert "<" not in outside
        assert ">" not in outside
        assert "```" not in text
        assert not re.search(r"&(?!amp;|lt;|gt;)", text)
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u2028\u2029\x1b]", text)
        # Only the first line of a text may be a heading, and the renderer writes it.
        assert not any(line.startswith("*") for line in text.splitlines()[1:])
        assert re.search(r"(?<!`):rotating_light:(?!`)", outside) is None
    assert not re.search(
        "[\u202a-\u202e\u2066-\u2069\u2028\x1b]",
        json.dumps([b.to_dict() for b in blocks], ensure_ascii=False),
    )
    assert all(text["verbatim"] for text in fields_and_sections(blocks))


def fields_and_sections(blocks: list[Block]) -> list[dict[str, Any]]:
    sections = [section.to_dict() for section in blocks if section.type == "section"]
    return [
        text
        for section in sections
        for text in [section.get("text"), *section.get("fields", [])]
        if text is not None
    ]


def test_hostile_text_has_no_effect_in_amazon_q_and_pagerduty() -> None:
    content = json.loads(amazon_q.render(hostile()))["content"]
    for text in (
        content["title"],
        content["description"],
        *content["nextSteps"],
        *content["keywords"],
    ):
        assert "<" not in text
        assert "](" not in text
        # The only code block is the fix's.
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


# --- too much -------------------------------------------------------------------------------------


def test_the_least_important_parts_are_left_out_first_and_named() -> None:
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
    assert "Too long for Slack, see the email: links" in shown
    assert alert.remediation is not None
    assert alert.remediation.commands[0] in preformatted(blocks)
    assert re.search(r"\.\.\. \d+ more", shown)


def test_more_remotes_than_are_shown_are_counted() -> None:
    alert = replace(scenario("rules-outbound-response"), remote_count=5_001)
    assert any("and 5,000 more" in text for text in preformatted(slack.blocks(alert)))


@pytest.mark.parametrize("character", ['"', "\\", "&", "x", ":", "\N{FIRE}"])
def test_the_parts_that_are_never_left_out_fit(character: str) -> None:
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
    assert " STILL CRITICAL: " in blocks[0].to_dict()["text"]["text"]


# --- the owner that the records name, without rules -----------------------------------------------


@pytest.mark.parametrize("renderer", ["amazon-q", "email", "pagerduty", "slack", "teams"])
def test_the_task_and_the_tags_of_the_records_are_shown(renderer: str) -> None:
    task = RENDERERS[renderer].render(scenario("ecs-task"))
    assert "ECS service shop-web" in task
    assert renderer in {"amazon-q", "pagerduty"} or "of service shop-web (cluster prod)" in task
    tagged = RENDERERS[renderer].render(scenario("tags-and-next-hop"))
    assert "instance tag team/shop" in tagged
    assert renderer in {"amazon-q", "pagerduty"} or "next hop is interface eni-0ddd" in tagged
