"""The notifications: alerts and notices, as values that every renderer renders.

A notification is complete: it goes through SNS as JSON, is stored in DynamoDB between two
detections, and becomes an email, a Slack message or another format without another look at the flow
logs. The schema of its JSON is ``docs/schemas/alert.schema.json``. Times are Unix seconds here and
ISO 8601 in UTC in JSON. Terms are Alertmanager's: fingerprint, severity, firing, resolved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from flowverdict.alerts.counts import MAX_REMOTES, Counts, Remote, merged_remotes
from flowverdict.alerts.ending import Ending
from flowverdict.alerts.merging import (
    all_confidences,
    both_networks,
    greatest,
    least,
    most,
    total,
)
from flowverdict.core.formatting import counted, cut, isoformat, with_port
from flowverdict.core.values import but, encode
from flowverdict.verdict.values import AclEntry, Miss  # noqa: TC001 - the codec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_INTERFACES = 10
MAX_NAMES = 20  # an interface has at most 16 groups
MAX_OBJECTS = 3  # that messages link to

SCHEMA_VERSION = 2
# An attribute that was renamed keeps its key in the JSON contract.
JSON_KEYS = {"remediation": "remedy", "remediation_reason": "remedy_reason"}
# The reason of an alert that replaces another, and of the alert that is replaced, begins with this.
CORRECTED = "Corrected: "


class Severity(StrEnum):
    """How urgent a notification is."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    @property
    def rank(self) -> int:
        """The severity's rank, 0 for the most severe."""
        return _RANKS[self]


_RANKS = {severity: rank for rank, severity in enumerate(Severity)}


class Status(StrEnum):
    """The state of an alert in its life cycle."""

    FIRING = "firing"
    REMINDER = "reminder"
    RESOLVED = "resolved"


