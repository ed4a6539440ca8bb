"""``--aws-ranges``: the service of an address, where neither the records nor the rules name it."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flowverdict.verdict.aws_ranges import compiled_ranges
from flowverdict_cli.aws_ranges import load_ranges
from tests.helpers.command import write

if TYPE_CHECKING:
    from tests.helpers.command import Runner

SHOP = Path(__file__).parents[1] / "scenarios" / "shop.config.json"
# Entries of the kinds that https://ip-ranges.amazonaws.com/ip-ranges.json has.
RANGES = {
    "syncToken": "1795517825",
    "createDate": "2026-11-24-12-17-05",
    "prefixes": [
        {"ip_prefix": "52.218.0.0/17", "region": "eu-west-1", "service": "AMAZON"},
        {"ip_prefix": "52.218.0.0/17", "region": "eu-west-1", "service": "S3"},
        {"ip_prefix": "3.248.0.0/13", "region": "eu-west-1", "service": "AMAZON"},
        {"ip_prefix": "3.248.0.0/13", "region": "eu-west-1", "service": "EC2"},
        {"ip_prefix": "3.251.110.208/28", "region": "eu-west-1", "service": "AMAZON"},
        {"ip_prefix": "15.177.0.0/18", "region": "GLOBAL", "service": "ROUTE53_HEALTHCHECKS"},
    ],
    "ipv6_prefixes": [
        {"ipv6_prefix": "2a05:d07a:8000::/40", "region": "eu-south-1", "service": "S3"}
    ],
}
HEADER = (
    b"version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start"
    b" end action log-status tcp-flags flow-direction\n"
)


@pytest.fixture
def ranges(tmp_path: Path) -> Path:
    """Return the file of ranges."""
    return write(tmp_path / "ip-ranges.json", json.dumps(RANGES).encode())


def rejected(source: str, destination: str, port: int, direction: str) -> bytes:
    """Return a rejected request at the interface of 10.0.2.45."""
    return (
        f"2 123456789012 eni-0a1b2c3d {source} {destination} 40022 {port} 6 4 240 1795521600"
        f" 1795521620 REJECT OK 2 {direction}\n"
    ).encode()


@pytest.mark.parametrize(
    ("address", "service"),
    [
        ("52.218.24.10", "S3 in eu-west-1"),
        ("3.249.1.1", "EC2 in eu-west-1"),
        ("3.251.110.209", "EC2 in eu-west-1"),
        ("15.177.2.3", "ROUTE53_HEALTHCHECKS"),
        ("2a05:d07a:8000::1", "S3 in eu-south-1"),
        ("203.0.113.9", "None"),
        ("2001:db8::1", "None"),
    ],
)
def test_the_most_telling_service_of_an_address_is_found(
    ranges: Path, address: str, service: str
) -> None:
    assert str(load_ranges(ranges).service_of(ip_address(address))) == service


@pytest.mark.parametrize(
    ("source", "destination", "remote_end", "path", "severity"),
    [
        ("10.0.2.45", "52.218.24.10", "52.218.24.10, S3 in eu-west-1", "aws-service", "high"),
        (
            *("10.0.2.45", "3.249.1.1", "3.249.1.1, on the internet: EC2 in eu-west-1"),
            *("internet", "medium"),
        ),
        (
            *("15.177.2.3", "10.0.2.45", "15.177.2.3, on the internet: ROUTE53_HEALTHCHECKS"),
            *("internet", "low"),
        ),
        ("10.0.2.45", "203.0.113.9", None, None, "medium"),
    ],
)
def test_far_end_is_named_and_the_verdict_stays(  # noqa: PLR0913, PLR0917 - the columns
    run: Runner,
    tmp_path: Path,
    ranges: Path,
    source: str,
    destination: str,
    remote_end: str | None,
    path: str | None,
    severity: str,
) -> None:
    direction = "egress" if source == "10.0.2.45" else "ingress"
    log = write(tmp_path / "flow.log", HEADER, rejected(source, destination, 443, direction))
    named = json.loads(run("explain", "--output", "json", "--aws-ranges", ranges, log).out)
    words = None if remote_end is None else f"{remote_end} by AWS's list of 2026-11-24"
    assert (named["remote_end"], named["path"]) == (words, path)
    none = write(tmp_path / "none.json", b'{"prefixes": [], "ipv6_prefixes": []}')
    plain = json.loads(run("explain", "--output", "json", "--aws-ranges", none, log).out)
    assert {**plain, "remote_end": words, "path": path} == named
    alert = run("explain", "--output", "email", "--aws-ranges", ranges, log).out
    assert f"{severity} - " in alert.casefold() or f" {severity.upper()}]" in alert


def test_without_the_option_the_list_of_this_version_names(run: Runner, tmp_path: Path) -> None:
    log = write(tmp_path / "flow.log", HEADER, rejected("10.0.2.45", "52.218.24.10", 443, "egress"))
    named = json.loads(run("explain", "--output", "json", log).out)
    date = compiled_ranges().date
    assert named["remote_end"] == f"52.218.24.10, S3 in eu-west-1 by AWS's list of {date}"


def test_what_the_record_names_stays(run: Runner, tmp_path: Path, ranges: Path) -> None:
    header = HEADER.replace(b"\n", b" pkt-dst-aws-service\n")
    line = rejected("10.0.2.45", "52.218.24.10", 443, "egress").replace(b"\n", b" AMAZON\n")
    log = write(tmp_path / "flow.log", header, line)
    plain = run("explain", "--output", "json", log).out
    assert run("explain", "--output", "json", "--aws-ranges", ranges, log).out == plain


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"prefixes": [{}], "ipv6_prefixes": []}',
        (
            b'{"prefixes": [{"ip_prefix": "1.2.3.4/8", "region": "a", "service": "b"}],'
            b' "ipv6_prefixes": []}'
        ),
        (
            b'{"prefixes": [{"ip_prefix": "1.0.0.0/8", "region": "a", "service": "\\u001b[2J"}],'
            b' "ipv6_prefixes": []}'
        ),
        b'{"prefixes": [{"ip_prefix": 16777216, "region": "a", "service": "b"}]}',
        b'{"createDate": "soon", "prefixes": [], "ipv6_prefixes": []}',
        b"[" * 100_000,
    ],
)
def test_file_that_is_no_list_of_ranges_is_one_line_and_exit_2(
    run: Runner, tmp_path: Path, content: bytes
) -> None:
    path = write(tmp_path / "ranges.json", content)
    log = write(tmp_path / "flow.log", HEADER)
    outcome = run("explain", "--aws-ranges", path, log)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "not a list of AWS's ranges" in outcome.err


def test_missing_file_of_ranges_is_named(run: Runner, tmp_path: Path) -> None:
    outcome = run("explain", "--aws-ranges", tmp_path / "none.json", SHOP)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.endswith("none.json: no such file or directory\n")
