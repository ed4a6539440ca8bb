"""Find flow logs in S3 and in CloudWatch Logs, with the user's own AWS credentials.

Both are bounded: a list of objects, and the events of a log group, can be longer than anyone waits
for. A folder of S3 that cannot hold what is asked for is not listed: another service's, or another
day's (https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-path.html).
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import error_code
from flowverdict.core.errors import FlowVerdictError, ObjectError
from flowverdict.flowlog.line_reader import Blocks
from flowverdict.flowlog.log_formats import DescribedFormats
from flowverdict.flowlog.object_key import ObjectRef, why_foreign
from flowverdict.flowlog.s3_objects import S3Objects
from flowverdict_cli.backfill_listing import Location
from flowverdict_cli.inputs import CLOUDWATCH, S3, Input, Period, passed_over
from flowverdict_cli.progress import counting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client

    from flowverdict_cli.progress import Counter


# Objects of a busy account's day are some thousand; reading so many takes an hour.
MAX_OBJECTS: Final = 20_000
MAX_KEYS: Final = 1_000_000  # that are listed: a thousand calls
MAX_EVENTS: Final = 1_000_000
# Without --since, since a log group may keep years.
_LAST: Final = timedelta(hours=1)
_CONFIG: Final = Config(retries={"mode": "standard", "total_max_attempts": 5})
_GONE: Final = {"NoSuchBucket", "404"}


def find(name: str, period: Period) -> tuple[list[Input], list[str]]:
    """Return the inputs of ``s3://bucket/prefix`` or ``cloudwatch:LOG-GROUP``, and notes.

    Raises
    ------
    FlowVerdictError
        The place cannot be listed, or holds more than is read.
    """
    try:
        if name.startswith(S3):
            client = boto3.client("s3", config=_CONFIG)
            return objects_in(client, Location.from_url(name), period)
        group = name.removeprefix(CLOUDWATCH)
        if not group:
            raise FlowVerdictError(f"{name}: a log group's name is needed")
        logs, ec2 = boto3.client("logs", config=_CONFIG), boto3.client("ec2", config=_CONFIG)
    except BotoCoreError as error:
        raise FlowVerdictError(f"{name}: {error}") from error
    return [log_group(logs, ec2, group, period)], []


# --- S3

_DAY_FOLDERS: Final = re.compile(
    r"(?:^|/)(?:year=)?(?P<year>\d{4})/"
    r"(?:(?:month=)?(?P<month>\d{2})/(?:(?:day=)?(?P<day>\d{2})/(?:(?:hour=)?(?P<hour>\d{2})/)?)?)?$"
)
# A file may be of a few minutes before or after the folder that it is in.
_MARGIN: Final = timedelta(hours=1)


@dataclass(slots=True)
class _Listed:
    """What was listed so far."""

    keys: int = 0
    foreign: int = 0
    outside: int = 0


def objects_in(
    client: S3Client, location: Location, period: Period
) -> tuple[list[Input], list[str]]:
    """Return the objects of a prefix that may be flow logs of the period.

    Raises
    ------
    FlowVerdictError
        The bucket cannot be listed, or there are more objects than are read.
    """
    with counting() as progress:
        return _selected(client, location, period, progress)


def _selected(
    client: S3Client, location: Location, period: Period, progress: Counter
) -> tuple[list[Input], list[str]]:
    listed = _Listed()
    store = S3Objects(client)
    inputs: list[Input] = []
    for key, size in _objects(client, location, period, listed, progress):
        if why_foreign(key) is not None:
            listed.foreign += 1
        elif not period.has_file(key):
            listed.outside += 1
        else:
            ref = ObjectRef(bucket=location.bucket, key=key)
            inputs.append(Input(name=ref.name, open=partial(store.open, ref), size=size))
            if len(inputs) > MAX_OBJECTS:
                raise FlowVerdictError(
                    f"{location}: more than {MAX_OBJECTS:,} flow log files: give a longer prefix, "
                    "or --since and --until"
                )
    return inputs, passed_over(
        str(location), read=len(inputs), foreign=listed.foreign, outside=listed.outside
    )


def _objects(
    client: S3Client, location: Location, period: Period, listed: _Listed, progress: Counter
) -> Iterator[tuple[str, int]]:
    """Yield key and size of each object, folder by folder."""
    waiting = [location.prefix]
    paginator = client.get_paginator("list_objects_v2")
    try:
        while waiting:
            pages = paginator.paginate(Bucket=location.bucket, Prefix=waiting.pop(0), Delimiter="/")
            for page in pages:
                objects, folders = page.get("Contents", []), page.get("CommonPrefixes", [])
                listed.keys += len(objects) + len(folders)
                progress.show(f"the list of {location}", listed.keys)
                if listed.keys > MAX_KEYS:
                    raise FlowVerdictError(
                        f"{location}: more than {MAX_KEYS:,} keys: give a longer prefix, or "
                        "--since and --until"
                    )
                yield from ((item["Key"], item["Size"]) for item in objects)
                waiting += [
                    folder["Prefix"] for folder in folders if _may_hold(folder["Prefix"], period)
                ]
    except ClientError as error:
        code = error_code(error)
        reason = (
            "no such bucket"
            if code in _GONE
            else f"cannot be listed: {code}; listing needs s3:ListBucket, reading s3:GetObject"
        )
        raise FlowVerdictError(f"{location}: {reason}") from error
    except BotoCoreError as error:
        raise FlowVerdictError(f"{location}: cannot be listed: {error}") from error


def _may_hold(folder: str, period: Period) -> bool:
    """Whether a folder may hold flow logs of the period, by its name."""
    if why_foreign(f"{folder}file") is not None:
        return False
    match = _DAY_FOLDERS.search(folder)
    if match is None:
        return True
    year, month, day, hour = (
        None if match[name] is None else int(match[name])
        for name in ("year", "month", "day", "hour")
    )
    try:
        first = datetime(year or 1, month or 1, day or 1, hour or 0, tzinfo=UTC)
        if hour is not None:
            last = first + timedelta(hours=1)
        elif day is not None:
            last = first + timedelta(days=1)
        else:
            last = first + timedelta(days=31 if month is not None else 366)
    except (ValueError, OverflowError):
        return True  # digits that are no date
    return period.has(first - _MARGIN, last + _MARGIN)


# --- CloudWatch Logs


def log_group(logs: CloudWatchLogsClient, ec2: EC2Client, group: str, period: Period) -> Input:
    """Return the events of a log group, in the formats that EC2 describes.

    Raises
    ------
    FormatUnknownError
        EC2 did not answer.
    """
    since = period.since or (period.until or datetime.now(UTC)) - _LAST
    until = period.until or datetime.now(UTC)
    formats = DescribedFormats(ec2, logging.LoggerAdapter(logging.getLogger(__name__))).formats(
        group
    )
    return Input(
        name=f"{CLOUDWATCH}{group}",
        open=partial(_events, logs, group, since, until),
        formats=formats,
        is_stored=False,
        may_be_empty=True,
    )


@contextmanager
def _events(
    logs: CloudWatchLogsClient, group: str, since: datetime, until: datetime
) -> Iterator[BinaryIO]:
    with counting() as progress:
        yield cast("BinaryIO", Blocks(_messages(logs, group, since, until, progress)))


def _messages(
    logs: CloudWatchLogsClient, group: str, since: datetime, until: datetime, progress: Counter
) -> Iterator[bytes]:
    """Yield the messages of each page, a line for each.

    https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html
    """
    name = f"{CLOUDWATCH}{group}"
    events = 0
    try:
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=group,
            startTime=int(since.timestamp() * 1_000),
            endTime=int(until.timestamp() * 1_000) - 1,
        )
        for page in pages:
            messages = [event["message"] for event in page["events"]]
            events += len(messages)
            progress.show(f"events of {name}", events)
            if events > MAX_EVENTS:
                raise ObjectError(
                    name, f"more than {MAX_EVENTS:,} events: give a later --since or --until"
                )
            yield "".join(f"{' '.join(message.split())}\n" for message in messages).encode(
                "utf-8", "replace"
            )
    except ClientError as error:
        code = error_code(error)
        reason = (
            "no such log group"
            if code == "ResourceNotFoundException"
            else f"cannot be read: {code}; reading needs logs:FilterLogEvents"
        )
        raise ObjectError(name, reason) from error
    except BotoCoreError as error:
        raise ObjectError(name, f"cannot be read: {error}") from error
