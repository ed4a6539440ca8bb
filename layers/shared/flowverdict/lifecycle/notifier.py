"""Send the messages that transitions call for.

A transition marks a message as pending in the same commit that calls for the message. The message
is sent, then the mark is removed. The sweep sends what a crash leaves marked, so a crash delays a
message and may repeat it, but never loses it. The mark is looked at again just before the message
is sent: an invocation that took long sends nothing that the sweep sends in its place.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from flowverdict.alerts.model import Alert
from flowverdict.core.errors import DeliveryError, StateError
from flowverdict.lifecycle.rate_limit import may_be_from_outside
from flowverdict.lifecycle.state_machine import Suppressed
from flowverdict.lifecycle.transitions import count_flows_added, severity_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.alerts.ending import Ending
    from flowverdict.alerts.model import Notification, Severity
    from flowverdict.lifecycle.intervals import Intervals
    from flowverdict.lifecycle.state_machine import AlertState
    from flowverdict.lifecycle.store import AlertPublisher, AlertStore
    from flowverdict.lifecycle.transitions import Transition


@dataclass(slots=True)
class Outcome:
    """What an invocation sent and did not send.

    Parameters
    ----------
    notified
        Messages sent.
    counted, inhibited, suppressed
        Alerts that changed without a message; that another alert explains; whose message the rate
        limit held back.
    undelivered
        Why messages could not be sent, one line each; the sweep tries again.
    flows
        Rejected flows added to alerts, by verdict and severity.
    muted_flows
        Rejected flows that the policy mutes and that were not counted before, by policy entry.
    postponed
        Partitions with windows that were not evaluated, because the rules cannot be read for now.
    """

    notified: list[Notification] = field(default_factory=list)
    counted: int = 0
    inhibited: int = 0
    suppressed: int = 0
    undelivered: list[str] = field(default_factory=list)
    flows: Counter[tuple[str, Severity]] = field(default_factory=Counter)
    muted_flows: Counter[str] = field(default_factory=Counter)
    postponed: set[str] = field(default_factory=set)


class Notifier:
    """Publishes pending messages and removes their marks."""

    def __init__(self, store: AlertStore, publisher: AlertPublisher, intervals: Intervals) -> None:
        self._store = store
        self._publisher = publisher
        self._intervals = intervals

    def notify(self, transitions: Sequence[Transition]) -> Outcome:
        """Send at most one message for each alert, with the alert as it was written last."""
        outcome = Outcome(flows=count_flows_added(transitions))
        by_alert: defaultdict[str, list[Transition]] = defaultdict(list)
        for transition in transitions:
            by_alert[transition.after.fingerprint].append(transition)
        merged = [self._merged(of_alert, outcome) for of_alert in by_alert.values()]
        self.send(merged, outcome, has_failed=False)
        return outcome

    def _merged(self, transitions: Sequence[Transition], outcome: Outcome) -> Transition:
        """Return the last transition of an alert, with the message that any of them calls for."""
        last = transitions[-1]
        known = severity_known(transitions)
        if known is not None:
            self._mark_sent(last.after, known, outcome)
            return replace(last, must_notify=False)
        is_due = any(transition.is_message_due for transition in transitions)
        return replace(last, must_notify=is_due and last.after.pending is not None)

    def send(
        self, transitions: Sequence[Transition], outcome: Outcome, *, has_failed: bool
    ) -> bool:
        """Publish the messages that are due and add to ``outcome``; return whether one failed.

        After a failure no more are tried: SNS is not available, and time is short.
        """
        for transition in transitions:
            state = transition.after
            if not transition.is_message_due:
                outcome.counted += state.suppressed is None
                outcome.inhibited += state.suppressed is Suppressed.INHIBITED
                outcome.suppressed += state.suppressed is Suppressed.RATE_LIMITED
                continue
            if has_failed:
                outcome.undelivered.append(
                    f"{state.fingerprint}: not tried, because an earlier message could not be sent"
                )
                continue
            try:
                if self._is_taken_over(state):
                    continue
                self._publisher.publish(state.notification)
            except (DeliveryError, StateError) as error:
                outcome.undelivered.append(str(error))
                has_failed = True
                continue
            outcome.notified.append(state.notification)
            # The severity of the message: after one window called for the message, another window
            # of the same invocation may have changed the severity.
            self._mark_sent(state, state.notification.severity, outcome)
        return has_failed

    def send_ends(
        self, transitions: Sequence[Transition], outcome: Outcome, *, has_failed: bool
    ) -> bool:
        """Publish what one sweep ended, problems with the same ending together; as ``send``.

        What hosts outside may have caused is not told with what they cannot cause.
        """
        kinds: defaultdict[tuple[Ending | None, bool], list[Transition]] = defaultdict(list)
        for transition in transitions:
            ended = transition.after.notification
            kinds[ended.ending, may_be_from_outside(ended)].append(transition)
        for _, alike in sorted(kinds.items(), key=str):
            if len(alike) == 1 or has_failed:
                has_failed = self.send(alike, outcome, has_failed=has_failed)
            else:
                has_failed = self._send_together([each.after for each in alike], outcome)
        return has_failed

    def _send_together(self, states: Sequence[AlertState], outcome: Outcome) -> bool:
        """Publish the ends of several alerts; return whether that failed."""
        try:
            due = [state for state in states if not self._is_taken_over(state)]
            ended = [each.notification for each in due if isinstance(each.notification, Alert)]
            if len(ended) == 1:
                self._publisher.publish(ended[0])
            elif ended:
                self._publisher.publish_ends(ended)
        except (DeliveryError, StateError) as error:
            outcome.undelivered += [f"{state.fingerprint}: {error}" for state in states]
            return True
        for state in due:
            outcome.notified.append(state.notification)
            self._mark_sent(state, state.notification.severity, outcome)
        return False

    def _is_taken_over(self, state: AlertState) -> bool:
        """Return whether another invocation sends, or has sent, the message of a state.

        This invocation took so long that the sweep took up its message. Another pending status is
        another message, which follows this one.
        """
        stored = self._store.pending_of(state.fingerprint)
        if stored is None:  # gone or not readable: twice is better than never
            return False
        return stored.status is None or (
            stored.status is state.pending and stored.at != state.pending_at
        )

    def _mark_sent(self, state: AlertState, known: Severity, outcome: Outcome) -> None:
        """Remove the mark; ``known`` is the severity that recipients know from now on."""
        try:
            self._store.mark_sent(replace(state, notified_severity=known), self._intervals)
        except StateError as error:
            # The remaining messages must still be sent. The sweep sends this message again.
            outcome.undelivered.append(
                f"{state.fingerprint}: sent, but that could not be recorded: {error}"
            )
