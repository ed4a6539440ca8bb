"""Find out what the rules, read now, do with the packets of open alerts."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from flowverdict.alerts.recheck import Passage, passage
from flowverdict.core.availability import NotAvailable
from flowverdict.lifecycle.passing_time import RulesFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowverdict.lifecycle.state_machine import AlertState
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.ports import ConfigSource


_MAX_RECHECKED = 200  # alerts whose rules are read again in one sweep

type AccountRegion = tuple[str | None, str | None]


def recheck_rules(
    states: Sequence[AlertState], configs: ConfigSource | None
) -> Mapping[str, RulesFound]:
    """Return what the rules do with the samples of open alerts, by fingerprint.

    The most severe alerts are checked first, and of these the ones detected longest ago.
    """
    if configs is None:
        return {}
    found: dict[str, RulesFound] = {}
    for (account_id, region), alerts in _by_account_region(states).items():
        flows = [sample.flow() for state in alerts for sample in state.samples]
        config = configs.read(account_id, region, flows)
        for state in alerts:
            found[state.fingerprint] = (
                RulesFound(
                    passage=Passage.UNKNOWN, reason=f"the rules were not read: {config.reason}"
                )
                if isinstance(config, NotAvailable)
                else _rules_found(state, config)
            )
    return found


def _rules_found(state: AlertState, config: NetConfig) -> RulesFound:
    """Return ``PASSES`` if all packets pass, ``BLOCKED`` if one is certainly blocked."""
    passages = {passage(sample, config) for sample in state.samples}
    if Passage.BLOCKED in passages:
        return RulesFound(passage=Passage.BLOCKED)
    if passages == {Passage.PASSES}:
        return RulesFound(passage=Passage.PASSES)
    return RulesFound(
        passage=Passage.UNKNOWN,
        reason="the rules as read leave it open, or do not know its interface any more",
    )


def _by_account_region(
    states: Sequence[AlertState],
) -> Mapping[AccountRegion, Sequence[AlertState]]:
    """Return the alerts to check by account and Region, whose rules are read together."""
    candidates = sorted(
        (state for state in states if state.is_open and state.samples and state.pending is None),
        key=lambda state: (state.notification.severity.rank, state.observed_at),
    )
    alerts: defaultdict[AccountRegion, list[AlertState]] = defaultdict(list)
    for state in candidates[:_MAX_RECHECKED]:
        alerts[state.samples[0].account_id, state.samples[0].region].append(state)
    return alerts
