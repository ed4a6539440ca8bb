"""Run what time brings: reminders, endings, the digest, messages not sent before, the page."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from flowverdict.app.evaluate import load_policy
from flowverdict.core.errors import DeliveryError, StateError
from flowverdict.flowlog.s3_events import scheduled_at

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flowverdict.app.deadlines import BudgetedConfigSource
    from flowverdict.app.observability import Observability
    from flowverdict.app.problem_page import ProblemPage
    from flowverdict.delivery.sns import Subscriptions
    from flowverdict.lifecycle.manager import AlertManager
    from flowverdict.policy.source import PolicySource


class SweepAlerts:
    """Handles the scheduled event of the sweep."""

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        manager: AlertManager,
        configs: Callable[[], BudgetedConfigSource],
        policies: PolicySource | None,
        observability: Observability,
        subscriptions: Sequence[Callable[[], Subscriptions]] = (),
        *,
        page: ProblemPage | None = None,
    ) -> None:
        self._manager = manager
        self._configs = configs
        self._policies = policies
        self._observability = observability
        self._subscriptions = subscriptions
        self._page = page

    def handle(self, event: dict[str, Any], seconds: float) -> None:
        """Process all alerts that are due at the event's time; ``seconds`` are left.

        Raises
        ------
        EnvelopeError
            The event is not a scheduled event.
        DeliveryError
            A message could not be sent. The message stays pending, and the next sweep tries again.
        """
        until = time.monotonic() + seconds
        now = scheduled_at(event)
        if self._policies is not None:
            # Read here too, so that a broken document is reported when no flow logs arrive.
            load_policy(self._policies, self._observability)
        configs = self._configs()
        outcome = self._manager.sweep(now, configs)
        self._observability.rules_not_read(configs)
        self._observability.notified(outcome)
        self._count_subscriptions()
        self._write_page(now, until - time.monotonic())
        if outcome.undelivered:
            raise DeliveryError(
                f"{len(outcome.undelivered)} messages not sent; the first: {outcome.undelivered[0]}"
            )

    def _count_subscriptions(self) -> None:
        """Log who is subscribed to email: a scanner that unsubscribes leaves no other trace."""
        for count in self._subscriptions:
            try:
                self._observability.subscribed(count())
            except DeliveryError as error:
                self._observability.not_counted(error)

    def _write_page(self, now: int, seconds: float) -> None:
        """Write the page where it changed; no alert depends on it."""
        if self._page is None:
            return
        try:
            self._page.write_if_changed(now, seconds)
        except (DeliveryError, StateError) as error:
            self._observability.page_not_written(error)
