"""The flow log files of ``make scale``, and the events that name them."""

from __future__ import annotations

import gzip
import io
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from benchmarks.generate import DEFAULT_HEADER
from flowverdict.flowlog.columnar import WINDOW
from flowverdict_cli.cost_model import BATCH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.counted_aws import Simulation
    from flowverdict.flowlog.object_key import ObjectRef

BEGIN = 1_795_521_600
PERIODS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What comes in.

    Parameters
    ----------
    files
        Flow logs of an account's Region; each writes a file in five minutes.
    records, interfaces
        Of a file.
    rejected
        Share of the records. Half of them are replies to an accepted request of the file.
    alerts
        Interfaces whose records are rejected: each has an alert of its requests, and one of its
        replies, which are open before.
    at_once
        Functions at once.
    batch
        Files that come to one function together, at the most.
    """

    files: int
    records: int = 100
    interfaces: int = 10
    rejected: float = 0.01
    alerts: int = 10
    at_once: int = 10
    batch: int = BATCH


class Files:
    """The bucket of flow log files, made before they are read."""

    def __init__(self, load: Load, simulation: Simulation) -> None:
        self._simulation = simulation
        self.keys = [
            [_key(number, period) for number in range(load.files)] for period in range(PERIODS)
        ]
        rng = Random(1)  # noqa: S311 - the same files each time
        self._contents = {
            key: gzip.compress(_text(load, number, period, rng).encode(), 1)
            for period, keys in enumerate(self.keys)
            for number, key in enumerate(keys)
        }

    @contextmanager
    def open(self, ref: ObjectRef) -> Iterator[BinaryIO]:
        """Yield a file, and count a GET."""
        self._simulation.call("GET")
        yield cast("BinaryIO", io.BytesIO(self._contents[ref.key]))


def _key(number: int, period: int) -> str:
    return (
        "AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/11/24/"
        f"123456789012_vpcflowlogs_eu-west-1_fl-{number:017x}_20261124T12{5 * period:02d}Z_"
        f"{number:08x}.log.gz"
    )


def _text(load: Load, number: int, period: int, rng: Random) -> str:
    """Return a file: its records end in its own five minutes and in the first of the next."""
    lines = [DEFAULT_HEADER]
    begin = BEGIN + period * WINDOW + 30
    rejects = round(load.rejected * load.records * (number + 1)) - round(
        load.rejected * load.records * number
    )
    for _ in range(load.records - rejects):
        interface = rng.randrange(load.interfaces)
        own = f"10.{number >> 8}.{number & 255}.{4 + interface}"
        name = f"eni-0{number:08x}{interface:08x}"
        request = f"{_remote(rng)} {own} {_port(rng)} 443"
        lines.append(_line(name, request, begin + rng.randrange(WINDOW), "ACCEPT"))
    for record in range(rejects):
        problem = (number + record) % load.alerts
        name, own = f"eni-0{'f' * 8}{problem:08x}", f"10.200.{problem >> 8}.{problem & 255}"
        remote, port = _remote(rng), _port(rng)
        request = f"{remote} {own} {port} 5432"
        is_reply = (number + record) // load.alerts % 2 == 1
        if is_reply:
            lines.append(_line(name, request, begin, "ACCEPT"))
            request = f"{own} {remote} 5432 {port}"
        lines.append(_line(name, request, begin + rng.randrange(WINDOW), "REJECT"))
    return "\n".join([*lines, ""])


def _remote(rng: Random) -> str:
    return f"203.0.{rng.randrange(256)}.{rng.randrange(1, 255)}"


def _port(rng: Random) -> int:
    return 1_024 + rng.randrange(64_000)


def _line(interface: str, ends: str, end: int, action: str) -> str:
    return f"2 123456789012 {interface} {ends} 6 3 180 {end - 20} {end} {action} OK"


def event_of(keys: Sequence[str]) -> dict[str, Any]:
    """Return S3's event of new files."""
    record = {
        "eventSource": "aws:s3",
        "awsRegion": "eu-west-1",
        "eventName": "ObjectCreated:Put",
        "eventVersion": "2.1",
    }
    return {
        "Records": [
            record
            | {"s3": {"bucket": {"name": "logs"}, "object": {"key": key, "size": 1, "eTag": "e"}}}
            for key in keys
        ]
    }
