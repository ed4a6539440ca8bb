"""What a stack's owner chooses for the messages: read, refused, and known by the template."""

from __future__ import annotations

import json
import re
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

import pytest

from flowverdict.app.message_settings import log_unknown_zone, message_settings
from flowverdict.app.observability import Observability
from flowverdict.core.errors import SettingsError
from flowverdict.delivery.message_settings import DEFAULTS, MessageSettings
from tests.helpers.sam_template import read_template

if TYPE_CHECKING:
    from collections.abc import Mapping

TEMPLATE = read_template(Path(__file__).parents[2] / "template.yaml")
CHOSEN = {
    "MESSAGE_TIME_ZONE": "Europe/Berlin",
    "RUNBOOK_URL": "https://wiki.example.com/flowverdict/",
    "ATHENA_TABLE": "vpc_flow_logs",
    "FLOW_LOG_GROUPS": "/vpc/flow-logs,other",
    "PAGE_BUCKET": "flowverdict-evidence",
    "AWS_REGION": "eu-west-1",
    "SLACK_BUTTONS": "yes",
}
PATTERNS = {
    name: re.compile(TEMPLATE["Parameters"][name]["AllowedPattern"])
    for name in ("MessageTimeZone", "RunbookUrl", "AthenaTable")
}


def test_what_is_chosen_is_read() -> None:
    assert message_settings(CHOSEN) == MessageSettings(
        zone=ZoneInfo("Europe/Berlin"),
        runbook_url="https://wiki.example.com/flowverdict/",
        athena_table="vpc_flow_logs",
        log_groups=("/vpc/flow-logs", "other"),
        page_bucket="flowverdict-evidence",
        region="eu-west-1",
        buttons=True,
    )


@pytest.mark.parametrize("environment", [{}, dict.fromkeys(CHOSEN, "")])
def test_what_is_not_chosen_has_its_default(environment: Mapping[str, str]) -> None:
    assert message_settings(environment) == DEFAULTS


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "Europe", "../../etc/passwd", "/etc/localtime", "tzdata.zi", "x" * 99]
)
def test_a_time_zone_that_is_not_known_is_logged_and_the_alert_is_sent_in_utc(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = message_settings({"MESSAGE_TIME_ZONE": name})
    assert (settings.zone, settings.unknown_zone) == (UTC, name)
    log_unknown_zone(settings, Observability("notify_slack").logger)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["level"] == "WARNING"
    assert f"no time zone {name!r} is known" in json.loads(line)["message"]


def test_a_time_zone_that_is_known_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    log_unknown_zone(message_settings(CHOSEN), Observability("notify_slack").logger)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("RUNBOOK_URL", "http://wiki.example.com/"),
        ("RUNBOOK_URL", "https://wiki.example.com"),
        ("RUNBOOK_URL", "https://wiki.example.com/<x>"),
        ("ATHENA_TABLE", 'logs" WHERE 1=1 --'),
        ("ATHENA_TABLE", "database.table"),
        ("FLOW_LOG_GROUPS", "a group"),
        ("FLOW_LOG_GROUPS", ",".join("abcdef")),
        ("SLACK_BUTTONS", "no"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: "):
        message_settings({name: text})


def test_the_template_takes_every_time_zone_and_what_the_functions_take() -> None:
    cities = {name for name in available_timezones() if "/" in name}
    assert all(PATTERNS["MessageTimeZone"].fullmatch(name) for name in {*cities, "UTC"})
    for name, text in (("RunbookUrl", CHOSEN["RUNBOOK_URL"]), ("AthenaTable", "vpc_flow_logs")):
        assert PATTERNS[name].fullmatch(text)
        assert PATTERNS[name].fullmatch("")


@pytest.mark.parametrize("text", ["", "utc", "Europe/", "../UTC", "Europe/Berlin; x", "UTC+1 h"])
def test_the_template_refuses_what_is_no_name_of_a_time_zone(text: str) -> None:
    assert PATTERNS["MessageTimeZone"].fullmatch(text) is None
