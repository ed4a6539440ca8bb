"""How a fix is told: a fix or a question, what it opens, what was not tried, and its undo."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowverdict.alerts.codec import read_flat
from flowverdict.alerts.model import RemediationText
from flowverdict.delivery.renderers import RENDERERS, email
from flowverdict.delivery.text import copyable_commands, fix_heading, fix_notes, short_undo
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


SHARED = "aws ec2 authorize-security-group-ingress --group-id sg-0a1"


@pytest.mark.parametrize("own", [FIX.commands, ()], ids=["beside its own", "alone"])
@pytest.mark.parametrize("name", sorted(RENDERERS))
def test_every_format_shows_the_command_that_another_fix_offers_too(
    name: str, own: tuple[str, ...]
) -> None:
    fix = replace(FIX, commands=own, shared=(SHARED,), shared_with="TCP 443 requests")
    shown = RENDERERS[name].render(replace(scenario("rules-outbound-response"), remediation=fix))
    for text in (*own, SHARED, "The fix for TCP 443 requests offers this command too. Run it once"):
        assert " ".join(text.split()) in " ".join(shown.split())


def test_a_shared_command_that_looks_like_another_is_not_shown() -> None:
    fix = replace(FIX, shared=("aws ec2 \x1b[2Jx",), shared_with="TCP 443 requests")
    assert copyable_commands(fix) is None
    assert "\x1b" not in email.body(replace(scenario("rules-outbound-response"), remediation=fix))
