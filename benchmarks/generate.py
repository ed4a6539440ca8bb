"""Flow log files for benchmarks: the same bytes for the same arguments, on any machine.

A file has a few hundred interfaces in a dozen subnets of one VPC; connections between them and to
the internet, each logged in both directions on one interface; a few per cent IPv6; records of ten
minutes in no order. Of the rejected records, a third are replies to a connection that was accepted
in the same file. The others are unsolicited: a few scanners again and again, or (``distinct``) a
flow of its own for every record.
"""

from __future__ import annotations

import argparse
import gzip
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import batched, islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEFAULT_HEADER = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes"
    " start end action log-status"
)
CUSTOM_HEADER = (
    f"{DEFAULT_HEADER} vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr region"
    " az-id sublocation-type sublocation-id pkt-src-aws-service pkt-dst-aws-service flow-direction"
    " traffic-path"
)
HEADERS = {"default": DEFAULT_HEADER, "custom": CUSTOM_HEADER}

_SEED = 20_261_124
_BEGIN = 1_795_521_600
_WINDOW_SECONDS = 600
_INTERFACES = 300
_SUBNETS = 12
_REMOTES = 20_000
_SCANNERS = 40
_IPV6_SHARE = 0.03
_REPLY_SHARE = 1 / 3
_NO_DATA_SHARE = 0.000_5
_TCP, _UDP = 6, 17
_ACCEPT, _REJECT = "ACCEPT", "REJECT"
_INGRESS, _EGRESS = "ingress", "egress"
_SERVICES = (443, 443, 443, 443, 80, 53, 5432, 5432, 6379, 8080, 22, 3306, 9092, 123)
_UDP_PORTS = {53, 123}
_PARQUET_TYPES = dict.fromkeys(
    ("version", "srcport", "dstport", "protocol", "tcp-flags", "traffic-path"), "INTEGER"
) | dict.fromkeys(("packets", "bytes", "start", "end"), "BIGINT")
_LINES_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class _Interface:
    name: str
    v4: str
    v6: str
    subnet: str
    instance: str
    az: str


@dataclass(frozen=True, slots=True)
class Spec:
    """What one file holds."""

    name: str
    record_format: str
    records: int
    reject_share: float
    distinct: bool = False


FILES = {
    spec.name: spec
    for spec in (
        Spec("default-200k", "default", 200_000, 0.01),
        Spec("default-1m", "default", 1_000_000, 0.01),
        Spec("default-5m", "default", 5_000_000, 0.01),
        # What is rejected in most accounts: little, and each time something else.
        Spec("default-1m-few-rejects", "default", 1_000_000, 0.005, distinct=True),
        Spec("custom-200k", "custom", 200_000, 0.01),
        Spec("custom-1m", "custom", 1_000_000, 0.01),
        Spec("custom-5m", "custom", 5_000_000, 0.01),
        Spec("default-1m-rejects", "default", 1_000_000, 0.2, distinct=True),
        Spec("default-5m-rejects", "default", 5_000_000, 0.2, distinct=True),
    )
}


