"""How a fix is told: a fix or a question, what it opens, what was not tried, and its undo."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowverdict.alerts.codec import read_flat
from flowverdict.alerts.model import RemediationText
from flowverdict.delivery.renderers import email
from flowverdict.delivery.text import fix_heading, fix_notes, short_undo
from tests.helpers.notification_samples import scenario

FIX = RemediationText(
    commands=("aws ec2 create-network-acl-entry",),
    opens="lets TCP to port 443 into subnet-0a1 from 10.0.2.0/24",
    tried=("this side", "reply path", "far side"),
    undo=("aws ec2 delete-network-acl-entry",),
)


def test_a_fix_is_a_fix_or_a_question() -> None:
    assert fix_heading(FIX) == "Fix (tried on the rules as read: packets and replies then pass)"
    asked = replace(FIX, if_wanted="outbound traffic is restricted here")
    assert fix_heading(asked).startswith("If this is wanted (tried")
    assert fix_notes(asked)[0] == "Outbound traffic is restricted here."


def test_what_was_not_tried_is_said() -> None:
    note = "far side: not tried, no interface with 10.0.2.9 was read"
    fix = replace(FIX, verified=False, tried=("this side", "reply path", note))
    assert fix_heading(fix) == "Fix (tried on this side)"
    assert fix_notes(fix)[-1] == "Far side: not tried, no interface with 10.0.2.9 was read."


def test_rules_that_are_code_are_changed_there() -> None:
    notes = fix_notes(replace(FIX, managed_by="CloudFormation stack shop"))
    assert notes[0] == "Managed by CloudFormation stack shop: change it there."


@pytest.mark.parametrize(
    ("opens", "told"),
    [
        (FIX.opens, "This lets TCP to port 443 into subnet-0a1 from 10.0.2.0/24."),
        ("TCP to port 443 from 10.0.2.0/24", "Opens TCP to port 443 from 10.0.2.0/24."),
    ],
    ids=["of this version", "stored by 0.2.0"],
)
def test_what_a_fix_opens_is_a_sentence(opens: str, told: str) -> None:
    assert fix_notes(replace(FIX, opens=opens)) == [told]


def test_a_fix_that_an_earlier_version_stored_is_read_with_what_it_promised() -> None:
    stored = {"commands": ("aws ec2 x",), "opens": "TCP"}
    assert read_flat(RemediationText, stored) == RemediationText(
        commands=("aws ec2 x",), opens="TCP", verified=True
    )


def test_a_chat_shows_the_undo_of_one_command_alone() -> None:
    assert short_undo(FIX) == "aws ec2 delete-network-acl-entry"
    assert short_undo(replace(FIX, undo=("a", "b"))) is None
    assert short_undo(replace(FIX, undo=("aws \x1b[2Jx",))) is None


def test_the_email_has_every_undo_below_the_fix() -> None:
    alert = replace(
        scenario("rules-outbound-response"), remediation=replace(FIX, undo=("u1", "u2"))
    )
    assert "\n  Undo\n    u1\n    u2\n" in email.body(alert)
