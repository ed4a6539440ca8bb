"""Evidence as objects of an S3 bucket: ``evidence/<partition digest>/<window>/<bundle>``.

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
from flowverdict.flows.bundle import Piece, chosen, name_of, pack_bundle, pieces_in, sources_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mypy_boto3_s3 import S3Client

    from flowverdict.flows.bundle import Section
    from flowverdict.flows.stored_evidence import StoredEvidence


_DIGITS = 12  # of a window's number, so that keys sort by it; the year 9999 has nine
# A thousand flow logs of one partition store a hundred objects for a window, and S3 takes tens of
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

    def put(self, partition: str, window: int, sections: Sequence[Section]) -> None:
        """Store what sources show of a window."""
        key = f"{_folder(partition)}{window:0{_DIGITS}d}/{name_of(sections)}"
        try:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=pack_bundle(sections))
        except _FAILURES as error:
            raise EvidenceError(
                f"s3://{self._bucket}/{key}: could not be written: {error}"
            ) from error

    def read(self, partition: str, first: int, last: int) -> Mapping[int, Sequence[StoredEvidence]]:
        """Return the evidence of the windows ``first`` to ``last``, in the order of the sources."""
        found: dict[int, list[Piece]] = {}
        folder = _folder(partition)
        try:
            found_keys = list(self._keys(folder, first, last))
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                objects = pool.map(self._get, [key for _, key in found_keys])
                for (window, key), pieces in zip(found_keys, objects, strict=True):
                    found.setdefault(window, []).extend(pieces)
                    self._report(key, pieces)
        except _FAILURES as error:
            raise EvidenceError(
                f"s3://{self._bucket}/{folder}: could not be read: {error}"
            ) from error
        return {
            window: [piece.evidence for piece in chosen(pieces)] for window, pieces in found.items()
        }

    def _get(self, key: str) -> list[Piece]:
        body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return pieces_in(key.rpartition("/")[2], body)

    def _report(self, key: str, pieces: Sequence[Piece]) -> None:
        error = next((piece.error for piece in pieces if piece.error is not None), None)
        if error is not None and key not in self._unreadable:
            self._unreadable.add(key)
            self._on_unreadable(f"s3://{self._bucket}/{key}", str(error))

    def count(self, partition: str, first: int, last: int) -> int:
        """Count the pieces of evidence of these windows."""
        folder = _folder(partition)
        try:
            return sum(
                sources_in(key.rpartition("/")[2]) for _, key in self._keys(folder, first, last)
            )
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
