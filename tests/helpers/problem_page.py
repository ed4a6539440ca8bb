"""The page of problems of the sample shop, as the sweep would write it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from flowverdict.alerts.detection import fingerprint
from flowverdict.alerts.ending import Ending
from flowverdict.alerts.matching import Key
from flowverdict.alerts.model import Alert, Status
from flowverdict.app.problem_page import Problems, page_of
from flowverdict.delivery.page.page import render
from flowverdict.lifecycle.history import Event, What
from flowverdict.lifecycle.on_call import Silence, Silences
from flowverdict.lifecycle.state_machine import AlertState
from tests.helpers.alert_samples import NOW
from tests.helpers.notification_samples import NOTIFICATIONS, records_lost, scenario

HOUR = 3_600
PERSON = "arn:aws:sts::123456789012:assumed-role/on-call/ada"


def opened(name: str, at: int, *events: Event) -> AlertState:
    """Return the state of a sample notification that was told at a time, and what followed."""
    notification = NOTIFICATIONS[name]() if name in NOTIFICATIONS else scenario(name)
    if isinstance(notification, Alert):
        notification = replace(notification, opened_at=at)
    return AlertState(
        fingerprint=notification.fingerprint,
        notification=notification,
        observed_at=NOW - 300,
        messages=1,
        history=(Event(at=at, what=What.FIRING), *events),
    )


def over(state: AlertState, at: int, ending: Ending, reason: str) -> AlertState:
    """Return a problem of another fingerprint that has ended."""
    notification = state.notification.with_status(Status.RESOLVED, reason, ending)
    name = fingerprint(state.fingerprint, "over")
    return replace(
        state,
        fingerprint=name,
        notification=replace(notification, fingerprint=name),
        closed_at=at,
        history=(*state.history, Event(at=at, what=What(ending), reason=reason)),
    )


def sample_problems() -> Problems:
    """Return open and ended problems of a shop, with what people did."""
    acknowledged = Event(
        at=NOW - 5 * HOUR, what=What.ACKNOWLEDGED, by=PERSON, reason="the network team is on it"
    )
    reminder = Event(at=NOW - 6 * HOUR, what=What.REMINDER, reason="Still happening, for 4 h.")
    shown = [
        opened("critical", NOW - 10 * HOUR, reminder, acknowledged),
        opened("high", NOW - 2 * HOUR),
        opened("rules-both-layers", NOW - 40 * HOUR),
        opened("transit-gateway", NOW - 3 * HOUR),
        replace(opened("records-lost", NOW), notification=records_lost()),
    ]
    shown.sort(key=lambda state: state.notification.severity.rank)
    ended = [
        over(
            opened("high", NOW - 9 * HOUR),
            NOW - HOUR,
            Ending.FIXED,
            "Fixed: the rules let it pass now.",
        ),
        over(
            opened("critical", NOW - 20 * HOUR),
            NOW - 12 * HOUR,
            Ending.QUIET,
            "Quiet, still blocked: the rules as read deny it. Whoever tried has stopped.",
        ),
    ]
    silence = Silence(
        silence_id="s1",
        asked={Key.FINGERPRINT: (shown[-2].fingerprint,)},
        until=NOW + HOUR,
        reason="a change runs",
        by=PERSON,
        created_at=NOW - HOUR,
    )
    return Problems(
        shown=shown,
        ended=ended,
        silences=Silences(silences=(silence,)),
        by_severity=Counter(state.notification.severity for state in shown),
        ended_count=len(ended),
        for_digest=1_204,
        is_cut=False,
        day=NOW // 86_400,
        versions=[(state.fingerprint, 1) for state in (*shown, *ended)],
    )


def sample_page() -> str:
    """Return the page of the sample problems as HTML."""
    return render(page_of(sample_problems(), NOW))
