"""Read flow log objects from S3."""

from __future__ import annotations

from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO, cast

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import error_code, reject_malformed_responses
from flowverdict.core.errors import ObjectBusyError, ObjectError, ObjectGoneError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

    from flowverdict.flowlog.object_key import ObjectRef


_GONE = {"NoSuchKey", "NoSuchBucket", "404"}
_BUSY = {"SlowDown", "RequestTimeout", "TooManyRequests"}  # besides KMS.ThrottlingException and 5xx


class S3Objects:
    """Reads objects from S3; SDK errors become ``ObjectError``, with bucket, key and reason."""

    def __init__(self, client: S3Client) -> None:
        self._client = reject_malformed_responses(client)

    @contextmanager
    def open(self, ref: ObjectRef) -> Iterator[BinaryIO]:
        """Open an object for reading forward.

        Raises
        ------
        ObjectGoneError
            The object does not exist (any more).
        ObjectBusyError
            S3 throttled, failed or did not answer; also raised while the caller reads the body.
        ObjectError
            The object cannot be read; also raised while the caller reads the body.
        """
        try:
            body = self._client.get_object(Bucket=ref.bucket, Key=ref.key)["Body"]
            with body:
                yield cast("BinaryIO", body)
        except ClientError as error:
            raise _failure(error)(
                ref.name, f"cannot be read from S3: {error_code(error)}"
            ) from error
        except BotoCoreError as error:
            raise ObjectBusyError(ref.name, f"cannot be read from S3: {error}") from error


def _failure(error: ClientError) -> type[ObjectError]:
    code = error_code(error)
    if code in _GONE:
        return ObjectGoneError
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    is_busy = code in _BUSY or "Throttl" in code or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return ObjectBusyError if is_busy else ObjectError
