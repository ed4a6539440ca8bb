"""The Adaptive Card of Microsoft Teams: valid, bounded, and its text is shown as it is."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from flowverdict.alerts.counts import Remote
from flowverdict.alerts.model import (
    Evidence,
    Link,
    RemediationText,
    Severity,
)
from flowverdict.delivery.renderers import teams
from tests.helpers.notification_samples import NOTIFICATIONS, digest, records_lost, scenario
from tests.helpers.slack_blocks import HOSTILE
from tests.helpers.teams_cards import (
    assert_valid_message,
    card,
    commands,
    strings_with_markdown,
    strings_without,
)


def shown(text: str) -> str:
    """Return what the renderer of Adaptive Cards shows for a text with Markdown."""
    html = MarkdownIt("commonmark").enable("strikethrough").render(text)
    match = re.fullmatch(r"<p>([^<>]*)</p>\n", html)
    assert match is not None, html
    content = match[1]
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        content = content.replace(entity, character)
    return content


@pytest.mark.parametrize("name", NOTIFICATIONS)
def test_the_message_is_valid(name: str) -> None:
    assert_valid_message(teams.message(NOTIFICATIONS[name]()))


@pytest.mark.parametrize(
    ("name", "color", "first_word"),
    [
        ("critical", "attention", "CRITICAL"),
        ("high", "attention", "HIGH"),
        ("records-lost", "warning", "MEDIUM"),
        ("resolved", "good", "\N{WHITE HEAVY CHECK MARK} FIXED"),
        ("quiet", "default", "\N{SPEAKER WITH CANCELLATION STROKE} QUIET"),
        ("unknown", "attention", "\N{BLACK QUESTION MARK ORNAMENT} UNKNOWN"),
        ("no-flow-logs", "attention", "HIGH"),
        ("reminder", "attention", "STILL CRITICAL"),
    ],
)
def test_the_heading_has_the_severity_and_its_color(name: str, color: str, first_word: str) -> None:
    heading = card(teams.message(NOTIFICATIONS[name]()))["body"][0]
    assert heading["color"] == color
    assert heading["text"].startswith(f"{first_word}: ")


def test_every_severity_has_a_color() -> None:
    for severity in Severity:
        assert_valid_message(teams.message(replace(records_lost(), severity=severity)))


def test_the_fix_is_copied_exactly_and_whole() -> None:
    alert = scenario("rules-outbound-response")
    assert alert.remediation is not None
    assert [*alert.remediation.commands] in commands(teams.message(alert))
    odd = "aws ec2 x --query 'a[?b<`1`] && \"c\"' *_*"
    changed = replace(alert, remediation=RemediationText(commands=(odd,), opens="nothing"))
    assert [odd] in commands(teams.message(changed))


@pytest.mark.parametrize(
    "command",
    ["aws " + "x" * 3_000, "aws a\nrm -rf /", "aws \u202egnihton", "aws <at>x</at>", "aws {{DATE("],
    ids=["long", "line", "bidi", "mention", "function"],
)
def test_a_command_that_cannot_be_shown_as_it_is_is_not_shown(command: str) -> None:
    remediation = RemediationText(commands=(command,), opens="nothing")
    message = teams.message(replace(scenario("rules-outbound-response"), remediation=remediation))
    assert any(
        "cannot be shown in Teams; the email has them" in s for s in strings_without(message)
    )
    assert command[:12] not in json.dumps(message, ensure_ascii=False)


def test_a_resolved_message_is_short_and_offers_nothing_to_do() -> None:
    message = teams.message(NOTIFICATIONS["resolved"]())
    assert len(card(message)["body"]) <= 5
    assert commands(message) == [
        [f"flowverdict alerts show {NOTIFICATIONS['resolved']().fingerprint}"]
    ]


def test_links_are_https_actions() -> None:
    links = (
        Link(title="", url="https://aws.example/#a b|c>"),
        Link(title="x", url="javascript:alert(1)"),
        Link(title="x", url="http://aws.example/"),
        *(Link(title=f"link {number}", url="https://aws.example/") for number in range(9)),
    )
    alert = replace(scenario("rules-outbound-response"), links=links, network_acl_entry=None)
    message = teams.message(alert)
    (actions,) = [e["actions"] for e in card(message)["body"] if e["type"] == "ActionSet"]
    assert len(actions) == 6
    assert actions[0] == {
        "type": "Action.OpenUrl",
        "title": "link",
        "url": "https://aws.example/#a%20b%7Cc%3E",
    }


@pytest.mark.parametrize(
    "text",
    [
        "rule *: 10.0.1.5:443 -> 0.0.0.0/0",
        "*a* **b** _c_ __d__ ~~e~~ `f`",
        "[click](https://evil.example) ![x](y) <https://evil.example>",
        "&lt;b&gt; &#60; <b>x</b>",
        "# heading",
        "- item",
        "+ item",
        "1. item",
        "12) item",
        "> quote",
        "---",
        "a\\*b\\",
        "https://evil.example/*x*",
    ],
)
def test_markdown_in_a_fact_is_shown_as_it_is(text: str) -> None:
    message = teams.message(replace(scenario("rules-outbound-response"), service=text))
    values = [shown(value) for value in strings_with_markdown(message)]
    assert text in values


def test_hostile_text_makes_no_mention_link_or_function() -> None:
    alert = replace(
        scenario("rules-outbound-response"),
        summary=HOSTILE,
        headline=HOSTILE,
        status_reason=HOSTILE,
        service=HOSTILE,
        owners=((HOSTILE, HOSTILE),),
        evidence=(Evidence(kind="x", detail=HOSTILE),),
        next_steps=(f"{HOSTILE}? aws {HOSTILE}",),
        links=(Link(title=HOSTILE, url=f"https://aws.example/#{HOSTILE}"),),
        logs_query=HOSTILE,
        top_remotes=(Remote(address=HOSTILE, flows=1, packets=1),),
    )
    message = teams.message(alert)
    assert_valid_message(message)
    for text in strings_with_markdown(message):
        shown(text)  # is one paragraph without an element
    for text in [*strings_with_markdown(message), *strings_without(message)]:
        assert text.isprintable()
        assert "<at>" not in text
        assert "{{" not in text


def test_the_least_important_parts_are_left_out_first_and_named() -> None:
    crowded = replace(
        scenario("rules-outbound-response"),
        evidence=tuple(Evidence(kind="x", detail="\N{FIRE}" * 400) for _ in range(40)),
        explains=tuple("explained " * 40 for _ in range(40)),
        next_steps=tuple(f"{'look ' * 80}? aws {'x' * 2_400}" for _ in range(9)),
        logs_query="x" * 2_000,
    )
    message = teams.message(crowded)
    assert_valid_message(message)
    assert crowded.remediation is not None
    assert [*crowded.remediation.commands] in commands(message)
    assert any(s.startswith("... more in the email: logs query") for s in strings_without(message))


def test_lines_that_are_not_shown_are_counted() -> None:
    assert "... 8 more" in strings_without(teams.message(digest()))


@pytest.mark.parametrize("character", ['"', "\\", "&", "x", "*", "{", "\N{FIRE}"])
def test_the_parts_that_are_never_left_out_fit(character: str) -> None:
    long = character * 2_000
    alert = replace(
        scenario("rules-outbound-response"),
        headline=long,
        summary=long,
        status_reason=long,
        severity_reason=long,
        service=long,
        verdict_caption=long,
        account_id=long,
        local_end=long,
        path=long,
        owners=((long, long),),
    )
    assert_valid_message(teams.message(alert))
