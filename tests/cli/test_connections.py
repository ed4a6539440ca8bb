"""How much of how much: the failed connections of a problem among all that were seen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.helpers.command import write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.command import Runner

HEADER = (
    b"version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start"
    b" end action log-status tcp-flags flow-direction\n"
)
SERVER = "10.0.1.5"
SYN, OPENED = 2, 3


def record(
    source: str,
    destination: str,
    *,
    action: str = "ACCEPT",
    flags: int = OPENED,
    start: int = 1_795_521_600,
) -> bytes:
    """Return a record at the server's interface."""
    (srcaddr, srcport), (dstaddr, dstport) = source.split(":"), destination.split(":")
    direction = "ingress" if dstaddr == SERVER else "egress"
    return (
        f"2 123456789012 eni-0a1b2c3d {srcaddr} {dstaddr} {srcport} {dstport} 6 4 240 {start}"
        f" {start + 20} {action} OK {flags} {direction}\n"
    ).encode()


def rejected(port: int) -> bytes:
    """Return a rejected request to the database."""
    return record(f"10.0.2.20:{port}", f"{SERVER}:5432", action="REJECT", flags=SYN)


ACCEPTED = [
    *(record(f"10.0.3.{host}:40001", f"{SERVER}:5432") for host in range(1, 31)),
    *(record(f"{SERVER}:5432", f"10.0.3.{host}:40001", flags=19) for host in range(1, 31)),
    # Not of this service: another port, another host, the answer to the server's own request.
    record("10.0.3.1:40002", f"{SERVER}:22"),
    record(f"{SERVER}:40003", "10.0.4.4:5432"),
    record("10.0.4.4:5432", f"{SERVER}:40003", flags=19),
]


def how_much(run: Runner, *arguments: str | Path) -> list[str]:
    """Return what is said of each problem before its totals."""
    out = run("explain", *arguments).out
    return re.findall(r"How much  (?:(.* failed): )?\d", out)


@pytest.mark.parametrize("times", [1, 60], ids=["by line", "by column"])
def test_failed_connections_are_counted_among_all_to_the_service(
    run: Runner, tmp_path: Path, times: int
) -> None:
    # A connection counts once, however many records and files it has.
    again = [line.replace(b"17955216", b"17955218") for line in ACCEPTED] * times
    one = write(tmp_path / "one.log", HEADER, *ACCEPTED, rejected(50_001), rejected(50_001))
    two = write(tmp_path / "two.log", HEADER, *again, rejected(50_002))
    assert how_much(run, one, two) == ["2 of 32 inbound connections failed"]


def test_connection_that_was_accepted_too_counts_once(run: Runner, tmp_path: Path) -> None:
    opened = record("10.0.2.20:50001", f"{SERVER}:5432", start=1_795_521_900)
    log = write(tmp_path / "flow.log", HEADER, *ACCEPTED, rejected(50_001), opened)
    assert how_much(run, log) == ["1 of 31 inbound connections failed"]


def test_rejected_replies_are_of_the_connections_that_asked(run: Runner, tmp_path: Path) -> None:
    dropped = record(f"{SERVER}:5432", "10.0.3.1:40001", action="REJECT", flags=18)
    kept = [line for line in ACCEPTED if not line.startswith(dropped[:60])]
    log = write(tmp_path / "flow.log", HEADER, *kept, dropped)
    assert how_much(run, log) == ["1 of 30 inbound connections failed"]


def test_requests_of_the_interface_are_outbound(run: Runner, tmp_path: Path) -> None:
    dropped = record(f"{SERVER}:40009", "10.0.4.4:5432", action="REJECT", flags=SYN)
    log = write(tmp_path / "flow.log", HEADER, *ACCEPTED, dropped)
    assert how_much(run, log) == ["1 of 2 outbound connections failed"]


def test_nothing_is_said_where_accepted_flows_are_not_logged(run: Runner, tmp_path: Path) -> None:
    log = write(tmp_path / "rejects.log", HEADER, rejected(50_001), rejected(50_002))
    elsewhere = [line.replace(b"eni-0a1b2c3d", b"eni-0f9e8d7c") for line in ACCEPTED]
    other = write(tmp_path / "other.log", HEADER, *elsewhere)
    assert how_much(run, log) == [""]
    assert how_much(run, log, other) == [""]


def test_nothing_is_said_of_a_part_of_the_flows(run: Runner, tmp_path: Path) -> None:
    from_elsewhere = record("10.0.9.9:50001", f"{SERVER}:5432", action="REJECT", flags=SYN)
    log = write(tmp_path / "flow.log", HEADER, *ACCEPTED, rejected(50_001), from_elsewhere)
    assert how_much(run, log) == ["2 of 32 inbound connections failed"]
    assert how_much(run, log, "--remote", "10.0.9.0/24") == [""]


@pytest.mark.parametrize(
    "line",
    [
        b"2 123456789012 eni-0a1b2c3d - - - - - - - 1795521600 1795521660 - SKIPDATA - -\n",
        b"2 123456789012 eni-0a1b2c3d 10.0.3.1 10.0.1.5 40001\n",
    ],
    ids=["SKIPDATA", "malformed"],
)
def test_records_that_are_missing_make_it_the_least(
    run: Runner, tmp_path: Path, line: bytes
) -> None:
    log = write(tmp_path / "flow.log", HEADER, *ACCEPTED, rejected(50_001), line)
    assert "1 of at least 31 inbound connections failed" in how_much(run, log)
