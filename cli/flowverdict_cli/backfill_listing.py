"""List a bucket's objects in the order of their keys, and select the flow logs to send.

The key shows whether an object is a flow log, and when it was written. AWS names flow log files
``account_vpcflowlogs_region_flowlogid_YYYYMMDDTHHmmZ_hash.log.gz``
(https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-path.html).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import error_code
from flowverdict.core.errors import FlowVerdictError
from flowverdict.flowlog.object_key import Origin, flow_log_of, origin_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mypy_boto3_s3 import S3Client


_LOCATION = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?", re.DOTALL
)
_TIME_IN_KEY = re.compile(r"_(\d{8}T\d{4}Z)_[^/]*$")
# Storage classes whose objects have to be restored before S3 returns them.
_ARCHIVED = {"GLACIER", "DEEP_ARCHIVE"}
_GONE = {"NoSuchBucket", "404"}
_DENIED = {"AccessDenied", "AllAccessDisabled", "403"}


class Skipped(StrEnum):
    """Why an object is skipped."""

    NOT_A_FLOW_LOG = "not named as VPC flow log files are"
    EMPTY = "empty"
    ARCHIVED = "archived, must be restored before it can be read"
    OUTSIDE = "before --since, or not before --until"


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A bucket and a prefix of its keys."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        """Return the URL ``s3://bucket/prefix``."""
        return f"s3://{self.bucket}/{self.prefix}"

    @classmethod
    def from_url(cls, url: str) -> Location:
        """Parse ``s3://bucket/prefix``.

        Raises
        ------
        FlowVerdictError
            The text is not such a URL.
        """
        match = _LOCATION.fullmatch(url)
        if match is None:
            raise FlowVerdictError(f"{url!a} is not of the form s3://bucket/prefix")
        return cls(bucket=match["bucket"], prefix=match["prefix"] or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryObject:
    """One object as S3 lists it."""

    key: str
    size: int
    modified: datetime
    storage_class: str = "STANDARD"

    @property
    def written_at(self) -> datetime:
        """The time in the object's name, or else of its last change, which a copy renews."""
        match = _TIME_IN_KEY.search(self.key)
        if match is not None:
            try:
                return datetime.strptime(match[1], "%Y%m%dT%H%MZ").replace(tzinfo=UTC)
            except ValueError:
                pass  # digits that are not a time, so the name is not AWS's
        return self.modified


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which objects are sent.

    Parameters
    ----------
    since, until
        The object was written at or after ``since`` and before ``until``; ``None`` for any time.
    all_objects
        Whether objects with other names, empty and archived objects are sent too.
    """

    since: datetime | None = None
    until: datetime | None = None
    all_objects: bool = False

    def skips(self, found: HistoryObject) -> Skipped | None:
        """Return why an object is not sent; ``None`` if it is sent."""
        if not self.all_objects:
            if origin_of(found.key).region is None:
                return Skipped.NOT_A_FLOW_LOG
            if found.size == 0:
                return Skipped.EMPTY
            if found.storage_class in _ARCHIVED:
                return Skipped.ARCHIVED
        at = found.written_at
        if (self.since is not None and at < self.since) or (
            self.until is not None and at >= self.until
        ):
            return Skipped.OUTSIDE
        return None


@dataclass(slots=True)
class Tally:
    """Counts of the objects that are sent and skipped, updated while they are listed."""

    objects: int = 0
    size: int = 0
    first: datetime | None = None
    last: datetime | None = None
    skipped: Counter[Skipped] = field(default_factory=Counter)
    flow_logs: set[tuple[Origin, str | None]] = field(default_factory=set)

    @property
    def flow_logs_of_a_partition(self) -> float:
        """Average number of flow logs in an account and Region, which are evaluated together."""
        partitions = {origin for origin, _ in self.flow_logs}
        return len(self.flow_logs) / len(partitions) if partitions else 1

    def select(
        self, objects: Iterable[HistoryObject], selection: Selection
    ) -> Iterator[HistoryObject]:
        """Yield the selected objects, and count all."""
        for found in objects:
            reason = selection.skips(found)
            if reason is not None:
                self.skipped[reason] += 1
                continue
            at = found.written_at
            self.objects += 1
            self.size += found.size
            self.flow_logs.add((origin_of(found.key), flow_log_of(found.key)))
            self.first = at if self.first is None else min(self.first, at)
            self.last = at if self.last is None else max(self.last, at)
            yield found


def list_objects(
    client: S3Client, location: Location, after: str | None = None
) -> Iterator[HistoryObject]:
    """Yield the objects of the prefix in the order of their keys, beginning after ``after``.

    Raises
    ------
    FlowVerdictError
        The bucket does not exist, or may not be listed.
    """
    # botocore requests URL-encoded keys and decodes them, since keys may hold characters that XML
    # cannot.
    paginator = client.get_paginator("list_objects_v2")
    if after is None:
        pages = paginator.paginate(Bucket=location.bucket, Prefix=location.prefix)
    else:
        pages = paginator.paginate(Bucket=location.bucket, Prefix=location.prefix, StartAfter=after)
    try:
        for page in pages:
            for item in page.get("Contents", []):
                yield HistoryObject(
                    key=item["Key"],
                    size=item["Size"],
                    modified=item["LastModified"],
                    storage_class=item.get("StorageClass", "STANDARD"),
                )
    except ClientError as error:
        code = error_code(error)
        if code in _GONE:
            raise FlowVerdictError(f"s3://{location.bucket}: no such bucket") from error
        if code in _DENIED:
            raise FlowVerdictError(
                f"s3://{location.bucket}: access denied; listing it needs s3:ListBucket"
            ) from error
        raise FlowVerdictError(f"s3://{location.bucket}: cannot be listed: {code}") from error
    except BotoCoreError as error:
        raise FlowVerdictError(f"s3://{location.bucket}: cannot be listed: {error}") from error
