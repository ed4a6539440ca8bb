"""The page of problems as one object of an S3 bucket, with a digest of what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import reject_malformed_responses
from flowverdict.core.errors import DeliveryError
from flowverdict.delivery.message_settings import PAGE_KEY

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_DIGEST = "shows"  # key of the object's metadata
_FAILURES = (BotoCoreError, ClientError)


class StoredPage:
    """Writes the page; the bucket encrypts it as it does every object."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = reject_malformed_responses(client)
        self._bucket = bucket

    def digest(self) -> str | None:
        """Return the digest that the page was stored with; ``None`` where that is not known.

        S3 answers 403 for an object that does not exist and whose bucket may not be listed
        (https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html), so no answer tells a
        missing page from another error. Writing it again shows which of both it is.
        """
        try:
            known = self._client.head_object(Bucket=self._bucket, Key=PAGE_KEY)["Metadata"]
        except _FAILURES:
            return None
        return known.get(_DIGEST)

    def put(self, page: str, digest: str) -> None:
        """Store the page in place of the one before.

        Raises
        ------
        DeliveryError
            S3 did not take it.
        """
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=PAGE_KEY,
                Body=page.encode(),
                ContentType="text/html; charset=utf-8",
                CacheControl="no-store",
                Metadata={_DIGEST: digest},
            )
        except _FAILURES as error:
            raise DeliveryError(
                f"s3://{self._bucket}/{PAGE_KEY}: could not be written: {error}"
            ) from error
