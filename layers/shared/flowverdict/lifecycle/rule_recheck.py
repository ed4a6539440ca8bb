"""Find the open alerts whose packets the rules, read now, let pass."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from flowverdict.alerts.recheck import passes
from flowverdict.network.configuration import NetConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowverdict.lifecycle.state_machine import AlertState
    from flowverdict.network.ports import ConfigSource


_MAX_RECHECKED = 200  # alerts whose rules are read again in one sweep

type Place = tuple[str | None, str | None]


def passing_alerts(states: Sequence[AlertState], configs: ConfigSource | None) -> frozenset[str]:
    """Return the fingerprints of notified alerts whose samples all pass the rules by now.

    The most severe alerts are checked first, and of these the ones detected longest ago.
    """
    if configs is None:
        return frozenset()
    passing: set[str] = set()
    for (account_id, region), alerts in _by_place(states).items():
        flows = [sample.flow() for state in alerts for sample in state.samples]
        config = configs.read(account_id, region, flows)
        if isinstance(config, NetConfig):
            passing |= {
                state.fingerprint
                for state in alerts
                if all(passes(sample, config) for sample in state.samples)
            }
    return frozenset(passing)


def _by_place(states: Sequence[AlertState]) -> Mapping[Place, Sequence[AlertState]]:
    """Return the alerts to check by account and Region, whose rules are read together."""
    candidates = sorted(
        (
            state
            for state in states
            if state.is_open and state.samples and state.was_sent and state.pending is None
        ),
        key=lambda state: (state.notification.severity.rank, state.observed_at),
    )
    places: defaultdict[Place, list[AlertState]] = defaultdict(list)
    for state in candidates[:_MAX_RECHECKED]:
        places[state.samples[0].account_id, state.samples[0].region].append(state)
    return places
