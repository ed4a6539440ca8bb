"""What stands in an id's place and is none is no link in any face, and says what it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowverdict.alerts.model import Evidence
from flowverdict.alerts.notices import lost_records, no_flow_logs
from flowverdict.core.untrusted import shown_id
from flowverdict.delivery.renderers import RENDERERS, email, slack
from flowverdict.delivery.shown_ids import with_shown_ids
from flowverdict.flows.model import LostRecords
from tests.helpers.alert_samples import ALERT

FACES = [name for name in RENDERERS if name != "ocsf"]  # which no person reads
INTERFACE, ACCOUNT = "eni-evil.example/x", "login.evil.example"
DEFUSED = "not an id: eni-evil[.]example[/]x"


@pytest.mark.parametrize(
    "text",
    [
        "eni-0a1b2c3d4e5f67890",
        "123456789012",
        "eu-west-1",
        "tgw-attach-0a1b",
        "nat-0a1b",
        "unknown",
        "unknown interface",
    ],
)
def test_an_id_is_shown_as_it_is(text: str) -> None:
    assert shown_id(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (INTERFACE, DEFUSED),
        ("https://evil.example/", "not an id: https:[/][/]evil[.]example[/]"),
        ("1234\n5678\u202e", "not an id: 1234 5678"),
    ],
)
def test_other_text_says_so(text: str, shown: str) -> None:
    assert shown_id(text) == shown


HOSTILE = replace(
    ALERT,
    interfaces=(INTERFACE,),
    account_id=ACCOUNT,
    region="evil.example",
    vpc_id="vpc-evil.example",
    summary=f"Rejected at {INTERFACE}.",
    local_end=f"{INTERFACE} (web)",
    near=INTERFACE,
    next_steps=(f"Look at {INTERFACE}",),
    evidence=(Evidence(kind="x", detail=f"seen at {INTERFACE}"),),
)


@pytest.mark.parametrize("face", FACES)
def test_no_face_shows_an_address_in_the_place_of_an_id(face: str) -> None:
    text = RENDERERS[face].render(HOSTILE)
    assert "evil.example" not in text
    assert "not an id" in text


def test_subjects_and_the_phones_line_say_so_too() -> None:
    assert DEFUSED in email.subject(HOSTILE)
    assert DEFUSED in str(slack.message(HOSTILE)["text"])


@pytest.mark.parametrize("face", FACES)
def test_no_notice_does(face: str) -> None:
    loss = LostRecords(
        account_id=ACCOUNT,
        region="eu-west-1",
        vpc_id=None,
        interface_id=INTERFACE,
        records=1,
        first_start=None,
        last_end=None,
    )
    lost = lost_records([loss])[0].notification
    silent = no_flow_logs(ACCOUNT, "eu-west-1", [("fl-0a1b", 0)], read_at=0)
    for notice in (lost, silent):
        assert "evil.example" not in notice.title
        assert "evil.example" not in RENDERERS[face].render(notice)


def test_a_notification_with_ids_alone_stays_as_it_is() -> None:
    assert with_shown_ids(ALERT) is ALERT


def test_a_word_that_only_begins_like_it_stays() -> None:
    alert = replace(ALERT, account_id="sg", summary="sg-0a1b and sg")
    assert with_shown_ids(alert).summary == "sg-0a1b and not an id: sg"
