"""Write ``verdict/aws_ranges.txt``, the services of AWS's ranges, from the list that AWS publishes.

Download https://ip-ranges.amazonaws.com/ip-ranges.json first, then run
``refresh_aws_ranges.py ip-ranges.json``.

Ranges that are Amazon's and of no service that AWS names are left out: they say least and change
most. Of the addresses in such ranges in the list of 2022-09-01, 37 % are in no list of 2026-08-22,
and 43 % are those of customers' machines there. Of the addresses of S3 then, 98 % are S3's in the
later list and the rest in none; of those of DynamoDB, API Gateway and Route 53's health checks, all
are still theirs.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING

from flowverdict.verdict.aws_ranges import COMPILED
from flowverdict_cli.aws_ranges import load_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict.core.addresses import Address, Network
    from flowverdict.verdict.aws_ranges import AwsRanges, Range

LEFT_OUT = frozenset({"AMAZON"})


def compiled(ranges: AwsRanges) -> str:
    """Return the lines of the table: the date, then service, Region and ranges.

    Raises
    ------
    ValueError
        The list has no date.
    """
    if ranges.date is None:
        raise ValueError("the list has no date (createDate)")
    deciding = {ranges.range_of(address) for address in edges(ranges)} - {None}
    lines: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for each in sorted(filter(None, deciding)):
        service = ranges.services[each]
        if service.name not in LEFT_OUT:
            lines[service.name, service.region].append(str(_network(each)))
    rows = (" ".join([*of, *networks]) for of, networks in sorted(lines.items()))
    return "\n".join([ranges.date, *rows, ""])


def edges(ranges: AwsRanges) -> Iterator[Address]:
    """Yield each address from which on, to the next one, all addresses have one service."""
    for each in ranges.services:
        network = _network(each)
        address = IPv4Address if network.version == 4 else IPv6Address  # noqa: PLR2004 - IPv4
        yield network[0]
        if int(network[-1]) + 1 < 1 << network.max_prefixlen:
            yield address(int(network[-1]) + 1)


def _network(each: Range) -> Network:
    version, length, first = each
    return (IPv4Network if version == 4 else IPv6Network)((first, length))  # noqa: PLR2004 - IPv4


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ranges", type=Path)
    COMPILED.write_text(compiled(load_ranges(parser.parse_args().ranges)), encoding="utf-8")


if __name__ == "__main__":
    main()
