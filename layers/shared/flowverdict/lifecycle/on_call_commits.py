"""Write what people on call say of alerts into the store.

Each change is computed from what the store holds and written on the condition that the store still
holds it, as the functions do; where a function or another person was faster, it is computed again.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowverdict.alerts.matching import Key
from flowverdict.core.errors import StateError
from flowverdict.core.formatting import isoformat
from flowverdict.core.retry import full_jitter
from flowverdict.lifecycle.history import Event, What, with_event
from flowverdict.lifecycle.on_call import Silence, Silences, acknowledged, closed_by_person
from flowverdict.lifecycle.store import MAX_STATES, Commit, ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowverdict.alerts.matching import Asked
    from flowverdict.lifecycle.intervals import Intervals
    from flowverdict.lifecycle.state_machine import AlertState
    from flowverdict.lifecycle.store import AlertStore

_TRIES = 8
_FIRST_WAIT = 0.05  # seconds; doubled with each try
_LONGEST_WAIT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who says something, why, and when (Unix seconds)."""

    by: str
    reason: str
    now: int


class OnCall:
    """Acknowledges, silences and closes alerts for a person, and notes what a person looked at.

    Every method raises ``StateError`` if the store cannot be reached, and ``ValueError``, with a
    text for the person, for what cannot be done.

    Parameters
    ----------
    intervals
        Those of the functions, which decide when an alert is looked at next.
    wait
        Sleeps for a number of seconds before another try.
    """

    def __init__(
        self,
        store: AlertStore,
        intervals: Intervals,
        *,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._intervals = intervals
        self._wait = wait

    def acknowledge(self, fingerprint: str, person: Person) -> AlertState:
        """Stop the reminders of an open alert; return its new state."""
        return self._changed(
            fingerprint,
            lambda state: acknowledged(state, person.by, person.reason, person.now),
            person.now,
        )

    def close(self, fingerprint: str, person: Person) -> AlertState:
        """Close an open alert by hand; return its new state. The next sweep says so."""
        return self._changed(
            fingerprint,
            lambda state: closed_by_person(state, person.by, person.reason, person.now),
            person.now,
        )

    def note(self, fingerprint: str, what: What, person: Person) -> AlertState:
        """Add to the history of an alert, open or not, what a person did; return its new state."""
        event = Event(at=person.now, what=what, by=person.by, reason=person.reason)
        return self._changed(
            fingerprint,
            lambda state: replace(state, history=with_event(state.history, event)),
            person.now,
            is_over_too=True,
        )

    def silence(self, asked: Asked, until: int, person: Person) -> Silence:
        """Hold back the messages of alerts until a time; return the silence."""
        silence = Silence(
            silence_id=secrets.token_hex(4),
            asked={key: tuple(values) for key, values in asked.items()},
            until=until,
            reason=person.reason,
            by=person.by,
            created_at=person.now,
        )
        note = Event(
            at=person.now,
            what=What.SILENCE_SET,
            by=person.by,
            reason=f"until {isoformat(until)}: {person.reason}",
        )
        self._write(
            lambda: self._with_note(
                self._store.load_silences().with_silence(silence, person.now), silence, note
            ),
            person.now,
        )
        return silence

    def lift(self, silence_id: str, by: str, now: int) -> Silence:
        """End a silence now; return the silence. The next sweep tells what goes on."""
        found: list[Silence] = []

        def compute() -> Commit:
            silences = self._store.load_silences()
            found[:] = [
                each for each in silences.active(now).silences if each.silence_id == silence_id
            ]
            if not found:
                raise ValueError(f"no silence {silence_id!a} that has not ended")
            note = Event(at=now, what=What.SILENCE_LIFTED, by=by)
            return self._with_note(silences.lifted(silence_id, now), found[0], note)

        self._write(compute, now)
        return replace(found[0], until=now)

    def _with_note(self, silences: Silences, silence: Silence, note: Event) -> Commit:
        """Return the commit of silences, and of the note in each alert that the silence names."""
        named = [str(value) for value in silence.asked.get(Key.FINGERPRINT, ())][:MAX_STATES]
        return Commit(
            silences=silences,
            states=tuple(
                replace(state, history=with_event(state.history, note))
                for state in self._store.load(named).values()
            ),
        )

    def _changed(
        self,
        fingerprint: str,
        change: Callable[[AlertState], AlertState],
        now: int,
        *,
        is_over_too: bool = False,
    ) -> AlertState:
        changed: list[AlertState] = []

        def compute() -> Commit:
            state = self._store.load([fingerprint]).get(fingerprint)
            if state is None:
                raise ValueError(f"no alert {fingerprint!a} is stored")
            if not state.is_open and not is_over_too:
                raise ValueError(f"alert {fingerprint} is not open")
            changed[:] = [change(state)]
            return Commit(states=tuple(changed))

        self._write(compute, now)
        return changed[0]

    def _write(self, compute: Callable[[], Commit], now: int) -> None:
        for attempt in range(_TRIES):
            try:
                self._store.commit(compute(), now, self._intervals)
            except ConflictError:
                self._wait(full_jitter(attempt, first=_FIRST_WAIT, longest=_LONGEST_WAIT))
            else:
                return
        raise StateError(f"the alert table changed in each of {_TRIES} tries to write it")
