"""The weekly summary: when it is due, and what it says of the week."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.matching import Key
from flowverdict.alerts.model import Alert, Kind, Severity
from flowverdict.alerts.notices import no_flow_logs
from flowverdict.lifecycle.on_call import Silence, Silences
from flowverdict.lifecycle.state_machine import AlertState
from flowverdict.lifecycle.weekly import (
    WEEK,
    Seen,
    belongs,
    seen_of,
    weekly_of,
)
from flowverdict.lifecycle.weekly_time import WeeklyTime
from tests.helpers.alert_samples import ALERT, LOST, NOW

if TYPE_CHECKING:
    from flowverdict.alerts.model import Notice, Notification

HOUR = 3_600


def unix(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp())


# --- when -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "now", "last"),
    [
        ("MON 07:00", "2026-11-23T07:00:00", "2026-11-23T07:00:00"),
        ("MON 07:00", "2026-11-23T06:59:59", "2026-11-16T07:00:00"),
        ("MON 07:00", "2026-11-25T00:00:00", "2026-11-23T07:00:00"),
        ("SUN 23:59", "2026-11-23T00:00:00", "2026-11-22T23:59:00"),
        ("WED 00:00", "2026-12-01T12:00:00", "2026-11-25T00:00:00"),
    ],
)
def test_it_is_due_at_that_time_of_the_week(when: str, now: str, last: str) -> None:
    assert WeeklyTime.parse(when).last(unix(now)) == unix(last)


@pytest.mark.parametrize("day", ["2026-03-30", "2026-10-26"])  # after the clocks are changed
def test_it_is_due_at_the_same_hour_of_the_zone_in_summer_and_winter(day: str) -> None:
    zone = "Europe/Berlin"
    weekly = WeeklyTime.parse("MON 07:00", ZoneInfo(zone))
    due = unix(f"{day}T07:00:00", zone)
    assert (weekly.last(due), weekly.last(due + 1)) == (due, due)
    assert weekly.last(due - 1) == due - WEEK + (HOUR if day == "2026-03-30" else -HOUR)


@pytest.mark.parametrize("text", ["", "MON", "mon 07:00", "MON 24:00", "MON 7:00", "MON 07:00\n"])
def test_another_text_is_no_time_of_the_week(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time of the week like MON 07:00"):
        WeeklyTime.parse(text)


# --- what -----------------------------------------------------------------------------------------


def state(
    name: int, began: int, ended: int | None = None, of: Notification = ALERT, **changed: object
) -> AlertState:
    notification = replace(of, **changed)  # type: ignore[arg-type]  # any field
    if isinstance(notification, Alert):
        notification = replace(notification, opened_at=NOW - began * HOUR)
    return AlertState(
        fingerprint=f"{name:032x}",
        notification=notification,
        observed_at=NOW - began * HOUR,
        messages=1,
        closed_at=None if ended is None else NOW - ended * HOUR,
    )


def summary(*states: AlertState, silences: Silences = Silences()) -> Notice:  # noqa: B008 - a frozen value
    seen = [seen_of(each) for each in states if belongs(each, NOW)]
    return weekly_of(seen, silences, NOW, is_cut=False)


def sections(notice: Notice) -> dict[str, tuple[str, ...]]:
    return {section.heading: section.lines for section in notice.sections}


def test_a_week_without_problems_is_one_line() -> None:
    notice = summary()
    assert (notice.title, notice.sections) == ("The week: no problem", ())
    assert notice.summary == (
        "From 2026-11-15T12:00:00Z to 2026-11-22T12:00:00Z: no problem. Background noise is in "
        "the digests."
    )
    assert (notice.kind, notice.severity) == (Kind.WEEKLY_SUMMARY, Severity.LOW)


def test_problems_are_told_by_owner_with_the_time_they_took() -> None:
    team = (("team", "payments"),)
    fixed = Ending.FIXED
    notice = summary(
        state(1, 50, 48, owners=team, ending=fixed),
        state(2, 50, 40, owners=team, ending=fixed),
        state(3, 50, 46, owners=team, ending=Ending.QUIET),
        state(4, 3),
    )
    assert notice.title == "The week: 4 problems, 1 still open"
    assert sections(notice)["By owner"] == (
        "team payments: 3 problems, ended after 4 h (median), 10 h at the longest",
        "no owner known: 1 problem, 1 still open",
    )
    assert sections(notice)["How they ended"] == (
        "fixed: 2, ended after 6 h (median), 10 h at the longest",
        "quiet: 1, ended after 4 h",
    )


def test_the_noisiest_come_first_and_what_was_never_explained_is_named() -> None:
    notice = summary(
        *(state(number, 3, records=number, near=f"10.0.0.{number}") for number in range(1, 8)),
        state(9, 3, records=5_000, verdict="undetermined", near="10.0.9.9"),
    )
    noisy = sections(notice)["Noisiest"]
    assert len(noisy) == 6
    assert noisy[0].endswith(": 5,000 rejected records")
    assert noisy[-1] == "and 3 more"
    (unexplained,) = sections(notice)["Never explained"]
    assert unexplained == noisy[0]
    assert "cause undetermined" in unexplained
    assert notice.records == 5_028


def test_gaps_in_the_data_are_no_problems_of_the_network() -> None:
    silent = no_flow_logs("123456789012", "eu-west-1", [("fl-1", NOW - 60)], read_at=NOW)
    notice = summary(state(1, 3, of=LOST), state(2, 9, 8, of=LOST), state(3, 2, of=silent))
    assert notice.title == "The week: no problem"
    lost, logs, malformed = sections(notice)["Data quality"]
    assert lost == (
        "AWS lost records (SKIPDATA): 2, 1 still open; Flow log records lost at eni-0a1b"
    )
    assert logs.startswith("flow logs came no more: 1, 1 still open; No flow logs from account ")
    assert "RecordsMalformed" in malformed


def test_silences_that_end_within_a_week_are_named() -> None:
    silences = [
        Silence(
            silence_id=f"s{days}",
            asked={Key.PORT: (443,)},
            until=NOW + days * 86_400,
            reason="r",
            by="ada",
            created_at=NOW - 1,
        )
        for days in (8, 7, -1, 1)
    ]
    notice = summary(silences=Silences(silences=tuple(silences)))
    assert sections(notice) == {
        "Silences that end within a week": (
            "2026-11-23T12:00:00Z: port 443 - ada: r (id s1)",
            "2026-11-29T12:00:00Z: port 443 - ada: r (id s7)",
        )
    }


def test_noise_the_hourly_limit_and_what_ended_before_the_week_are_left_out() -> None:
    assert [
        belongs(each, NOW)
        for each in (
            state(1, 900),
            state(2, 900, 167),
            state(3, 900, 168),
            state(4, 3, severity=Severity.LOW),
            state(5, 3, of=LOST, kind=Kind.RATE_LIMITED),
        )
    ] == [True, True, False, False, False]


def test_more_than_is_read_is_said_and_long_lists_are_cut() -> None:
    one = seen_of(state(1, 3))
    seen: list[Seen] = [one._replace(owner=f"team {number:02}") for number in range(40)]
    notice = weekly_of(seen, Silences(), NOW, is_cut=True)
    assert "There are more than are read" in notice.summary
    assert len(sections(notice)["By owner"]) == 11
    assert sections(notice)["By owner"][-1] == "and 30 more"


def test_a_problem_that_ended_before_anybody_was_told_counts() -> None:
    silent = replace(state(1, 5, 3), messages=0)
    assert sections(summary(silent))["How they ended"] == ("without a message: 1, ended after 2 h",)
    assert datetime.fromtimestamp(NOW, tz=UTC).hour == 12
