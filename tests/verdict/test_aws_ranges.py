"""The list of AWS's ranges: compiled without a difference, and no more than a name."""

from __future__ import annotations

import json
import sys
from io import BytesIO
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowverdict.flowlog.records import DEFAULT_FORMATS
from flowverdict.verdict import aws_ranges
from flowverdict.verdict.aws_ranges import AwsRanges, Service, compiled_ranges
from flowverdict.verdict.batch import Batch
from flowverdict_cli.aws_ranges import load_ranges
from scripts import refresh_aws_ranges
from scripts.refresh_aws_ranges import LEFT_OUT, compiled, edges

if TYPE_CHECKING:
    from pathlib import Path

    from flowverdict.core.addresses import Address, Network
    from flowverdict.verdict.aws_ranges import Range

INSIDE = b"2 123456789012 eni-1 10.0.0.1 10.0.0.2 4000 22 6 1 40 1795521600 1795521620 REJECT OK\n"
SERVICES = st.builds(
    Service,
    name=st.sampled_from(("AMAZON", "EC2", "S3", "CLOUDFRONT")),
    region=st.sampled_from(("GLOBAL", "eu-west-1")),
)


@st.composite
def networks(draw: st.DrawFn) -> Range:
    """Draw a range, close enough to others that they overlap or touch."""
    if draw(st.booleans()):
        length = draw(st.integers(0, 32))
        first = draw(st.sampled_from((0, 0x34DA_0000, 0x34DA_1000, 0xFFFF_FFFF)))
        return 4, length, first >> 32 - length << 32 - length
    length = draw(st.integers(0, 128))
    first = draw(st.sampled_from((0, 0x2A05_D07A << 96, (1 << 128) - 1)))
    return 6, length, first >> 128 - length << 128 - length


LISTS = st.lists(st.tuples(networks(), SERVICES), max_size=12)


def network_of(each: Range) -> Network:
    version, length, first = each
    return IPv4Network((first, length)) if version == 4 else IPv6Network((first, length))


def expected(ranges: list[tuple[Range, Service]], address: Address) -> int:
    """Return how much the most telling service of an address tells; -1 without one."""
    return max(
        (service.telling for each, service in ranges if address in network_of(each)), default=-1
    )


def test_each_address_at_an_edge_has_the_most_telling_service_and_compiling_changes_none(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("compiled") / "aws_ranges.txt"

    @given(LISTS)
    def law(listed: list[tuple[Range, Service]]) -> None:
        ranges = AwsRanges("2026-11-24", listed)
        path.write_text(compiled(ranges))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(aws_ranges, "COMPILED", path)
            table = compiled_ranges.__wrapped__()
        assert table.date == "2026-11-24"
        for address in {*edges(ranges), *(network_of(each)[-1] for each, _ in listed)}:
            service = ranges.service_of(address)
            assert expected(listed, address) == (-1 if service is None else service.telling)
            left_out = service is not None and service.name in LEFT_OUT
            assert table.service_of(address) == (None if left_out else service)

    law()


@pytest.mark.parametrize(
    ("address", "service"),
    [
        ("52.218.24.9", "S3 in eu-west-1"),  # the narrowest, though EC2's is narrower still
        ("52.218.128.0", "EC2 in eu-west-1"),
        ("52.217.255.255", None),
        ("52.219.0.0", None),  # Amazon's, and of no service
        ("2a05:d07a:8000::1", "S3 in eu-south-1"),
        ("2a05:d07a:7fff::1", None),
    ],
)
def test_script_compiles_the_published_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, service: str | None
) -> None:
    def entry(key: str, network: str, region: str, name: str) -> dict[str, str]:
        return {key: network, "region": region, "service": name, "network_border_group": region}

    v4, v6 = "ip_prefix", "ipv6_prefix"
    published = {
        "syncToken": "1795517825",
        "createDate": "2026-11-24-12-17-05",
        "prefixes": [
            entry(v4, "52.218.0.0/16", "eu-west-1", "AMAZON"),
            entry(v4, "52.218.0.0/16", "eu-west-1", "EC2"),
            entry(v4, "52.218.0.0/17", "eu-west-1", "S3"),
            entry(v4, "52.218.0.0/17", "eu-west-1", "AMAZON"),
            entry(v4, "52.218.24.0/24", "eu-west-1", "EC2"),
            entry(v4, "52.219.0.0/16", "eu-west-1", "AMAZON"),
        ],
        "ipv6_prefixes": [entry(v6, "2a05:d07a:8000::/40", "eu-south-1", "S3")],
    }
    source, path = tmp_path / "ip-ranges.json", tmp_path / "aws_ranges.txt"
    source.write_text(json.dumps(published))
    monkeypatch.setattr(refresh_aws_ranges, "COMPILED", path)
    monkeypatch.setattr(aws_ranges, "COMPILED", path)
    monkeypatch.setattr(sys, "argv", ["refresh_aws_ranges.py", str(source)])
    refresh_aws_ranges.main()
    assert path.read_text() == (
        "2026-11-24\n"
        "EC2 eu-west-1 52.218.0.0/16\n"
        "S3 eu-south-1 2a05:d07a:8000::/40\n"
        "S3 eu-west-1 52.218.0.0/17\n"
    )
    found = compiled_ranges.__wrapped__().service_of(ip_address(address))
    assert (None if found is None else str(found)) == service
    assert load_ranges(source).service_of(ip_address("52.219.0.0")) == Service(
        name="AMAZON", region="eu-west-1"
    )


def test_list_without_a_date_is_not_compiled() -> None:
    with pytest.raises(ValueError, match="no date"):
        compiled(AwsRanges(None, []))


def test_list_of_this_version_is_small_and_read_only_when_an_address_has_to_be_named() -> None:
    assert aws_ranges.COMPILED.stat().st_size < 200_000
    assert str(compiled_ranges().service_of(ip_address("52.218.24.10"))) == "S3 in eu-west-1"
    compiled_ranges.cache_clear()
    read = Batch()
    read.add_file(BytesIO(INSIDE), name="flow.log", headerless=DEFAULT_FORMATS)
    assert len(read.explanations()) == 1
    assert compiled_ranges.cache_info().currsize == 0
