"""What a person on call knows after fifteen seconds: what happened, who is hurt, what to do.

The answers of the three most common alerts are written out here, and must stand on the first
screen of a telephone: in the blocks of Slack before "Why", and at the beginning of the mail.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import pytest

from flowverdict.delivery.renderers import email, slack, teams
from tests.helpers.notification_samples import scenario
from tests.helpers.teams_cards import card

# A telephone of 390 points shows about 46 letters of Slack's text on a line and 26 lines of it;
# half as many letters again fit a mail's screen, which has a smaller letter.
_COLUMNS, _LINES = 46, 26
_MAIL = 1_200


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What an alert says on the first screen."""

    what: str
    who: str
    do: str


ALERTS = {
    "rules-outbound-response": Answers(
        what="replies to 203.0.113.12 dropped by network ACL shop-public (default deny)",
        who="shop-web :443 (HTTPS)",
        do="aws ec2 create-network-acl-entry --region eu-west-1 "
        "--network-acl-id acl-0aaa0000000000001 --egress --rule-number 1030",
    ),
    "rules-inbound-request": Answers(
        what="requests from shop-app dropped by security group db",
        who="RDS database :5432 (PostgreSQL)",
        do="aws ec2 authorize-security-group-ingress --region eu-west-1 "
        "--group-id sg-0ccc0000000000003",
    ),
    # Without a fix the first screen says why there is none, and what to look at.
    "rules-icmp": Answers(
        what="ICMP requests from 203.0.113.12 dropped by the network ACL or the security groups",
        who="shop-web",
        do="none offered: which rule blocked it is not settled",
    ),
}


def lines_of(block: dict[str, Any]) -> list[str]:
    """Return the lines of a block as a telephone folds them; a header has larger letters."""
    if block["type"] in {"header", "section"}:
        text, columns = block["text"]["text"], _COLUMNS
        columns = 36 if block["type"] == "header" else columns
    elif block["type"] == "context":
        text, columns = "\n".join(one["text"] for one in block["elements"]), 54
    else:
        text, columns = block["elements"][0]["elements"][0]["text"], 40
    # Of a link its title is seen, of a date about sixteen letters.
    text = re.sub(r"<https://[^|>]*\|([^>]*)>", r"\1", text)
    text = re.sub(r"<!date[^|]*\|([^>]*)>", r"\1", text)
    return [
        line[start : start + columns]
        for line in text.split("\n")
        for start in range(0, max(len(line), 1), columns)
    ]


def screen(blocks: list[dict[str, Any]]) -> int:
    """Return how many lines blocks take, with the space below each."""
    small = {"context": 0.75}
    lines = sum(small.get(block["type"], 1) * len(lines_of(block)) for block in blocks)
    return math.ceil(lines + len(blocks) / 2)


@pytest.mark.parametrize("name", ALERTS)
def test_slack_answers_on_the_first_screen_and_ends_on_the_second(name: str) -> None:
    blocks = [block.to_dict() for block in slack.blocks(scenario(name))]
    shown = ["".join(lines_of(block)) for block in blocks]
    why = next(number for number, text in enumerate(shown) if text.startswith("*Why*"))
    first = " ".join(shown[:why])
    answers = ALERTS[name]
    assert answers.what in first
    assert answers.who in shown[0]
    assert answers.do in first
    fix = next(number for number, text in enumerate(shown) if answers.do in text)
    assert screen(blocks[:fix]) <= _LINES / 2
    assert screen(blocks[: fix + 1]) <= _LINES
    assert screen(blocks) <= 2 * _LINES


@pytest.mark.parametrize("name", ALERTS)
def test_mail_answers_at_its_beginning(name: str) -> None:
    alert = scenario(name)
    first = email.body(alert)[:_MAIL]
    answers = ALERTS[name]
    assert first.startswith(f"{answers.who}: {answers.what}.\n")
    assert answers.do in first
    assert email.subject(alert).startswith(f"[flowverdict {alert.severity.upper()}] ")
    assert answers.who.split(" ")[0] in email.subject(alert)


@pytest.mark.parametrize("name", ALERTS)
def test_teams_answers_before_it_says_why(name: str) -> None:
    body = card(teams.message(scenario(name)))["body"]
    texts = [str(element) for element in body]
    why = next(number for number, text in enumerate(texts) if "'Why'" in text)
    first = " ".join(texts[:why]).replace("\\", "")
    answers = ALERTS[name]
    assert all(answer in first for answer in (answers.what, answers.who, answers.do))


@pytest.mark.parametrize("name", ALERTS)
def test_no_sentence_of_a_mail_is_broken_into_lines(name: str) -> None:
    paragraphs = email.body(scenario(name)).split("\n\n")
    assert "\n" not in paragraphs[0]
    (why,) = (one for one in paragraphs if one.startswith("Why\n"))
    assert all(line.startswith("  - ") for line in why.splitlines()[1:])
