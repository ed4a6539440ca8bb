"""Read a flow log's account, Region, ID and time from the key of one of its objects.

A record of the default format carries no Region, so only the key names it. AWS documents the keys:
https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-path.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Account and Region of a flow log, ``None`` where the key does not name them."""

    account_id: str | None = None
    region: str | None = None


_PATTERNS = (
    re.compile(
        r"(?:^|/)(?P<account>\d{12})_vpcflowlogs_(?P<region>[a-z]{2,4}(?:-[a-z]+)+-\d)_fl-[0-9a-f]+_"
    ),
    re.compile(
        r"(?:^|/)AWSLogs/(?P<account>\d{12})/vpcflowlogs/(?P<region>[a-z]{2,4}(?:-[a-z]+)+-\d)/"
    ),
    re.compile(
        r"(?:^|/)AWSLogs/aws-account-id=(?P<account>\d{12})/(?:aws-)?service=vpcflowlogs/"
        r"aws-region=(?P<region>[a-z]{2,4}(?:-[a-z]+)+-\d)/"
    ),
)


def origin_of(key: str) -> Origin:
    """Return account and Region from a key or path; the file name takes precedence over folders."""
    for pattern in _PATTERNS:
        if match := pattern.search(key):
            return Origin(account_id=match["account"], region=match["region"])
    return Origin()


_FLOW_LOG = re.compile(r"_vpcflowlogs_[a-z0-9-]+_(?P<flow_log_id>fl-[0-9a-f]{1,32})_[^/]*$")


def flow_log_of(key: str) -> str | None:
    """Return the flow log's ID from the name of a file, ``None`` if the name holds none."""
    match = _FLOW_LOG.search(key)
    return None if match is None else match["flow_log_id"]


_TIME = re.compile(r"_fl-[0-9a-f]{1,32}_(?P<time>\d{8}T\d{4})Z_[^/]*$")


def time_of(key: str) -> int | None:
    """Return when the five minutes begin in which a file's records ended, in Unix seconds.

    ``None`` if the name of the file does not show it.
    """
    match = _TIME.search(key)
    if match is None:
        return None
    try:
        return int(datetime.strptime(match["time"], "%Y%m%dT%H%M").replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None
