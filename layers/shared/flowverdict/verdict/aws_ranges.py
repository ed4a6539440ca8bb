"""Name the AWS service of a far end by the list of ranges that AWS publishes.

https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-ranges.html. ``aws_ranges.txt`` beside this
module is such a list, compiled by ``scripts/refresh_aws_ranges.py``; it is read with the first
address that nothing else names. A list says whose an address was on its date, not which way a
packet took: the words say so, no verdict depends on it, and no address becomes one of the inside.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path as FilePath
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING

from flowverdict.core.addresses import is_inside
from flowverdict.flowlog.records import FlowDirection
from flowverdict.verdict.endpoints import Endpoints
from flowverdict.verdict.paths import NOT_A_SERVICE, SERVICES_OF_NO_STRANGERS, Path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.core.addresses import Address
    from flowverdict.verdict.explanation import Explanation

COMPILED = FilePath(__file__).with_suffix(".txt")

# A range is in the list of its service and, as all are, in that of Amazon; those of EC2 hold
# customers' machines, and some services.
_LEAST_TELLING = ("AMAZON", "EC2")
_BITS = {4: 32, 6: 128}

type Range = tuple[int, int, int]
"""The version of a range, the length of its prefix and its first address as a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The service and the Region of a range, as AWS names them; ``GLOBAL`` is no Region."""

    name: str
    region: str

    def __str__(self) -> str:
        """Return the service in words: ``S3 in eu-west-1``."""
        return self.name if self.region == "GLOBAL" else f"{self.name} in {self.region}"

    @property
    def telling(self) -> int:
        """How much the name tells: of a service most, of Amazon least."""
        return _LEAST_TELLING.index(self.name) if self.name in _LEAST_TELLING else 2


class AwsRanges:
    """A list of ranges, and its date (``2026-11-01``), ``None`` where the list has none."""

    def __init__(self, date: str | None, ranges: Iterable[tuple[Range, Service]]) -> None:
        self.date = date
        self.services: dict[Range, Service] = {}
        for each, service in ranges:
            known = self.services.get(each)
            if known is None or service.telling > known.telling:
                self.services[each] = service
        lengths: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for version, length, first in self.services:
            head = first >> _BITS[version] - 8
            for octet in range(head, head + (1 << max(0, 8 - length))):
                lengths[version, octet].add(length)
        # By the first octet, since most of the internet is not AWS's.
        self._lengths = {head: sorted(found, reverse=True) for head, found in lengths.items()}

    def range_of(self, address: Address) -> Range | None:
        """Return the range whose service tells most of those that hold an address."""
        version, bits, number = address.version, address.max_prefixlen, int(address)
        holding = (
            (version, length, number >> bits - length << bits - length)
            for length in self._lengths.get((version, number >> bits - 8), ())
        )
        # Of several the narrowest range comes first, and stays.
        return max(
            (each for each in holding if each in self.services),
            key=lambda each: self.services[each].telling,
            default=None,
        )

    def service_of(self, address: Address) -> Service | None:
        """Return the most telling service of the ranges that hold an address."""
        found = self.range_of(address)
        return None if found is None else self.services[found]


@lru_cache(maxsize=1)
def compiled_ranges() -> AwsRanges:
    """Read the list that comes with this version."""
    date, *lines = COMPILED.read_text(encoding="utf-8").splitlines()
    return AwsRanges(date, (each for line in lines for each in _ranges_in(line)))


def _ranges_in(line: str) -> Iterable[tuple[Range, Service]]:
    name, region, *ranges = line.split()
    service = Service(name=name, region=region)
    for text in ranges:
        first, _, length = text.partition("/")
        version, family = (6, AF_INET6) if ":" in first else (4, AF_INET)
        yield (version, int(length), int.from_bytes(inet_pton(family, first))), service


def name_far_end(explanation: Explanation, ranges: AwsRanges | None = None) -> Explanation:
    """Return the explanation with its far end named, where neither records nor rules name it.

    ``ranges`` is the list, ``None`` for the one that comes with this version.
    """
    flow, known = explanation.flow, explanation.endpoints
    logged = (flow.context.pkt_src_aws_service, flow.context.pkt_dst_aws_service)
    if (
        flow.remote is None
        or is_inside(flow.remote)
        or flow.direction is None
        or flow.packets_lost is not None
        or logged != (None, None)
        or (known is not None and known.path is not Path.INTERNET)
    ):
        return explanation
    ranges = compiled_ranges() if ranges is None else ranges
    service = _service_at(ranges, flow.remote)
    unnamed = f"{flow.remote}, on the internet"
    if service is None or (known is not None and known.remote != unnamed):
        return explanation
    source = "AWS's list" if ranges.date is None else f"AWS's list of {ranges.date}"
    if _may_be_internet(service, flow.direction):
        words, path = f"{unnamed}: {service} by {source}", Path.INTERNET
    else:
        words, path = f"{flow.remote}, {service} by {source}", Path.AWS_SERVICE
    if known is None:
        known = Endpoints(local=None, remote=words, path=path, path_id=None, notes=())
    return replace(explanation, endpoints=replace(known, remote=words, path=path))


@lru_cache(maxsize=65_536)  # many flows have one far end
def _service_at(ranges: AwsRanges, address: Address) -> Service | None:
    return ranges.service_of(address)


def _may_be_internet(service: Service, direction: FlowDirection) -> bool:
    """Whether a packet to or from a service may be anybody's (``verdict.paths``)."""
    if service.name in NOT_A_SERVICE:
        return True
    return direction is FlowDirection.INGRESS and service.name not in SERVICES_OF_NO_STRANGERS
