"""A detection: an alert or notice as one batch shows it, with its key, fingerprint and order.

The fingerprint identifies the same problem over time, as Alertmanager's does. It is stored, so
neither the fields of a key nor their order may change.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.alerts.model import Alert

if TYPE_CHECKING:
    from flowverdict.alerts.model import Kind, Notice, Severity
    from flowverdict.alerts.probe import Probe
    from flowverdict.alerts.recheck import Sample
    from flowverdict.flowlog.records import FlowDirection
    from flowverdict.verdict.model import Leg, VerdictKind


class GroupKey(NamedTuple):
    """What rejected flows of one alert have in common. A named tuple: hashed for each flow."""

    kind: Kind
    account_id: str | None
    region: str | None
    vpc_id: str | None
    interface_id: str | None
    direction: FlowDirection | None
    leg: Leg | None = None
    verdict: VerdictKind | None = None
    protocol: int | None = None
    service_port: int | None = None
    blocker: str | None = None
    # Requests to the same port from the internet and from inside are two alerts: the first waits
    # for the digest, the second is sent at once.
    for_digest: bool = False
    # The account that delivered the records, where it is not the interface's own.
    reported_by: str | None = None
    # What hosts outside may have caused is never one alert with what they cannot cause: they choose
    # its words, numbers and end.
    is_from_outside: bool = False

    @property
    def fingerprint(self) -> str:
        """The alert's identity over time: 32 hexadecimal digits of a SHA-256 over the key."""
        return _fingerprint_of(self)


# Asked for three times while a window is grouped.
@lru_cache(maxsize=16_384)
def _fingerprint_of(key: GroupKey) -> str:
    *before, reported_by, is_from_outside = key
    outside = ("from outside",) if is_from_outside else ()
    return fingerprint(*before, *reporters(reported_by), *outside)


def reporters(reported_by: str | None) -> tuple[str, ...]:
    """Return what a fingerprint has in addition where another account delivered the records.

    Nothing where the interface's own account did: such fingerprints stay as earlier versions stored
    them.
    """
    return () if reported_by is None else (f"reported by {reported_by}",)


def fingerprint(*parts: object) -> str:
    """Return 32 hexadecimal digits of a SHA-256 over the parts."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """A problem as one batch shows it, with what decides whether a message is sent.

    Parameters
    ----------
    samples
        Packets to evaluate again when the rules may have changed.
    probes
        What accepted traffic would show that all of it passes; nothing where no traffic would.
    feeds
        Names of the feeds (``lifecycle.feeds``) whose records show it.
    inhibits
        Inhibition keys: a detection with one of these keys in ``inhibited_by`` is explained by this
        one.
    inhibited_by
        Inhibition keys of the alerts that make this one redundant.
    """

    notification: Alert | Notice
    samples: tuple[Sample, ...] = ()
    probes: tuple[Probe, ...] = ()
    feeds: tuple[str, ...] = ()
    inhibits: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()

    @property
    def is_from_outside(self) -> bool:
        """Whether hosts outside may have caused all that an alert tells."""
        return isinstance(self.notification, Alert) and self.notification.from_outside


type Urgency = tuple[int, bool, int, str]


def most_severe_first(detection: Detection) -> Urgency:
    """Return the sort key of a detection: severity, then time, then fingerprint."""
    notification = detection.notification
    return urgency(notification.severity, notification.first_seen, notification.fingerprint)


def urgency(severity: Severity, first_seen: int | None, fingerprint: str) -> Urgency:
    """Return the sort key; without a ``first_seen`` (Unix seconds) last within the severity."""
    return (
        severity.rank,
        first_seen is None,
        0 if first_seen is None else first_seen,
        fingerprint,
    )
