"""What is told to people and machines: the alert and the notice, as values that every face is rendered from.

An alert is complete in itself: it goes through SNS as JSON, waits in DynamoDB between two sightings, and comes out as an email, a
Slack message or whatever else without anyone asking for the flow logs again. Its schema is ``docs/schemas/alert.schema.json``.
Times are Unix seconds here and ISO 8601 in UTC in JSON.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from ipaddress import ip_network
from typing import Any, Self

from flowverdict.core.formatting import common_network, cut, isoformat, with_port
from flowverdict.verdict.values import AclEntry, Miss  # noqa: TC001 - the codec reads the annotations

MAX_REMOTES = 10  # shown; more says nothing that a person would read
MAX_INTERFACES = 10

SCHEMA_VERSION = 2
# The JSON contract keeps its spelling; an attribute is named differently where a term has changed since.
JSON_KEYS = {"remediation": "remedy", "remediation_reason": "remedy_reason"}
CORRECTED = "Corrected: "  # begins the reason of an alert that takes another one's place, and of the one that it takes it from


class Severity(StrEnum):
    """Who should look, and when."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the most severe."""
        return _RANKS[self]


_RANKS = {severity: rank for rank, severity in enumerate(Severity)}


class Status(StrEnum):
    """Where an alert is in its life."""

    FIRING = "firing"
    REMINDER = "reminder"
    RESOLVED = "resolved"


class Kind(StrEnum):
    """What a document tells of. The first two are alerts, the others notices."""

    REJECT = "reject"
    SCAN = "scan"
    RECORDS_LOST = "records-lost"
    DIGEST = "digest"
    FLOW_OVERFLOW = "flow-overflow"
    RATE_LIMITED = "rate-limited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """An address on the far side, and how much of its traffic was rejected."""

    address: str
    flows: int
    packets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One observation and what it says."""

    kind: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Somewhere to look, in AWS's console."""

    title: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemediationText:
    """Commands that together let the packet and its reply pass, and what else they open."""

    commands: tuple[str, ...]
    opens: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and the lines below it."""

    heading: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What adds up over the sightings of a problem, and can be taken back: what it counts, and the busiest remote addresses."""

    records: int = 0
    flows: int = 0
    packets: int = 0
    bytes: int = 0
    confidences: tuple[tuple[str, int], ...] = ()
    remotes: tuple[Remote, ...] = ()

    def minus(self, other: Counts) -> Counts:
        """Give what has to be added to the other to have these."""
        levels, others = dict(self.confidences), dict(other.confidences)
        remotes = {one.address: one for one in self.remotes}
        return Counts(
            records=self.records - other.records,
            flows=self.flows - other.flows,
            packets=self.packets - other.packets,
            bytes=self.bytes - other.bytes,
            confidences=tuple(
                (level, levels.get(level, 0) - others.get(level, 0))
                for level in {**levels, **others}
            ),
            remotes=(
                *(
                    one
                    for one in self.remotes
                    if one.address not in {known.address for known in other.remotes}
                ),
                *(_remote_less(remotes.get(known.address), known) for known in other.remotes),
            ),
        )


