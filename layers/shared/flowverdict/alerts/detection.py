"""TODO flowverdict.alerts.detection."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from flowverdict.alerts.model import Alert, Kind, Notice, Severity
    from flowverdict.alerts.recheck import Sample
    from flowverdict.flowlog.records import FlowDirection
    from flowverdict.verdict.model import Leg, VerdictKind


class GroupKey(NamedTuple):
    """What makes rejected flows one alert. A named tuple because it is hashed for every flow."""

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
    for_digest: bool = False  # the internet at a port and a colleague at it are two things, of which only one is told by itself

    @property
    def fingerprint(self) -> str:
        """Identify the alert over time: 32 hexadecimal digits of a SHA-256 over the key."""
        return fingerprint(*self)


def fingerprint(*parts: object) -> str:
    """Give 32 hexadecimal digits of a SHA-256 over the parts."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """A problem as one batch shows it, with what decides whether anyone is told.

    Parameters
    ----------
    samples
        Packets to judge again once the rules may have changed.
    casts
        Keys of the shadows it casts: what has one of them among ``inhibited_by`` is explained by it.
    shaded_by
        Keys of the shadows that make this one needless.
    """

    notification: Alert | Notice
    samples: tuple[Sample, ...] = ()
    inhibits: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()


def most_severe_first(detection: Detection) -> Urgency:
    """Sort sightings: by severity, then by time, then by fingerprint."""
    notification = detection.notification
    return urgent(notification.severity, notification.first_seen, notification.fingerprint)


def urgent(severity: Severity, first_seen: int | None, fingerprinted: str) -> Urgency:
    return (
        severity.rank,
        first_seen is None,
        0 if first_seen is None else first_seen,
        fingerprinted,
    )


type Urgency = tuple[int, bool, int, str]
