"""Records that are missing from what was read: why, of which interface, and when.

What was not seen shows nothing where its record may be missing. A loss concerns the interface that
it names, or every interface of its account and Region if it names none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flowlog.object_key import Origin, time_of
from flowverdict.flowlog.records import Action, LogStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowverdict.flowlog.records import RecordFormat

# A record's packets may be ten minutes older than its end, the longest aggregation interval, and
# its times may lie a minute late
# (https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html).
_LATEST_SECONDS = 660
# A file with more damaged interfaces counts as damaged in all of them.
_MAX_INTERFACES = 1_000
_INTERFACE = re.compile(r"eni-[0-9a-f]{8,17}")
_SECONDS = re.compile(r"[0-9]{1,11}")


class Loss(StrEnum):
    """Why records are missing."""

    SKIPPED = "skip-data"
    MALFORMED = "malformed-lines"
    NOT_READ = "source-not-read"


class Span(NamedTuple):
    """When the missing records were, in Unix seconds; ``None`` where that is not known."""

    first: int | None = None
    last: int | None = None

    def joined(self, other: Span) -> Span:
        """Return the time of both; what is not known of one is not known of both."""
        return Span(
            None if self.first is None or other.first is None else min(self.first, other.first),
            None if self.last is None or other.last is None else max(self.last, other.last),
        )


class _Concerned(NamedTuple):
    """Which records are missing; ``None`` where any may be."""

    loss: Loss
    interface: str | None
    account_id: str | None
    region: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Why records of a flow's interface are missing, and why they only may be."""

    surely: frozenset[Loss] = frozenset()
    perhaps: frozenset[Loss] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.surely or self.perhaps)


NOTHING_MISSING = Missing()


@dataclass(slots=True)
class Losses:
    """Losses of any number of sources: minima, maxima and sets, like all that is collected."""

    _by_interface: dict[str | None, dict[_Concerned, Span]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._by_interface)

    def __iter__(self) -> Iterator[tuple[Loss, str | None, Origin, Span]]:
        """Iterate over reason, interface, account and Region, and time of each loss."""
        for losses in self._by_interface.values():
            for (loss, interface, account_id, region), span in losses.items():
                yield loss, interface, Origin(account_id=account_id, region=region), span

    def add(
        self,
        loss: Loss,
        interface: str | None = None,
        origin: Origin = Origin(),  # noqa: B008 - frozen, nothing to share
        span: Span = Span(),  # noqa: B008 - as above
    ) -> None:
        """Add a loss; ``None`` and the defaults stand for what is not known."""
        key = _Concerned(loss, interface, origin.account_id, origin.region)
        losses = self._by_interface.setdefault(interface, {})
        losses[key] = span if key not in losses else losses[key].joined(span)

    @property
    def interfaces(self) -> int:
        """The number of interfaces that losses name."""
        return len(self._by_interface)

    def merge(self, other: Losses) -> None:
        """Add the losses of another source."""
        for loss in other:
            self.add(*loss)

    def concerning(self, interface: str | None, origin: Origin, last_end: int | None) -> Missing:
        """Return why records are or may be missing that concern a flow.

        Records of any time before the flow's may show its connection, and those of packets that
        were on the wire before the flow's last.

        Parameters
        ----------
        interface, origin
            The flow's own, as far as known.
        last_end
            When the flow's last record ended, in Unix seconds.
        """
        if interface not in self._by_interface and None not in self._by_interface:
            return NOTHING_MISSING
        perhaps = self._concerning(None, origin, last_end)
        if interface is None:
            return Missing(perhaps=perhaps)
        surely = self._concerning(interface, origin, last_end)
        return Missing(surely=surely, perhaps=perhaps - surely)

    def _concerning(
        self, interface: str | None, origin: Origin, last_end: int | None
    ) -> frozenset[Loss]:
        return frozenset(
            concerned.loss
            for concerned, span in self._by_interface.get(interface, {}).items()
            if _may_be_equal(concerned.account_id, origin.account_id)
            and _may_be_equal(concerned.region, origin.region)
            and (last_end is None or span.first is None or span.first <= last_end + _LATEST_SECONDS)
        )


def _may_be_equal(value: str | None, other: str | None) -> bool:
    return value is None or other is None or value == other


def span_of_file(name: str) -> Span:
    """Return when the records of a file were, as far as its name shows."""
    time = time_of(name)
    return Span() if time is None else Span(time - _LATEST_SECONDS, time + WINDOW - 1)


def add_malformed(losses: Losses, text: bytes, formats: Sequence[RecordFormat]) -> None:
    """Add what a malformed line may have been: no record that was read shows it.

    A line with as many words as its format has fields is damaged in a word and not in its order:
    it is a record of the interface and the time that it names. Nothing that counts is missing if
    it says that it was rejected or had no data, and no transit gateway's line shows a connection.
    Any other line may be of any interface and time.
    """
    words = text.decode("ascii", "replace").split()
    fitting = [known for known in formats if len(known.names) == len(words)]
    if formats and all(known.is_transit_gateway for known in fitting or formats):
        return
    if len(fitting) != 1:
        losses.add(Loss.MALFORMED)
        return
    named = dict(zip(fitting[0].names, words, strict=True))
    if named.get("action") == Action.REJECT or named.get("log-status") == LogStatus.NODATA:
        return
    interface: str | None = named.get("interface-id", "")
    if not _INTERFACE.fullmatch(interface or "") or losses.interfaces >= _MAX_INTERFACES:
        interface = None
    first, last = (
        int(word) if _SECONDS.fullmatch(word := named.get(name, "")) else None
        for name in ("start", "end")
    )
    losses.add(Loss.MALFORMED, interface, span=Span(first, last))
