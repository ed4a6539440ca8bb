"""Name the AWS service of an address by the list of ranges that AWS publishes.

https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-ranges.html. The list says whose an address
is today, not which way a packet took: it names the far end where neither the records nor the rules
do, and changes no verdict.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from flowverdict.core.errors import FlowVerdictError
from flowverdict.core.untrusted import one_line
from flowverdict.flowlog.records import FlowDirection
from flowverdict.verdict.endpoints import Endpoints
from flowverdict.verdict.paths import NOT_A_SERVICE, SERVICES_OF_NO_STRANGERS, Path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path as FilePath

    from flowverdict.core.addresses import Address, Network
    from flowverdict.verdict.explanation import Explanation

# A range is in the list of its service and, as all are, in that of Amazon; those of EC2 hold
# customers' machines, and some services.
_LEAST_TELLING = ("AMAZON", "EC2")
_MAX_BYTES = 1 << 26  # the list has 2.6 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The service and the Region of a range, as AWS names them; ``GLOBAL`` is no Region."""

    name: str
    region: str

    def __str__(self) -> str:
        """Return the service in words: ``S3 in eu-west-1``."""
        return self.name if self.region == "GLOBAL" else f"{self.name} in {self.region}"


class AwsRanges:
    """The published ranges by their version, length and first address."""

    def __init__(self, ranges: Iterable[tuple[Network, Service]]) -> None:
        self._found: dict[tuple[int, int, int], Service] = {}
        for network, service in ranges:
            place = network.version, network.prefixlen, int(network.network_address)
            known = self._found.get(place)
            if known is None or _telling(service) > _telling(known):
                self._found[place] = service
        lengths = {(version, length) for version, length, _ in self._found}
        self._lengths: Mapping[int, list[int]] = {
            version: sorted((length for of, length in lengths if of == version), reverse=True)
            for version in (4, 6)
        }

    def service_of(self, address: Address) -> Service | None:
        """Return the most telling service of the ranges that hold an address."""
        bits = address.max_prefixlen
        services = (
            self._found.get(
                (address.version, length, int(address) >> bits - length << bits - length)
            )
            for length in self._lengths[address.version]
        )
        # Of several the narrowest range comes first, and stays.
        return max(filter(None, services), key=_telling, default=None)

    def named(self, explanation: Explanation) -> Explanation:
        """Return the explanation with its far end named, where nothing else names it."""
        flow, known = explanation.flow, explanation.endpoints
        logged = (flow.context.pkt_src_aws_service, flow.context.pkt_dst_aws_service)
        if (
            flow.remote is None
            or flow.direction is None
            or flow.packets_lost is not None
            or logged != (None, None)
            or (known is not None and known.path is not Path.INTERNET)
            or (service := self.service_of(flow.remote)) is None
        ):
            return explanation
        if not _may_be_internet(service, flow.direction):
            words, path = f"{flow.remote}, {service}", Path.AWS_SERVICE
        else:
            words, path = f"{flow.remote}, on the internet: {service}", Path.INTERNET
        if known is not None and known.remote != f"{flow.remote}, on the internet":
            return explanation  # the rules have a name for it
        if known is None:
            local = flow.key.interface or str(flow.local)
            known = Endpoints(local=local, remote=words, path=path, path_id=None, notes=())
        return replace(explanation, endpoints=replace(known, remote=words, path=path))


def _telling(service: Service) -> int:
    """Return how much a name tells: of a service most, of Amazon least."""
    return _LEAST_TELLING.index(service.name) if service.name in _LEAST_TELLING else 2


def _may_be_internet(service: Service, direction: FlowDirection) -> bool:
    """Whether a packet to or from a service may be anybody's (``verdict.paths``)."""
    if service.name in NOT_A_SERVICE:
        return True
    return direction is FlowDirection.INGRESS and service.name not in SERVICES_OF_NO_STRANGERS


def load_ranges(path: FilePath) -> AwsRanges:
    """Parse a file of ranges: https://ip-ranges.amazonaws.com/ip-ranges.json.

    Raises
    ------
    FlowVerdictError
        The file cannot be read, or is not such a list.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise FlowVerdictError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    if len(content) > _MAX_BYTES:
        raise FlowVerdictError(f"{path}: more than {_MAX_BYTES:,} bytes")
    try:
        document = json.loads(content)
        return AwsRanges(
            (
                ip_network(entry[key]),
                Service(name=_word(entry["service"]), region=_word(entry["region"])),
            )
            for of, key in (("prefixes", "ip_prefix"), ("ipv6_prefixes", "ipv6_prefix"))
            for entry in document[of]
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FlowVerdictError(
            f"{path}: not a list of AWS's ranges (ip-ranges.json): {one_line(repr(error))[:200]}"
        ) from error


def _word(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > 64:  # noqa: PLR2004 - AWS's have 31
        raise ValueError(f"{value!a} is not a name")
    return value