class Kind(StrEnum):
    """The kind of a notification. The first two are alerts, the others notices.

    ``flow-overflow``: an interface has more rejected flows than are evaluated one by one.
    ``no-flow-logs``: flow logs that were read regularly come no more.
    ``rate-limited``: the hourly limit holds messages back.
    ``ends``: several alerts ended alike; each is published by itself too.
    """

    REJECT = "reject"
    SCAN = "scan"
    RECORDS_LOST = "records-lost"
    DIGEST = "digest"
    FLOW_OVERFLOW = "flow-overflow"
    RATE_LIMITED = "rate-limited"
    NO_FLOW_LOGS = "no-flow-logs"
    WEEKLY_SUMMARY = "weekly-summary"
    ENDS = "ends"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One observation, in words."""

    kind: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A page of the AWS console."""

    title: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemediationText:
    """Commands that together let packets and replies pass, as ``verdict/remediation`` made them.

    ``shared`` are needed too, and the fix of another problem, ``shared_with``, offers them. A
    stored fix of an earlier version has only ``commands`` and ``opens``.
    """

    commands: tuple[str, ...]
    opens: str
    shared: tuple[str, ...] = ()
    shared_with: str | None = None
    verified: bool = True
    tried: tuple[str, ...] = ()
    if_wanted: str | None = None
    managed_by: str | None = None
    undo: tuple[str, ...] = ()
    terraform: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and the lines below it."""

    heading: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Notification:
    """What alerts and notices have in common.

    Parameters
    ----------
    fingerprint
        32 hexadecimal digits, the same for the same problem whenever it is detected.
    status_reason
        The reason of the status, in words; ``None`` where there is nothing to add.
    ending
        How the episode ended; ``None`` while it goes on. An ending that is unknown has the status
        of a reminder, because no reader may take the problem for over.
    reported_by
        The account that delivered the records, where it is not ``account_id``.
    first_seen, last_seen
        Unix seconds of the records; ``None`` where the records have none.
    """

    kind: Kind
    status: Status = Status.FIRING
    status_reason: str | None = None
    ending: Ending | None = None
    fingerprint: str
    severity: Severity
    severity_reason: str
    summary: str
    account_id: str | None = None
    reported_by: str | None = None
    region: str | None = None
    vpc_id: str | None = None
    interfaces: tuple[str, ...] = ()
    interface_count: int = 0
    records: int = 0
    first_seen: int | None = None
    last_seen: int | None = None

    def with_status(self, status: Status, reason: str | None, ending: Ending | None = None) -> Self:
        """Return the notification with another status."""
        if (status, reason, ending) == (self.status, self.status_reason, self.ending):
            return self
        return but(self, status=status, status_reason=reason, ending=ending)

    def with_status_of(self, other: _Notification) -> Self:
        """Return the notification with the status, reason and ending of another."""
        return self.with_status(other.status, other.status_reason, other.ending)

    @property
    def is_over(self) -> bool:
        """Whether this is the last message of an episode."""
        return self.ending is not None or self.status is Status.RESOLVED

    @property
    def is_withdrawn(self) -> bool:
        """Whether the notification ends because it was wrong, not because it is over."""
        return self.ending is Ending.CORRECTED or (
            self.status is Status.RESOLVED
            and self.status_reason is not None
            and self.status_reason.startswith(CORRECTED)  # an earlier version stored no ending
        )

    @property
    def counts(self) -> Counts:
        """What the notification counts."""
        return Counts(records=self.records)

    def counting(self, counts: Counts) -> Self:
        """Return the notification with other counts."""
        return replace(self, records=counts.records)

    @property
    def scope(self) -> str:
        """The place: ``account 1234..., eu-west-1, vpc-..., eni-... and 3 more interfaces``."""
        parts = [
            None if self.account_id is None else f"account {self.account_id}",
            None if self.reported_by is None else f"reported by {self.reported_by}",
            self.region,
            self.vpc_id,
            self._interfaces_in_words() or None,
        ]
        return ", ".join(part for part in parts if part is not None) or "unknown place"

    def _interfaces_in_words(self) -> str:
        shown = self.interfaces[:3]
        more = self.interface_count - len(shown)
        return ", ".join(shown) + (f" and {counted(more, 'more interface')}" if more else "")

    def _widened(self, newer: _Notification) -> dict[str, Any]:
        """Return the merged values of the fields that all notifications have."""
        interfaces = {*self.interfaces, *newer.interfaces}
        return {
            "records": self.records + newer.records,
            "first_seen": least(self.first_seen, newer.first_seen),
            "last_seen": greatest(self.last_seen, newer.last_seen),
            "interfaces": tuple(sorted(interfaces)[:MAX_INTERFACES]),
            "interface_count": max(len(interfaces), self.interface_count, newer.interface_count),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert(_Notification):
    """Rejected flows with the same explanation, ready to be rendered.

    Parameters
    ----------
    from_outside
        Whether hosts outside the organisation may have caused all of it by themselves.
    headline
        What happened, without addresses: ``Replies blocked by acl-0a1b rule 120``.
    near, far_port, outbound
        For the title: the local end, with the service's port where the service is local; the
        service's port on the far side, else ``None``; whether packets go from the near to the far
        end (``None``: not known, so ``near`` is the source and ``far`` the destination).
    near_others
        How many further local addresses there are.
    far_network
        The smallest range that holds all remote addresses; ``None`` if too wide to mean anything.
    connection
        The packet that stands for the flows, which the fix is for:
        ``TCP 10.0.1.5:443 -> 203.0.113.12:50122``.
    confidence, confidences
        The weakest among the flows, so that ``certain`` holds for each flow; and the number of
        flows of each confidence.
    blocker
        The network ACL rule, the security groups, or both, as text; ``None`` where not known.
    top_remotes, remote_count
        The busiest remote addresses, and how many there are (at least, after several detections).
    targets
        Of a scan: how many ports and local addresses were tried.
    connections, connections_at_least
        How many connections to the service were seen in the same five minutes, of which ``flows``
        failed; ``None`` where the flow logs do not show it. Whether there may be more, since
        records are missing. Connections from outside and from inside are not counted together.
    owners
        What names the owner: tags of the interface; the ECS service and tags of the records.
    names
        Ids of the interface, its groups, subnet, network ACL and VPC, with the names people gave.
    objects
        Objects in S3 with rejected records of the alert's interfaces, as ``s3://bucket/key``: the
        last ones by name, which begins with the day.
    explains
        Titles of the alerts that this alert inhibits.
    opened_at
        When the first message of this episode was due, in Unix seconds; ``None`` before that.
    """

    from_outside: bool = False
    headline: str
    near: str
    near_others: int = 0
    far_port: int | None = None
    outbound: bool | None = None
    far: str | None = None
    far_network: str | None = None
    connection: str
    subnet_id: str | None = None
    flow_direction: str | None = None
    leg: str
    verdict: str
    verdict_caption: str
    confidence: str
    confidences: tuple[tuple[str, int], ...]
    protocol: int | None = None
    service_port: int | None = None
    service: str
    blocker: str | None = None
    network_acl_entry: AclEntry | None = None
    security_groups: tuple[str, ...] = ()
    nearest_miss: Miss | None = None
    rules_read_at: str | None = None
    local_end: str | None = None
    remote_end: str | None = None
    path: str | None = None
    path_id: str | None = None
    notes: tuple[str, ...] = ()
    remediation: RemediationText | None = None
    remediation_reason: str | None = None
    evidence: tuple[Evidence, ...] = ()
    next_steps: tuple[str, ...] = ()
    top_remotes: tuple[Remote, ...] = ()
    remote_count: int = 0
    targets: tuple[int, int] | None = None
    flows: int = 0
    packets: int = 0
    bytes: int = 0
    connections: int | None = None
    connections_at_least: bool = False
    owners: tuple[tuple[str, str], ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    links: tuple[Link, ...] = ()
    logs_query: str | None = None
    objects: tuple[str, ...] = ()
    explains: tuple[str, ...] = ()
    opened_at: int | None = None

    @property
    def counts(self) -> Counts:
        """What the alert counts."""
        return Counts(
            records=self.records,
            flows=self.flows,
            packets=self.packets,
            bytes=self.bytes,
            connections=self.connections,
            confidences=self.confidences,
            remotes=self.top_remotes,
        )

    def counting(self, counts: Counts) -> Alert:
        """Return the alert with other counts."""
        return replace(
            self,
            records=counts.records,
            flows=counts.flows,
            packets=counts.packets,
            bytes=counts.bytes,
            connections=counts.connections,
            confidences=counts.confidences,
            top_remotes=counts.remotes,
        )

    @property
    def title(self) -> str:
        """The alert in one line: ``Requests blocked by sg-0a1b: 10.0.1.5 -> 10.0.2.7:443``."""
        return cut(f"{self.headline}: {self.ends}")

    @property
    def ends(self) -> str:
        """Both ends as text; the far end is what the remote addresses have in common."""
        near = f"{self.near} (+{self.near_others:,} more)" if self.near_others else self.near
        far = self._far_side() if self.outbound is not None else self.far
        if far is None:
            return near
        return f"{far} -> {near}" if self.outbound is False else f"{near} -> {far}"

    def _far_side(self) -> str | None:
        if not self.top_remotes:
            return None
        if self.remote_count == 1:
            return with_port(self.top_remotes[0].address, self.far_port)
        text = self.far_network or f"{self.remote_count:,} addresses"
        return text if self.far_port is None else f"{text} port {self.far_port}"

    def merged_with(self, newer: Alert) -> Alert:
        """Merge two detections of an episode: the totals of both, the words of the more severe.

        Between equals, the words are of the later alert; the title begins as the episode began.
        Later means later by the records, since detections come in any order.
        """
        worded = self if _words_rank(self) < _words_rank(newer) else newer
        first = self if _beginning(self) <= _beginning(newer) else newer
        remotes = merged_remotes((*self.top_remotes, *newer.top_remotes))
        confidences = all_confidences((*self.confidences, *newer.confidences))
        return replace(
            worded,
            **self._widened(newer),
            status=newer.status,
            status_reason=newer.status_reason,
            ending=newer.ending,
            near=first.near,
            far_network=both_networks(self.far_network, newer.far_network),
            near_others=max(
                self.near_others, newer.near_others, 0 if self.near == newer.near else 1
            ),
            confidence=confidences[-1][0] if confidences else worded.confidence,
            confidences=confidences,
            top_remotes=remotes[:MAX_REMOTES],
            remote_count=max(len(remotes), self.remote_count, newer.remote_count),
            targets=most(self.targets, newer.targets),
            flows=self.flows + newer.flows,
            packets=self.packets + newer.packets,
            bytes=self.bytes + newer.bytes,
            connections=total(self.connections, newer.connections),
            connections_at_least=self.connections_at_least or newer.connections_at_least,
            owners=tuple(dict((*self.owners, *newer.owners)).items()),
            names=tuple(dict((*self.names, *newer.names)).items())[:MAX_NAMES],
            objects=last_objects((*self.objects, *newer.objects)),
            explains=tuple(dict.fromkeys((*self.explains, *newer.explains))),
            opened_at=self.opened_at,
        )

    def to_json(self) -> str:
        """Return the alert as JSON, as the schema describes it."""
        written = _plain(self)
        written["title"] = self.title
        written["confidence_counts"] = dict(self.confidences)
        written["owners"] = dict(self.owners)
        written["names"] = dict(self.names)
        if self.targets is not None:
            written["targets"] = dict(zip(("ports", "addresses"), self.targets, strict=True))
        written["opened_at"] = isoformat(self.opened_at)
        del written["confidences"]
        return encode(written)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(_Notification):
    """A notification that is not about single flows: lost records, digest, held back messages."""

    title: str
    sections: tuple[Section, ...] = ()

    def merged_with(self, newer: Notice) -> Notice:
        """Merge two detections of the notice; the words are the newer's."""
        return replace(newer, **self._widened(newer))

    def to_json(self) -> str:
        """Return the notice as JSON, as the schema describes it."""
        return encode(_plain(self))


type Notification = Alert | Notice


def last_objects(names: Iterable[str]) -> tuple[str, ...]:
    """Return the objects that an alert names, of all that it may name."""
    return tuple(sorted({*names})[-MAX_OBJECTS:])


def _words_rank(alert: Alert) -> tuple[int, int, str]:
    return (alert.severity.rank, -(alert.last_seen or 0), alert.summary)


def _beginning(alert: Alert) -> tuple[int, str]:
    return (alert.first_seen or 0, alert.near)


_ONLY_WHERE_KNOWN = {
    "reported_by",
    "from_outside",
    "connections",
    "connections_at_least",
    "objects",
}


def _plain(notification: _Notification) -> dict[str, Any]:
    names = notification.__dataclass_fields__
    written = {JSON_KEYS.get(name, name): getattr(notification, name) for name in names}
    for key in _ONLY_WHERE_KNOWN:
        if not written.get(key):
            written.pop(key, None)
    for name in ("first_seen", "last_seen"):
        written[name] = isoformat(written[name])
    written["schema_version"] = SCHEMA_VERSION
    return written
