"""Read from the key of an object which flow log it is of and of what time, or that it is of none.

A record of the default format carries no Region, so only the key names it. AWS documents the keys:
https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-path.html.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Account and Region of a flow log, ``None`` where the key does not name them."""

    account_id: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef:
    """An object in S3: its bucket and its decoded key."""

    bucket: str
    key: str

    @property
    def name(self) -> str:
        """The object's name in errors and logs."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def source_id(self) -> str:
        """The object's ID among all sources, each of which is counted once.

        AWS never writes two flow log files under one key.
        """
        return hashlib.sha256(self.name.encode()).hexdigest()[:40]


_ACCOUNT = r"(?P<account>\d{12})"
_REGION = r"(?P<region>[a-z]{2,4}(?:-[a-z]+)+-\d)"
# Each begins where a folder or file name begins, and ends before the slash that ends it: a name
# within a name is found too. The Region of a folder of AWS's may be missing, in a copy.
_CLAIMS = (
    re.compile(rf"(?<![^/]){_ACCOUNT}_vpcflowlogs_{_REGION}_fl-[0-9a-f]+_"),
    re.compile(rf"(?<![^/])AWSLogs/(?:o-[a-z0-9]+/)?{_ACCOUNT}(?:/vpcflowlogs/{_REGION})?(?=/)"),
    re.compile(
        rf"(?<![^/])AWSLogs/aws-account-id={_ACCOUNT}"
        rf"(?:/(?:aws-)?service=vpcflowlogs/aws-region={_REGION})?(?=/)"
    ),
    # Where the template's Firehose writes what it gathers.
    re.compile(rf"(?<![^/])cloudwatch-logs/{_ACCOUNT}/{_REGION}(?=/)"),
)


def origin_of(key: str) -> Origin:
    """Return account and Region from a key or path, as far as its folders and file name say.

    Of a key that names several, ``contradiction_in`` says so.
    """
    found = _origins_in(key)
    return Origin(
        account_id=next((origin.account_id for origin in found), None),
        region=next((origin.region for origin in found if origin.region is not None), None),
    )


def contradiction_in(key: str) -> str | None:
    """Return why a key names two accounts or Regions; ``None`` where its parts agree.

    AWS repeats the account and the Region of the folders in the file name. Only the folders bind
    who may write (``docs/operations.md``), so a name that says otherwise speaks for another
    account.
    """
    found = _origins_in(key)
    for what, named in (
        ("account", {origin.account_id for origin in found}),
        ("Region", {origin.region for origin in found} - {None}),
    ):
        if len(named) > 1:
            return (
                f"its folders and its name do not agree about the {what}: "
                f"{' and '.join(sorted(map(str, named)))}"
            )
    return None


def _origins_in(key: str) -> list[Origin]:
    return [
        Origin(account_id=match["account"], region=match["region"])
        for pattern in _CLAIMS
        for match in pattern.finditer(key)
    ]


def is_of_firehose(key: str) -> bool:
    """Return whether the template's Firehose names an object so."""
    return _CLAIMS[-1].search(key) is not None


_FIREHOSE_ERRORS = "cloudwatch-logs-errors/"
_FLOW_LOG = re.compile(r"_vpcflowlogs_[a-z0-9-]+_(?P<flow_log_id>fl-[0-9a-f]{1,32})_[^/]*$")


def flow_log_of(key: str) -> str | None:
    """Return the flow log's ID from the name of a file, ``None`` if the name holds none."""
    match = _FLOW_LOG.search(key)
    return None if match is None else match["flow_log_id"]


# Folders of AWSLogs/ are named by service: CloudTrail, Config, elasticloadbalancing, vpcflowlogs.
# An organization's trail has the organization's ID in front of the account's
# (https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html).
_SERVICE_FOLDER = re.compile(
    r"(?:^|/)AWSLogs/(?:o-[a-z0-9]+/)?(?:aws-account-id=)?\d{12}/"
    r"(?:(?:aws-)?service=)?(?P<service>[^/]+)/"
)
_SERVICE = "vpcflowlogs"  # of transit gateways' flow logs too
# AWS writes these to try whether it may write.
_WRITE_TESTS = {"aws-logs-write-test", "ConfigWritabilityCheckFile", "ELBAccessLogTestFile"}


def why_foreign(key: str) -> str | None:
    """Return why an object is plainly not a flow log; ``None`` for a key that a flow log may have.

    A log archive holds the files of many services. A name that AWS did not make may be a flow
    log's: people rename and copy files.
    """
    name = key.rpartition("/")[2]
    if not name or name.endswith("_$folder$"):
        return "a folder marker"
    if key.startswith(_FIREHOSE_ERRORS):  # the template's
        return "what Firehose could not process"
    if name in _WRITE_TESTS:
        return "a file by which AWS tries whether it may write"
    folder = _SERVICE_FOLDER.search(key)
    if folder is None or folder["service"] == _SERVICE or f"_{_SERVICE}_" in name:
        return None
    return f"a file of {folder['service']}"


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
