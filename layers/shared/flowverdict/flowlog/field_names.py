"""Tell which field a column's name means, and which field a misspelt name was meant to be.

AWS writes one field in several ways: with hyphens in flow logs, with underscores in Parquet and in
Athena (https://docs.aws.amazon.com/athena/latest/ug/vpc-flow-logs-create-table-statement.html), in
camel case in CloudWatch Logs Insights
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_AnalyzeLogData-discoverable-fields.html).
"""

from __future__ import annotations

import re
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from flowverdict.flowlog.fields import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


_OTHER_NAMES = {
    "account": "account-id",
    "accountnumber": "account-id",
    "interface": "interface-id",
    "eni": "interface-id",
    "eniid": "interface-id",
    "sourceaddress": "srcaddr",
    "sourceip": "srcaddr",
    "srcip": "srcaddr",
    "destinationaddress": "dstaddr",
    "destinationip": "dstaddr",
    "destaddr": "dstaddr",
    "dstip": "dstaddr",
    "sourceport": "srcport",
    "destinationport": "dstport",
    "destport": "dstport",
    "numpackets": "packets",
    "numbytes": "bytes",
    "starttime": "start",
    "endtime": "end",
    "status": "log-status",
    "direction": "flow-direction",
    "vpc": "vpc-id",
    "subnet": "subnet-id",
    "instance": "instance-id",
    "pktsrc": "pkt-srcaddr",
    "pktdst": "pkt-dstaddr",
}


def _compact(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_BY_COMPACT: Mapping[str, str] = MappingProxyType(
    {_compact(name): name for name in FIELDS} | _OTHER_NAMES
)
# Columns in which a record stands whole.
_MESSAGES = frozenset({"message", "@message", "rawmessage", "log", "event", "record"})
MAX_NAME = 64


@lru_cache(maxsize=1_024)
def field_of(name: str) -> str | None:
    """Return the AWS name of the field that a column is named after, ``None`` for no field."""
    return None if len(name) > MAX_NAME else _BY_COMPACT.get(_compact(name))


def is_message(name: str) -> bool:
    """Whether a column of this name holds whole records."""
    return name.lower() in _MESSAGES


@lru_cache(maxsize=1_024)  # a document of a million events has few names
def meant_by(name: str) -> str | None:
    """Return the field that a misspelt name was most likely meant to be, ``None`` for none.

    A name that differs from a field in a number only is not misspelt: AWS numbers further fields
    (``instance-tag-2``).
    """
    if name in FIELDS or len(name) > MAX_NAME:
        return None
    if (same := field_of(name)) is not None:
        return same
    letters = re.sub(r"[0-9]", "", name)
    nearest = min(FIELDS, key=lambda field: (_distance(name, field), field))
    if re.sub(r"[0-9]", "", nearest) == letters:
        return None
    allowed = 1 if len(nearest) <= _SHORT else 2
    return nearest if _distance(name, nearest) <= allowed else None


_SHORT = 6  # letters; two changes make another word of a name that is not longer


def misspelt(names: Iterable[str]) -> str | None:
    """Return what to say of the first misspelt name, ``None`` if none is misspelt.

    A field that the names hold already is not what another of them was meant to be.
    """
    names = tuple(names)
    for name in names:
        meant = meant_by(name)
        if meant is not None and meant not in names:
            return f"{name[:MAX_NAME]!r} is not a field name; {meant} is the nearest"
    return None


@lru_cache(maxsize=16_384)
def _distance(one: str, other: str) -> int:
    """Return how many letters are changed, left out, added or swapped with their neighbour."""
    if abs(len(one) - len(other)) > 2:  # noqa: PLR2004 - more than is ever allowed
        return len(one) + len(other)
    before: list[int] = []
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one, 1):
        above, before, row = before, row, [place]
        for column, second in enumerate(other, 1):
            cost = min(before[column] + 1, row[-1] + 1, before[column - 1] + (letter != second))
            if above and column > 1 and letter == other[column - 2] and second == one[place - 2]:
                cost = min(cost, above[column - 2] + 1)
            row.append(cost)
    return row[-1]
