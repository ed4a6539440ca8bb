"""Draw the life of an alert, by running the state machine, and a small company's day.

Every event that can happen to an alert is given to every state that it can be in, from the first
detection on. What comes out is drawn, so a state or an arrow that the code has no longer is in no
picture, and a new one has no place here and fails.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.model import Severity, Status
from flowverdict.alerts.recheck import Passage
from flowverdict.lifecycle.episodes import EpisodeContext, on_detection, on_retraction
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.on_call import Silence, closed_by_person, held_back, on_silence_end
from flowverdict.lifecycle.passing_time import Findings, RulesFound, on_sweep
from flowverdict.lifecycle.state_machine import AlertState, Suppressed, rate_limited
from scripts.pictures.svg import Box, Picture
from tests.helpers.alert_samples import NOW, detection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_INTERVALS: Final = Intervals()
_WINDOW: Final = "place#1"
NEW: Final = "not seen yet"
SENT: Final = "open, message sent"
EXPLAINED: Final = "open, explained"
HELD_BACK: Final = "open, held back"
FOR_DIGEST: Final = "open, for the digest"
SILENCED: Final = "open, silenced"
OVER: Final = "over without a message"
_SILENCE: Final = Silence(
    silence_id="one", asked={}, until=NOW + 3_600, reason="a change", by="ada", created_at=NOW - 1
)

# Where each state stands, its caption and its look.
_PLACES: Final = {
    NEW: (430, 40, "", "outside"),
    SENT: (430, 190, "reminder every RepeatMinutes", "work"),
    EXPLAINED: (760, 125, "another alert says why", "box"),
    HELD_BACK: (720, 255, "too many messages this hour", "box"),
    FOR_DIGEST: (110, 170, "low and info, once a day", "box"),
    SILENCED: (215, 242, "by a person, until a time", "box"),
    Ending.FIXED: (90, 390, "it passes again", "good"),
    Ending.QUIET: (262, 390, "nothing more was seen", "box"),
    Ending.UNKNOWN: (434, 390, "no flow logs came", "bad"),
    Ending.CLOSED: (606, 390, "by a person", "box"),
    Ending.CORRECTED: (778, 390, "it was something else", "box"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An event that led from one state to another."""

    before: str
    event: str
    after: str


def _name(state: AlertState | None) -> str:
    if state is None:
        return NEW
    if not state.is_open:
        return state.notification.ending or OVER
    if state.suppressed is Suppressed.INHIBITED:
        return EXPLAINED
    if state.suppressed is Suppressed.RATE_LIMITED:
        return HELD_BACK
    if state.suppressed is Suppressed.SILENCED:
        return SILENCED
    return FOR_DIGEST if state.for_digest else SENT


def _detected(
    severity: Severity, *, explained: bool = False, limited: bool = False
) -> Callable[[AlertState | None, int], AlertState]:
    seen = detection()
    seen = replace(seen, notification=replace(seen.notification, severity=severity))

    def happen(state: AlertState | None, now: int) -> AlertState:
        context = EpisodeContext(window_id=f"place#{now}")
        after = on_detection(state, seen, now, inhibited=explained, context=context)
        called = after.pending is not None and (state is None or state.pending is None)
        return rate_limited(after) if limited and called else after.sent()

    return happen


def _swept(
    after: int, passage: Passage = Passage.UNKNOWN, *, read: bool = False, accepted: bool = False
) -> Callable[[AlertState | None, int], AlertState | None]:
    def happen(state: AlertState | None, now: int) -> AlertState | None:
        if state is None:
            return None
        one = state.fingerprint
        findings = Findings(
            rules={one: RulesFound(passage=passage)},
            read_to={one: now + after} if read else {},
            accepted_at={one: now} if accepted else {},
        )
        return on_sweep(state, now + after, _INTERVALS, findings).sent()

    return happen


def _silenced(state: AlertState | None, now: int) -> AlertState:
    called = on_detection(
        state,
        detection(),
        now,
        inhibited=False,
        context=EpisodeContext(window_id=f"place#{now}"),
    )
    if called.pending is None:
        return called
    return held_back(state, called, _SILENCE, counts_more=True)


def _silence_ended(state: AlertState | None, now: int) -> AlertState | None:
    if state is None:
        return None
    return on_silence_end(state, _SILENCE, now, _INTERVALS).sent()


def _closed(state: AlertState | None, now: int) -> AlertState | None:
    if state is None or not state.is_open:
        return state
    return closed_by_person(state, "ada", "it was our own test", now).sent()


def _retracted(state: AlertState | None, now: int) -> AlertState | None:
    if state is None or not state.is_open:
        return state
    context = EpisodeContext(window_id=_WINDOW)
    return on_retraction(state, state.notification, context, now, ("another",)).sent()


def _goes_on(state: AlertState | None, now: int) -> AlertState | None:
    if state is None or not state.is_open:
        return state
    later = now + _INTERVALS.repeat
    return on_sweep(replace(state, observed_at=later), later, _INTERVALS).sent()