def _interfaces(rng: Random) -> list[_Interface]:
    return [
        _Interface(
            name=f"eni-0{rng.getrandbits(64):016x}",
            v4=str(IPv4Address((10 << 24) + (number % _SUBNETS << 8) + 4 + number // _SUBNETS)),
            v6=str(
                IPv6Address(
                    (0x2A05D0180ABC << 80) + ((number % _SUBNETS) << 64) + rng.getrandbits(64)
                )
            ),
            subnet=f"subnet-0{number % _SUBNETS:016x}",
            instance=f"i-0{rng.getrandbits(64):016x}",
            az=f"euw1-az{1 + number % 3}",
        )
        for number in range(_INTERFACES)
    ]


def _public_v4(rng: Random) -> str:
    return str(IPv4Address(rng.randrange(0x2C000000, 0xDF000000)))


def _public_v6(rng: Random) -> str:
    return str(IPv6Address((0x2A00 << 112) + (rng.getrandbits(16) << 96) + rng.getrandbits(64)))


class _Flow(NamedTuple):
    at: _Interface
    source: str
    destination: str
    source_port: int
    destination_port: int
    protocol: int
    direction: str
    action: str
    start: int


type _Line = Callable[[_Flow, int], str]


def _default_line(flow: _Flow, bits: int) -> str:
    at, source, destination, source_port, destination_port, protocol, _, action, start = flow
    packets = 1 + (bits & 0x1F)
    size = packets * (40 + (bits >> 5 & 0x3FF))
    return (
        f"2 123456789012 {at.name} {source} {destination} {source_port} {destination_port}"
        f" {protocol} {packets} {size} {start} {start + 1 + (bits >> 15 & 0x3F)} {action} OK\n"
    )


def _custom_line(flow: _Flow, bits: int) -> str:
    at, source, destination, source_port, destination_port, protocol, direction, action, start = (
        flow
    )
    packets = 1 + (bits & 0x1F)
    size = packets * (40 + (bits >> 5 & 0x3FF))
    flags = 0 if protocol != _TCP else (2, 3, 18, 19)[bits >> 21 & 3] if action == _ACCEPT else 2
    kind = "IPv6" if ":" in source else "IPv4"
    service = "S3" if bits >> 23 & 0xF == 0 else "-"
    services, path = (f"- {service}", "1") if direction == _EGRESS else (f"{service} -", "-")
    return (
        f"5 123456789012 {at.name} {source} {destination} {source_port} {destination_port}"
        f" {protocol} {packets} {size} {start} {start + 1 + (bits >> 15 & 0x3F)} {action} OK"
        f" vpc-0a1b2c3d4e5f67890 {at.subnet} {at.instance} {flags} {kind} {source} {destination}"
        f" eu-west-1 {at.az} - - {services} {direction} {path}\n"
    )


_LINES: dict[str, _Line] = {"default": _default_line, "custom": _custom_line}


class _Network:
    """Draws records of one VPC, always the same ones for a file's name."""

    def __init__(self, spec: Spec) -> None:
        self.rng = rng = Random(f"{_SEED} {spec.name}")  # noqa: S311 - the same bytes every time
        self._spec = spec
        self._line = _LINES[spec.record_format]
        self._interfaces = _interfaces(rng)
        self._remotes = [_public_v4(rng) for _ in range(_REMOTES)]
        self._remotes_v6 = [_public_v6(rng) for _ in range(_REMOTES // 20)]
        self._scanners = [
            (_public_v4(rng), rng.choice((22, 23, 445, 3389, 8080))) for _ in range(_SCANNERS)
        ]
        self._scanned = 0

    def interface(self) -> _Interface:
        return self._interfaces[int(self.rng.random() * _INTERFACES)]

    def no_data(self, at: _Interface, start: int) -> str:
        """Return a record without traffic, or of lost records."""
        status = "SKIPDATA" if self.rng.getrandbits(4) == 0 else "NODATA"
        custom = self._spec.record_format == "custom"
        version, end = (5, " -" * 15) if custom else (2, "")
        return (
            f"{version} 123456789012 {at.name} - - - - - - - {start} {start + 60} - {status}{end}\n"
        )

    def unsolicited(self, at: _Interface, start: int) -> str:
        """Return the rejected record of a scanner."""
        rng = self.rng
        if self._spec.distinct:
            self._scanned += 1
            remote = str(IPv4Address(0x50000000 + self._scanned // 40_000))
            ports = (1024 + self._scanned % 40_000, 22 + self._scanned % 977)
        else:
            remote, port = self._scanners[int(rng.random() * _SCANNERS)]
            ports = (40_000 + rng.getrandbits(9), port)
        flow = _Flow(at, remote, at.v4, *ports, _TCP, _INGRESS, _REJECT, start)
        return self._line(flow, rng.getrandbits(32))

    def connection(self, at: _Interface, start: int, reply: str) -> Iterator[str]:
        """Yield the records of both directions; the second packet has the action ``reply``."""
        rng = self.rng
        service = _SERVICES[int(rng.random() * len(_SERVICES))]
        protocol = _UDP if service in _UDP_PORTS else _TCP
        ephemeral = 32_768 + int(rng.random() * 28_232)
        kind = rng.random()
        own, remote = self._addresses(at, kind)
        outgoing = kind > 0.3  # noqa: PLR2004 - of the traffic inside, half is outgoing
        near, far = (ephemeral, service) if outgoing else (service, ephemeral)
        sent, received = (_ACCEPT, reply) if outgoing else (reply, _ACCEPT)
        out = _Flow(at, own, remote, near, far, protocol, _EGRESS, sent, start)
        back = _Flow(at, remote, own, far, near, protocol, _INGRESS, received, start)
        yield self._line(out, rng.getrandbits(32))
        yield self._line(back, rng.getrandbits(32))

    def _addresses(self, at: _Interface, kind: float) -> tuple[str, str]:
        random = self.rng.random
        if kind < _IPV6_SHARE:
            return at.v6, self._remotes_v6[int(random() * random() * len(self._remotes_v6))]
        if kind < 0.6:  # noqa: PLR2004 - most traffic stays inside
            return at.v4, self._interfaces[int(random() * _INTERFACES)].v4
        return at.v4, self._remotes[int(random() * random() * _REMOTES)]


def lines(spec: Spec) -> Iterator[str]:
    """Yield the records of a file without its header, exactly as many as the specification says."""
    return islice(_lines(spec), spec.records)


def _lines(spec: Spec) -> Iterator[str]:
    network = _Network(spec)
    random = network.rng.random
    # The share of draws that reject. A third of those, and all draws that accept, give two records,
    # so that there are fewer than two records a draw.
    share = 2 * spec.reject_share / (1 + spec.reject_share * (1 - _REPLY_SHARE))
    while True:
        at = network.interface()
        start = _BEGIN + int(random() * _WINDOW_SECONDS)
        what = random()
        if what < _NO_DATA_SHARE:
            yield network.no_data(at, start)
        elif what < _NO_DATA_SHARE + share * (1 - _REPLY_SHARE):
            yield network.unsolicited(at, start)
        else:
            reply = _REJECT if what > 1 - share * _REPLY_SHARE else _ACCEPT
            yield from network.connection(at, start, reply)


def write(spec: Spec, folder: Path) -> Path:
    """Write a file as AWS does, gzipped with a header, unless it exists; return its path."""
    path = folder / f"{spec.name}.log.gz"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with (
        unfinished.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed,
    ):
        packed.write(f"{HEADERS[spec.record_format]}\n".encode())
        for some in batched(lines(spec), _LINES_AT_ONCE, strict=False):
            packed.write("".join(some).encode())
    unfinished.rename(path)
    return path


def write_parquet(path: Path) -> Path:
    """Write the records of a file as Parquet, columns gzipped and of AWS's types, unless it exists.

    Returns
    -------
    Path
        The Parquet file, beside the text.
    """
    parquet = path.with_name(path.name.replace(".log.gz", ".parquet"))
    if parquet.exists():
        return parquet
    import duckdb  # noqa: PLC0415 - only for this

    with gzip.open(path, "rt") as file:
        names = file.readline().split()
    columns = {name.replace("-", "_"): _PARQUET_TYPES.get(name, "VARCHAR") for name in names}
    text = (
        f"read_csv('{path}', columns = {columns}, delim = ' ', header = true, nullstr = '-',"
        " quote = '', escape = '')"
    )
    unfinished = parquet.with_suffix(".part")
    with duckdb.connect(config={"threads": 1}) as database:
        database.execute(f"COPY (FROM {text}) TO '{unfinished}' (FORMAT parquet, CODEC gzip)")
    unfinished.rename(parquet)
    return parquet


def main() -> None:
    """Write the named files, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", choices=[*FILES, []], help="the files to write; default: all"
    )
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    arguments = parser.parse_args()
    for name in arguments.names or FILES:
        print(write(FILES[name], arguments.folder))


if __name__ == "__main__":
    main()
