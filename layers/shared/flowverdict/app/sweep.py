"""TODO flowverdict.app.sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowverdict.app.deadlines import BudgetedConfigSource
from flowverdict.app.ingest import load_policy
from flowverdict.core.errors import DeliveryError
from flowverdict.flowlog.s3_events import scheduled_at

if TYPE_CHECKING:
    from flowverdict.app.observability import Invocation, Observability
    from flowverdict.lifecycle.manager import AlertManager
    from flowverdict.network.ports import ConfigSource
    from flowverdict.policy.source import PolicySource


class SweepAlerts:
    """What time brings: reminders, resolved alerts, the digest, and what could not be sent before."""

    def __init__(
        self,
        manager: AlertManager,
        configs: ConfigSource,
        policies: PolicySource | None,
        observability: Observability,
    ) -> None:
        self._manager = manager
        self._configs = configs
        self._policies = policies
        self._observability = observability

    def handle(self, event: dict[str, Any], invocation: Invocation) -> None:
        """Look at all alerts that are due at the event's time.

        Raises
        ------
        EnvelopeError
            The event is no scheduled one.
        DeliveryError
            A message could not be sent. What was called for stays called for, and the next sweep
            tries again.
        """
        del invocation
        if self._policies is not None:
            load_policy(
                self._policies, self._observability
            )  # looked at here too, so that a bad one is told when no flow logs come
        configs = BudgetedConfigSource(self._configs)
        outcome = self._manager.sweep(scheduled_at(event), configs)
        self._observability.rules_not_read(configs.refused)
        self._observability.notified(outcome)
        if outcome.undelivered:
            raise DeliveryError(
                f"{len(outcome.undelivered)} messages not sent; the first: {outcome.undelivered[0]}"
            )