_EVENTS: Final[dict[str, Callable[[AlertState | None, int], AlertState | None]]] = {
    "detected": _detected(Severity.HIGH),
    "detected, explained by another": _detected(Severity.HIGH, explained=True),
    "detected, limit reached": _detected(Severity.HIGH, limited=True),
    "detected, low": _detected(Severity.LOW),
    "rules let it pass": _swept(300, Passage.PASSES),
    "traffic accepted": _swept(_INTERVALS.resolve, read=True, accepted=True),
    "flow logs show no more": _swept(_INTERVALS.resolve, read=True),
    "no flow logs": _swept(_INTERVALS.repeat),
    "goes on": _goes_on,
    "later records": _retracted,
    "silence": _silenced,
    "silence ends": _silence_ended,
    "closed by hand": _closed,
}


def changes() -> frozenset[Change]:
    """Give every event to every state that can be reached, and return what changed."""
    found: set[Change] = set()
    seen: dict[str, AlertState | None] = {NEW: None}
    waiting = [NEW]
    while waiting:
        before = waiting.pop()
        for event, happen in _EVENTS.items():
            after = happen(seen[before], NOW)
            name = _name(after)
            if name != before:
                found.add(Change(before=before, event=event, after=name))
            if name not in seen:
                seen[name] = after
                waiting.append(name)
    return frozenset(found)


def reminded() -> bool:
    """Return whether an alert that goes on is reminded of."""
    told = _detected(Severity.HIGH)(None, NOW)
    told = _detected(Severity.HIGH)(told, NOW + _INTERVALS.repeat)
    return on_sweep(told, NOW + _INTERVALS.repeat, _INTERVALS).pending is Status.REMINDER


def shown_arrows() -> set[tuple[str, str]]:
    """Return the changes that are drawn; the words below the picture say the others."""
    ends = set(Ending)
    arrows = {
        (change.before, change.after)
        for change in changes()
        if OVER not in (change.before, change.after) and change.before not in ends
    }
    # What gets more severe while it waits for the digest goes the ways of a first detection.
    unsent = {EXPLAINED, HELD_BACK, SILENCED}
    arrows -= {(FOR_DIGEST, after) for after in unsent}
    arrows -= {(a, b) for a in unsent for b in unsent if SILENCED in (a, b)}
    return arrows - {(before, Ending.CLOSED) for before in {*unsent, FOR_DIGEST}}


def draw_life() -> Picture:
    """Draw the states of an alert, and what leads from one to the other."""
    picture = Picture(width=870, height=470, about="The life of an alert, and its endings")
    if not reminded():
        raise ValueError("an open alert is not reminded of")
    ends = set(Ending)
    boxes = {
        name: Box(
            x=x, y=y, width=164 if name in ends else 200, title=name, caption=caption, kind=kind
        )
        for name, (x, y, caption, kind) in _PLACES.items()
    }
    arrows = shown_arrows()
    for before, after in sorted(arrows):
        start, end = boxes[before], boxes[after]
        if (after, before) in arrows:
            if before < after:
                picture.both(start.bottom, end.top)
        elif before == NEW or after in ends:
            picture.down(start.bottom, end.top)
        else:
            picture.across(start, end)
    for box in boxes.values():
        picture.box(box)
    picture.label(430, 118, "first detection")
    picture.label(268, 176, "more severe")
    note = "Seen again after an ending: open once more. A person may close any open alert."
    picture.text(430, 446, note, "small")
    return picture


# --- the day --------------------------------------------------------------------------------------

_LINE: Final = re.compile(r"(\w{3}) (\d\d):(\d\d)  (\w+) +(\w+) +(.*)")
_LATE: Final = 16  # after this hour, a title has more room on the left
_DAYS: Final = ("Tue", "Wed")
_KINDS: Final = {"firing": "bad", "reminder": "box", "fixed": "good", "quiet": "box"}


def draw_day(lines: list[str]) -> Picture:
    """Draw the messages of a day on a line of time, from the text that the tests hold."""
    picture = Picture(
        width=1060, height=70 + 46 * len(lines), about="Messages of a small company in a day"
    )
    left, hour = 130.0, 27.0
    for number in range(0, 25, 6):
        x = left + number * hour
        picture.path(f"M{x:g},30 L{x:g},{50 + 46 * len(lines):g}", "axis")
        picture.text(x, 22, f"{number:02}:00", "small")
    for row, line in enumerate(lines):
        day, hours, minutes, status, severity, title = _parts(line)
        at = 24 * _DAYS.index(day) + int(hours) + int(minutes) / 60
        x, y = left + at * hour, 56 + 46 * row
        picture.text(14, y + 4, f"{day} {hours}:{minutes}", "small", "start")
        picture.box(Box(x=x, y=y, width=14, height=14, kind=_KINDS[status], title=""))
        anchor, shift = ("end", -14) if at > _LATE else ("start", 14)
        picture.text(x + shift, y - 1, f"{status}, {severity}", "title", anchor)
        picture.text(x + shift, y + 14, title[:86], "small", anchor)
    return picture


def _parts(line: str) -> Iterator[str]:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(line)
    return iter(found.groups())
