"""Flow log files for benchmarks: the same bytes for the same arguments, on any machine.

What they look like: a few hundred interfaces in a dozen subnets of one VPC; connections to one another and to the internet,
each logged in both directions on the interface it was seen at; a few per cent IPv6; records of ten minutes in no order. Of the
rejected records, a third are replies to a connection that was accepted in the same file, the rest are unasked for: mostly a
few scanners over and over, or (``distinct``) every one a flow of its own.
"""

from __future__ import annotations

import argparse
import gzip
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEFAULT_HEADER = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
CUSTOM_HEADER = (
    f"{DEFAULT_HEADER} vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr region az-id sublocation-type"
    " sublocation-id pkt-src-aws-service pkt-dst-aws-service flow-direction traffic-path"
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
    """One file: its name says what is in it."""

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
        f"2 123456789012 {at.name} {source} {destination} {source_port} {destination_port} {protocol} {packets} {size}"
        f" {start} {start + 1 + (bits >> 15 & 0x3F)} {action} OK\n"
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
        f"5 123456789012 {at.name} {source} {destination} {source_port} {destination_port} {protocol} {packets} {size}"
        f" {start} {start + 1 + (bits >> 15 & 0x3F)} {action} OK"
        f" vpc-0a1b2c3d4e5f67890 {at.subnet} {at.instance} {flags} {kind} {source} {destination} eu-west-1 {at.az} - -"
        f" {services} {direction} {path}\n"
    )


_LINES: dict[str, _Line] = {"default": _default_line, "custom": _custom_line}


def _no_data(spec: Spec, at: _Interface, start: int, status: str) -> str:
    end = " -" * 15 if spec.record_format == "custom" else ""
    version = 5 if spec.record_format == "custom" else 2
    return f"{version} 123456789012 {at.name} - - - - - - - {start} {start + 60} - {status}{end}\n"


def lines(spec: Spec) -> Iterator[str]:
    """Yield the records of a file, exactly as many as it says; without the header."""
    rng = Random(f"{_SEED} {spec.name}")  # noqa: S311 - the same bytes every time
    line = _LINES[spec.record_format]
    interfaces = _interfaces(rng)
    remotes = [_public_v4(rng) for _ in range(_REMOTES)]
    remotes_v6 = [_public_v6(rng) for _ in range(_REMOTES // 20)]
    scanners = [(_public_v4(rng), rng.choice((22, 23, 445, 3389, 8080))) for _ in range(_SCANNERS)]
    random = rng.random
    left = spec.records
    # Draws that reject. A third of them, as all that accept, give two records, so that records are fewer than two a draw.
    share = 2 * spec.reject_share / (1 + spec.reject_share * (1 - _REPLY_SHARE))
    scanned = 0
    while left > 0:
        at = interfaces[int(random() * _INTERFACES)]
        start = _BEGIN + int(random() * _WINDOW_SECONDS)
        what = random()
        if what < _NO_DATA_SHARE:
            left -= 1
            yield _no_data(spec, at, start, "SKIPDATA" if rng.getrandbits(4) == 0 else "NODATA")
            continue
        if what < _NO_DATA_SHARE + share * (1 - _REPLY_SHARE):
            left -= 1
            if spec.distinct:
                scanned += 1
                remote = str(IPv4Address(0x50000000 + scanned // 40_000))
                ports = (1024 + scanned % 40_000, 22 + scanned % 977)
            else:
                remote, port = scanners[int(random() * _SCANNERS)]
                ports = (40_000 + rng.getrandbits(9), port)
            yield line(
                _Flow(at, remote, at.v4, *ports, _TCP, _INGRESS, _REJECT, start),
                rng.getrandbits(32),
            )
            continue
        service = _SERVICES[int(random() * len(_SERVICES))]
        protocol = _UDP if service in _UDP_PORTS else _TCP
        ephemeral = 32_768 + int(random() * 28_232)
        kind = random()
        if kind < _IPV6_SHARE:
            own, remote = at.v6, remotes_v6[int(random() * random() * len(remotes_v6))]
        elif kind < 0.6:  # noqa: PLR2004 - most traffic stays inside
            own, remote = at.v4, interfaces[int(random() * _INTERFACES)].v4
        else:
            own, remote = at.v4, remotes[int(random() * random() * _REMOTES)]
        outgoing = kind > 0.3  # noqa: PLR2004
        near, far = (ephemeral, service) if outgoing else (service, ephemeral)
        reply = _REJECT if what > 1 - share * _REPLY_SHARE else _ACCEPT
        sent, received = (_ACCEPT, reply) if outgoing else (reply, _ACCEPT)
        yield line(
            _Flow(at, own, remote, near, far, protocol, _EGRESS, sent, start), rng.getrandbits(32)
        )
        if left > 1:
            yield line(
                _Flow(at, remote, own, far, near, protocol, _INGRESS, received, start),
                rng.getrandbits(32),
            )
        left -= 2


def write(spec: Spec, folder: Path) -> Path:
    """Write a file as AWS does, gzipped with a header, unless it is there already."""
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
        held: list[str] = []
        for line in lines(spec):
            held.append(line)
            if len(held) == _LINES_AT_ONCE:
                packed.write("".join(held).encode())
                held.clear()
        packed.write("".join(held).encode())
    unfinished.rename(path)
    return path


def write_parquet(path: Path) -> Path:
    """Write the records of such a file as Parquet, its columns gzipped and of AWS's types, unless it is there already."""
    parquet = path.with_name(path.name.replace(".log.gz", ".parquet"))
    if parquet.exists():
        return parquet
    import duckdb  # noqa: PLC0415 - only for this

    with gzip.open(path, "rt") as file:
        names = file.readline().split()
    columns = {name.replace("-", "_"): _PARQUET_TYPES.get(name, "VARCHAR") for name in names}
    text = f"read_csv('{path}', columns = {columns}, delim = ' ', header = true, nullstr = '-', quote = '', escape = '')"
    unfinished = parquet.with_suffix(".part")
    with duckdb.connect(config={"threads": 1}) as database:
        database.execute(f"COPY (FROM {text}) TO '{unfinished}' (FORMAT parquet, CODEC gzip)")
    unfinished.rename(parquet)
    return parquet


def main() -> None:
    """Write the files named, or all of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", choices=[*FILES, []], help="which files; all of them without"
    )
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    arguments = parser.parse_args()
    for name in arguments.names or FILES:
        print(write(FILES[name], arguments.folder))


if __name__ == "__main__":
    main()
