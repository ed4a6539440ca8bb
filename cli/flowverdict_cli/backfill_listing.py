"""What a bucket holds of the past: objects listed in the order of their keys, and which of them are flow logs to read.

A key says what an object is and when it was written: AWS names flow log files
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
# Storage classes that S3 gives no object out of before it has been restored.
_ARCHIVED = {"GLACIER", "DEEP_ARCHIVE"}
_GONE = {"NoSuchBucket", "404"}
_DENIED = {"AccessDenied", "AllAccessDisabled", "403"}


class Passed(StrEnum):
    """Why an object is passed over."""

    NO_FLOW_LOG = "not named as VPC flow log files are"
    EMPTY = "empty"
    ARCHIVED = "archived, so to be restored before it can be read"
    OUTSIDE = "before --since, or not before --until"


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A bucket, and what the keys wanted of it begin with."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        """Give the URL that a person writes."""
        return f"s3://{self.bucket}/{self.prefix}"

    @classmethod
    def from_url(cls, url: str) -> Location:
        """Read ``s3://bucket/prefix``.

        Raises
        ------
        FlowVerdictError
            It is no such URL.
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
        """When it was written: the time in its name, or else that of its last change, which a copy has anew."""
        match = _TIME_IN_KEY.search(self.key)
        if match is not None:
            try:
                return datetime.strptime(match[1], "%Y%m%dT%H%MZ").replace(tzinfo=UTC)
            except ValueError:
                pass  # digits that are no time, so not AWS's name
        return self.modified


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which objects are wanted.

    Parameters
    ----------
    since, until
        Written at or after the one and before the other; ``None`` for any time.
    all_objects
        Whether an object is wanted whatever it looks like.
    """

    since: datetime | None = None
    until: datetime | None = None
    all_objects: bool = False

    def passes_over(self, found: HistoryObject) -> Passed | None:
        """Say why an object is not wanted; ``None`` if it is."""
        if not self.all_objects:
            if origin_of(found.key) == Origin():
                return Passed.NO_FLOW_LOG
            if found.size == 0:
                return Passed.EMPTY
            if found.storage_class in _ARCHIVED:
                return Passed.ARCHIVED
        at = found.written_at
        if (self.since is not None and at < self.since) or (
            self.until is not None and at >= self.until
        ):
            return Passed.OUTSIDE
        return None


@dataclass(slots=True)
class Tally:
    """How much is wanted and how much passed over, counted as it comes along."""

    objects: int = 0
    size: int = 0
    first: datetime | None = None
    last: datetime | None = None
    passed: Counter[Passed] = field(default_factory=Counter)
    flow_logs: set[tuple[Origin, str | None]] = field(default_factory=set)

    @property
    def flow_logs_of_a_place(self) -> float:
        """How many flow logs an account's Region has on average: they are judged together."""
        return (
            len(self.flow_logs) / len({place for place, _ in self.flow_logs})
            if self.flow_logs
            else 1
        )

    def wanted(
        self, objects: Iterable[HistoryObject], selection: Selection
    ) -> Iterator[HistoryObject]:
        """Give those that are wanted, and count all."""
        for found in objects:
            reason = selection.passes_over(found)
            if reason is not None:
                self.passed[reason] += 1
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
    """List what the bucket has under the prefix, in the order of the keys, from the first one after ``after``.

    Raises
    ------
    FlowVerdictError
        There is no such bucket, or it may not be listed.
    """
    # botocore asks for keys encoded as in URLs and decodes them: a key may hold what XML cannot.
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
