"""Apply the policy: mute rejected flows and drop alerts, as a document says that users edit.

One JSON document, whose schema is ``docs/schemas/policy.schema.json``; ``docs/policy.example.json``
is an example:

- ``silences`` mute flows until a time: an announced test, a migration;
- ``expected`` mutes flows for good: a filter that does what it is for;
- ``minimum_severity`` drops alerts that are less severe;
- ``routes`` name the topics and the channels of Slack of owners, which get their own alerts.

An entry matches a flow if all of its matchers match, and a matcher if any of its values matches.
The first entry that matches mutes the flow: silences before expected entries, each in the order of
the document.

Everything unknown is refused, with the place of each problem: a misspelt key that were ignored
would mute more, or less, than its author meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Annotated

from pydantic import (
    Field,
    PlainValidator,
    WithJsonSchema,
)

from flowverdict.alerts.matching import EntryIndex, clauses_of_alert, first_matching
from flowverdict.alerts.model import Severity
from flowverdict.policy.entries import Entry, Expected, Route, Silence, Strict
from flowverdict.policy.index import clauses_of_flow
from flowverdict.policy.values import (
    to_version,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from flowverdict.alerts.model import Notification
    from flowverdict.verdict.explanation import Explanation


MAX_ENTRIES = 200  # of each kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Muted:
    """A rejected flow that the policy mutes, with the entry and its place: ``silences[0]``."""

    explanation: Explanation
    place: str
    entry: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Sifted:
    """Explanations split into kept and muted, both in the given order."""

    kept: tuple[Explanation, ...]
    muted: tuple[Muted, ...]


class Policy(Strict):
    """Which rejected flows are muted, and the least severity of alerts that are sent.

    Without arguments it mutes and drops nothing.
    """

    version: Annotated[int, PlainValidator(to_version), WithJsonSchema({"const": 1})] = Field(
        default=1, description="Version of this format."
    )
    minimum_severity: Annotated[Severity, Field(strict=False)] = Field(
        default=Severity.INFO,
        description="Least severity of an alert that is sent; info sends all.",
    )
    silences: Annotated[tuple[Silence, ...], Field(strict=False, max_length=MAX_ENTRIES)] = Field(
        default=(),
        description="Flows that are muted until a time. The first entry that matches counts.",
    )
    expected: Annotated[tuple[Expected, ...], Field(strict=False, max_length=MAX_ENTRIES)] = Field(
        default=(),
        description="Flows whose rejection is wanted, muted for good. Asked after all silences.",
    )

    routes: Annotated[tuple[Route, ...], Field(strict=False, max_length=MAX_ENTRIES)] = Field(
        default=(),
        description="To whom an alert goes. The first entry that matches counts. What no entry "
        "matches, or the entry does not name, stays as it is: the text goes to the email topic, "
        "the message in Slack to the stack's channel.",
    )

    def route_of(self, notification: Notification) -> tuple[str, Route] | None:
        """Return the place and entry of the route of an alert or notice, the first that matches.

        ``None`` for what no owner gets. An entry that asks for what a notification does not have
        does not match.
        """
        every = (1 << len(self.routes)) - 1
        found = self._routes.matching(every, partial(clauses_of_alert, notification))
        if not found:
            return None
        at = first_matching(found)
        return f"routes[{at}]", self.routes[at]

    def allows(self, severity: Severity) -> bool:
        """Whether alerts of this severity are sent."""
        return severity.rank <= self.minimum_severity.rank

    def entries(self) -> dict[str, Entry]:
        """Return all entries by place, in the order in which they are checked."""
        return dict(self._placed)

    def sift(self, explanations: Iterable[Explanation], now: datetime) -> Sifted:
        """Split explanations into those that are kept and those that an entry mutes.

        The first entry that matches is named; silences that have ended match nothing. What happens
        to one explanation does not depend on the others.

        Parameters
        ----------
        now
            The time at which silences have ended or not.

        Raises
        ------
        TypeError
            ``now`` is naive and there are silences.
        """
        asked = 0
        for position, (_, entry) in enumerate(self._placed):
            if not (isinstance(entry, Silence) and entry.is_over(now)):
                asked |= 1 << position
        kept: list[Explanation] = []
        muted: list[Muted] = []
        for explanation in explanations:
            matching = self._matching(explanation, asked) if asked else 0
            if not matching:
                kept.append(explanation)
                continue
            place, entry = self._placed[first_matching(matching)]
            muted.append(Muted(explanation=explanation, place=place, entry=entry))
        return Sifted(kept=tuple(kept), muted=tuple(muted))

    def matching(self, explanation: Explanation) -> tuple[str, ...]:
        """Return the places of all entries that match, in order, also of ended silences."""
        found = self._matching(explanation, (1 << len(self._placed)) - 1)
        return tuple(
            place for position, (place, _) in enumerate(self._placed) if found >> position & 1
        )

    def _matching(self, explanation: Explanation, asked: int) -> int:
        return self._index.matching(asked, partial(clauses_of_flow, explanation))

    @cached_property
    def _placed(self) -> tuple[tuple[str, Entry], ...]:
        kinds: tuple[tuple[str, tuple[Entry, ...]], ...] = (
            ("silences", self.silences),
            ("expected", self.expected),
        )
        return tuple(
            (f"{kind}[{number}]", entry)
            for kind, entries in kinds
            for number, entry in enumerate(entries)
        )

    @cached_property
    def _routes(self) -> EntryIndex:
        return EntryIndex.of([route.match.asked() for route in self.routes])

    @cached_property
    def _index(self) -> EntryIndex:
        return EntryIndex.of([entry.match.asked() for _, entry in self._placed])
