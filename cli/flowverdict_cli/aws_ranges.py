"""Read ``ip-ranges.json``, the list of ranges that AWS publishes.

https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-syntax.html.
"""

from __future__ import annotations

import json
import re
from ipaddress import ip_network
from typing import TYPE_CHECKING

from flowverdict.core.errors import FlowVerdictError
from flowverdict.core.untrusted import one_line
from flowverdict.verdict.aws_ranges import AwsRanges, Service

if TYPE_CHECKING:
    from pathlib import Path

    from flowverdict.verdict.aws_ranges import Range

_MAX_BYTES = 1 << 26  # the list has 2.6 MB
_CREATED = re.compile(r"(20[0-9]{2}-[0-9]{2}-[0-9]{2})(?:-[0-9]{2}){3}")
_WORD = re.compile(r"[A-Za-z0-9_-]{1,64}")  # AWS's have up to 31


def load_ranges(path: Path) -> AwsRanges:
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
            _date(document.get("createDate")),
            (
                (
                    _range(entry[key]),
                    Service(name=_word(entry["service"]), region=_word(entry["region"])),
                )
                for of, key in (("prefixes", "ip_prefix"), ("ipv6_prefixes", "ipv6_prefix"))
                for entry in document[of]
            ),
        )
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise FlowVerdictError(
            f"{path}: not a list of AWS's ranges (ip-ranges.json): {one_line(repr(error))[:200]}"
        ) from error


def _date(text: object) -> str | None:
    if text is None:
        return None
    found = _CREATED.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{text!a} is not a date")
    return found[1]


def _range(text: object) -> Range:
    if not isinstance(text, str):  # a number would be an address
        raise TypeError(f"{text!a} is not a range")
    network = ip_network(text)
    return network.version, network.prefixlen, int(network.network_address)


def _word(value: object) -> str:
    if not isinstance(value, str) or _WORD.fullmatch(value) is None:
        raise ValueError(f"{value!a} is not a name")
    return value