def _remote_less(one: Remote | None, known: Remote) -> Remote:
    flows, packets = (0, 0) if one is None else (one.flows, one.packets)
    return Remote(address=known.address, flows=flows - known.flows, packets=packets - known.packets)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Notification:
    """What alerts and notices have in common.

    Parameters
    ----------
    fingerprint
        32 hexadecimal digits, the same for the same problem whenever it is seen.
    status_reason
        Why the status is what it is, in words; ``None`` where there is nothing to add.
    first_seen, last_seen
        Unix seconds of the records that it is about; ``None`` where none told.
    """

    kind: Kind
    status: Status = Status.FIRING
    status_reason: str | None = None
    fingerprint: str
    severity: Severity
    severity_reason: str
    summary: str
    account_id: str | None = None
    region: str | None = None
    vpc_id: str | None = None
    interfaces: tuple[str, ...] = ()
    interface_count: int = 0
    records: int = 0
    first_seen: int | None = None
    last_seen: int | None = None

    def with_status(self, status: Status, reason: str | None) -> Self:
        """Give the document in another part of its life."""
        return replace(self, status=status, status_reason=reason)

    @property
    def is_withdrawn(self) -> bool:
        """Whether it is not over but was told wrong."""
        return (
            self.status is Status.RESOLVED
            and self.status_reason is not None
            and self.status_reason.startswith(CORRECTED)
        )

    @property
    def counts(self) -> Counts:
        """What it counts."""
        return Counts(records=self.records)

    def counting(self, counts: Counts) -> Self:
        """Give the document with other counts."""
        return replace(self, records=counts.records)

    @property
    def scope(self) -> str:
        """Say where: ``account 123456789012, eu-west-1, vpc-..., eni-... and 3 more interfaces``."""
        parts = [
            None if self.account_id is None else f"account {self.account_id}",
            self.region,
            self.vpc_id,
            self._interfaces_in_words() or None,
        ]
        return ", ".join(part for part in parts if part is not None) or "unknown place"

    def _interfaces_in_words(self) -> str:
        shown = self.interfaces[:3]
        more = self.interface_count - len(shown)
        return ", ".join(shown) + (
            f" and {more:,} more interface{'' if more == 1 else 's'}" if more else ""
        )

    def _widened(self, newer: _Notification) -> dict[str, Any]:
        """Give the fields of both sightings together that all documents have."""
        together = {*self.interfaces, *newer.interfaces}
        return {
            "records": self.records + newer.records,
            "first_seen": _least(self.first_seen, newer.first_seen),
            "last_seen": _greatest(self.last_seen, newer.last_seen),
            "interfaces": tuple(sorted(together)[:MAX_INTERFACES]),
            "interface_count": max(len(together), self.interface_count, newer.interface_count),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert(_Notification):
    """Rejected flows with one explanation, ready to be rendered.

    Parameters
    ----------
    headline
        What happened without the addresses: ``Replies blocked by acl-0a1b rule 120``.
    near, far_port, outbound
        For the title: the local end with its port where that is the service's; the service's port on the far side, else
        ``None``; whether packets go from the near to the far end (``None``: not known, so near is the source and far unknown).
    near_others
        Further local addresses.
    far_network
        The smallest range that holds all addresses on the far side; ``None`` if that would be too wide to mean anything.
    connection
        The packet that stands for them, which a fix is for: ``TCP 10.0.1.5:443 -> 203.0.113.12:50122``.
    confidence, confidences
        The weakest among the flows, so that ``certain`` holds for each of them; and how many flows have which.
    blocker
        The network ACL entry, the security groups, or both, as one text; ``None`` where not known.
    top_remotes, remote_count
        The busiest addresses on the far side, and how many there are: at least, after several sightings.
    targets
        Of a scan, how many ports and addresses of ours were tried.
    owners
        Tags of the interface that name who to ask.
    explains
        Titles of alerts that this one makes needless.
    opened_at
        When the first message of this episode was due; ``None`` before that.
    """

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
    owners: tuple[tuple[str, str], ...] = ()
    links: tuple[Link, ...] = ()
    logs_query: str | None = None
    explains: tuple[str, ...] = ()
    opened_at: int | None = None

    @property
    def counts(self) -> Counts:
        """What it counts."""
        return Counts(
            records=self.records,
            flows=self.flows,
            packets=self.packets,
            bytes=self.bytes,
            confidences=self.confidences,
            remotes=self.top_remotes,
        )

    def counting(self, counts: Counts) -> Alert:
        """Give the alert with other counts."""
        return replace(
            self,
            records=counts.records,
            flows=counts.flows,
            packets=counts.packets,
            bytes=counts.bytes,
            confidences=counts.confidences,
            top_remotes=counts.remotes,
        )

    @property
    def title(self) -> str:
        """Name the alert in one line: ``Replies blocked by acl-0a1b rule 120: 10.0.1.5:443 -> 203.0.113.0/24``."""
        return cut(f"{self.headline}: {self.ends}")

    @property
    def ends(self) -> str:
        """Write both ends, the far one as what its addresses have in common."""
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
        """Give both sightings together: the totals of both, and the words of the later one unless the other is more severe.

        An episode is as severe as the worst that was seen in it, and its words are about that. Its title begins as it began.
        What is later is so by its records, since sightings come in any order.
        """
        telling = self if _tells_more(self) < _tells_more(newer) else newer
        first = self if _begins(self) <= _begins(newer) else newer
        flows: dict[str, tuple[int, int]] = {}
        for one in (*self.top_remotes, *newer.top_remotes):
            before = flows.get(one.address, (0, 0))
            flows[one.address] = (before[0] + one.flows, before[1] + one.packets)
        remotes = [
            Remote(address=address, flows=seen[0], packets=seen[1])
            for address, seen in flows.items()
            if seen[0] > 0
        ]
        counts = {**dict(self.confidences)}
        for level, count in newer.confidences:
            counts[level] = counts.get(level, 0) + count
        confidences = tuple(
            (level, counts[level]) for level in CONFIDENCES if counts.get(level, 0) > 0
        )
        return replace(
            telling,
            **self._widened(newer),
            status=newer.status,
            status_reason=newer.status_reason,
            near=first.near,
            far_network=_both_networks(self.far_network, newer.far_network),
            near_others=max(
                self.near_others, newer.near_others, 0 if self.near == newer.near else 1
            ),
            confidence=confidences[-1][0] if confidences else telling.confidence,
            confidences=confidences,
            top_remotes=tuple(sorted(remotes, key=busiest)[:MAX_REMOTES]),
            remote_count=max(len(remotes), self.remote_count, newer.remote_count),
            targets=_most(self.targets, newer.targets),
            flows=self.flows + newer.flows,
            packets=self.packets + newer.packets,
            bytes=self.bytes + newer.bytes,
            owners=tuple(dict((*self.owners, *newer.owners)).items()),
            explains=tuple(dict.fromkeys((*self.explains, *newer.explains))),
            opened_at=self.opened_at,
        )

    def to_json(self) -> str:
        """Give the alert for machines."""
        told = _plain(self)
        told["title"] = self.title
        told["confidence_counts"] = dict(self.confidences)
        told["owners"] = dict(self.owners)
        told["targets"] = (
            None
            if self.targets is None
            else {"ports": self.targets[0], "addresses": self.targets[1]}
        )
        if self.remediation is not None:
            told["remedy"]["verified"] = True
        told["opened_at"] = isoformat(self.opened_at)
        del told["confidences"]
        return json.dumps(told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(_Notification):
    """Something to know that is no single rejected flow: records that AWS lost, the digest, messages held back."""

    title: str
    sections: tuple[Section, ...] = ()

    def merged_with(self, newer: Notice) -> Notice:
        """Give both sightings together."""
        return replace(newer, **self._widened(newer))

    def to_json(self) -> str:
        """Give the notice for machines."""
        return json.dumps(_plain(self))


type Notification = Alert | Notice

CONFIDENCES = ("certain", "likely", "possible")


def _tells_more(alert: Alert) -> tuple[int, int, str]:
    return (alert.severity.rank, -(alert.last_seen or 0), alert.summary)


def _begins(alert: Alert) -> tuple[int, str]:
    return (alert.first_seen or 0, alert.near)


def _plain(notification: _Notification) -> dict[str, Any]:
    told = {JSON_KEYS.get(name, name): value for name, value in asdict(notification).items()}
    told["schema_version"] = SCHEMA_VERSION
    told["first_seen"] = isoformat(notification.first_seen)
    told["last_seen"] = isoformat(notification.last_seen)
    return told


def busiest(remote: Remote) -> tuple[int, str]:
    """Sort remotes by packets, then by address."""
    return (-remote.packets, remote.address)


def _both_networks(one: str | None, other: str | None) -> str | None:
    if one is None or other is None:
        return None
    networks = [ip_network(one), ip_network(other)]
    both = common_network(str(end) for network in networks for end in (network[0], network[-1]))
    return None if both is None else str(both)


def _least(one: int | None, other: int | None) -> int | None:
    return min((value for value in (one, other) if value is not None), default=None)


def _greatest(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)


def _most(one: tuple[int, int] | None, other: tuple[int, int] | None) -> tuple[int, int] | None:
    if one is None or other is None:
        return one if other is None else other
    return (max(one[0], other[0]), max(one[1], other[1]))
