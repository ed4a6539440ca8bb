"""Evidence as objects of an S3 bucket: ``evidence/<partition digest>/<window>/<source>``.

S3 lists and returns an object as soon as it is stored
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html, "data consistency model"):
a function that reads a window after it stored its own evidence reads all evidence stored before.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import reject_malformed_responses
from flowverdict.core.errors import EvidenceError
from flowverdict.flows.evidence_codec import pack, unpack
from flowverdict.flows.stored_evidence import StoredEvidence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mypy_boto3_s3 import S3Client

    from flowverdict.flows.evidence import Evidence


_DIGITS = 12  # of a window's number, so that keys sort by it; the year 9999 has nine
# A hundred flow logs of one partition store 200 objects for a window, and S3 takes tens of
# milliseconds for each. botocore keeps as many connections
# (https://botocore.amazonaws.com/v1/documentation/api/latest/reference/config.html,
# max_pool_connections).
_AT_ONCE = 10
_FAILURES = (BotoCoreError, ClientError)


class S3Evidence:
    """Implements ``EvidenceStore``.

    Parameters
    ----------
    on_unreadable
        Called with the name of an object that cannot be read and the reason; once for each object,
        however often the object is read.
    """

    def __init__(
        self, client: S3Client, bucket: str, on_unreadable: Callable[[str, str], None]
    ) -> None:
        self._client = reject_malformed_responses(client)
        self._bucket = bucket
        self._on_unreadable = on_unreadable
        self._unreadable: set[str] = set()

    def put(self, partition: str, window: int, source_id: str, evidence: Evidence) -> None:
        """Store what a source shows of a window."""
        key = f"{_folder(partition)}{window:0{_DIGITS}d}/{source_id}"
        try:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=pack(evidence))
        except _FAILURES as error:
            raise EvidenceError(
                f"s3://{self._bucket}/{key}: could not be written: {error}"
            ) from error

    def read(self, partition: str, first: int, last: int) -> Mapping[int, Sequence[StoredEvidence]]:
        """Return the evidence of the windows ``first`` to ``last``, in the order of the sources."""
        found: dict[int, list[StoredEvidence]] = {}
        folder = _folder(partition)
        try:
            found_keys = list(self._keys(folder, first, last))
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                bodies = pool.map(self._get, [key for _, key in found_keys])
                for (window, key), evidence in zip(found_keys, bodies, strict=True):
                    found.setdefault(window, []).append(self._reported(key, evidence))
        except _FAILURES as error:
            raise EvidenceError(
                f"s3://{self._bucket}/{folder}: could not be read: {error}"
            ) from error
        return found

    def _get(self, key: str) -> StoredEvidence | EvidenceError:
        body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        try:
            return unpack(body)
        except EvidenceError as error:
            return error

    def _reported(self, key: str, evidence: StoredEvidence | EvidenceError) -> StoredEvidence:
        if isinstance(evidence, StoredEvidence):
            return evidence
        if key not in self._unreadable:
            self._unreadable.add(key)
            self._on_unreadable(f"s3://{self._bucket}/{key}", str(evidence))
        return StoredEvidence.unreadable()

    def count(self, partition: str, first: int, last: int) -> int:
        """Count the objects of evidence of these windows."""
        folder = _folder(partition)
        try:
            return sum(1 for _ in self._keys(folder, first, last))
        except _FAILURES as error:
            raise EvidenceError(
                f"s3://{self._bucket}/{folder}: could not be listed: {error}"
            ) from error

    def _keys(self, folder: str, first: int, last: int) -> Iterator[tuple[int, str]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=folder, StartAfter=f"{folder}{max(first, 0):0{_DIGITS}d}"
        )
        for page in pages:
            for listed in page.get("Contents", []):
                window = int(listed["Key"].removeprefix(folder).partition("/")[0])
                if window > last:
                    return
                yield window, listed["Key"]


def _folder(partition: str) -> str:
    # A log stream may have any name; a digest needs no escaping.
    return f"evidence/{hashlib.sha256(partition.encode()).hexdigest()[:32]}/"
