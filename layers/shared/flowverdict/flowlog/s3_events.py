"""Find the objects that an event names, in each envelope that AWS may deliver.

S3 sends its notification
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html) to a
function, to SQS, or to SNS and from there to SQS. An EventBridge event has another shape
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html). In an S3 notification the
key is encoded like a form (``=`` is ``%3D``, a blank is ``+``), in an EventBridge event it is not.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from flowverdict.core.errors import EnvelopeError
from flowverdict.flowlog.fields import MAX_EPOCH
from flowverdict.flowlog.object_key import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


_SUPPORTED_MAJOR_VERSION = "2"
_CREATED = "ObjectCreated:"
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html; bucket names are shorter.
_MAX_KEY_BYTES = 1_024


def is_object_event(event: Mapping[str, object]) -> bool:
    """Whether the event has an outer shape in which objects are named: records, or S3's event."""
    return "Records" in event or event.get("source") == "aws.s3"


def is_sqs_event(event: object) -> bool:
    """Whether the event is from an SQS queue, so that messages can fail individually."""
    return _first_record(event).get("eventSource") == "aws:sqs"


def _first_record(event: object) -> Mapping[str, object]:
    records = event.get("Records") if isinstance(event, dict) else None
    first = records[0] if isinstance(records, list) and records else None
    return first if isinstance(first, dict) else {}


def scheduled_at(event: object) -> int:
    """Return the time (Unix seconds) at which EventBridge's scheduler sent an event.

    A sweep uses this time as "now", so that a retry of the same event has the same outcome.

    Raises
    ------
    EnvelopeError
        The event is not a scheduled event.
    """
    from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent  # noqa: PLC0415 - takes a tenth of a cold start

    try:
        scheduled = EventBridgeEvent(cast("dict[str, Any]", event))
        if scheduled.detail_type != "Scheduled Event":
            raise EnvelopeError(
                f"not a scheduled event: its detail-type is {_shown(scheduled.detail_type)}"
            )
        at = datetime.fromisoformat(scheduled.time)
        seconds = int(at.replace(tzinfo=at.tzinfo or UTC).timestamp())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EnvelopeError(f"not a scheduled event: {_shown(repr(error))}") from error
    if not 0 <= seconds <= MAX_EPOCH:
        raise EnvelopeError("not a scheduled event: its time is out of range")
    return seconds


def event_of_message(body: object) -> object:
    """Return the event that an SQS message holds; raises ``EnvelopeError`` for what is not JSON."""
    return _from_json(body)


def objects_in_message(body: object) -> tuple[ObjectRef, ...]:
    """Return the objects that an SQS message names; see ``objects_in``."""
    return objects_in(event_of_message(body))


def objects_in(event: object) -> tuple[ObjectRef, ...]:
    """Return the created objects that an event names.

    None for S3's test event, and for events of other kinds than "object created".

    Raises
    ------
    EnvelopeError
        The shape of the event is not known.
    """
    return _objects_in(event, _objects)


def event_without_objects(event: object) -> str:
    """Return in one line what an event is in which ``objects_in`` finds no object."""
    described = event if isinstance(event, dict) else {}
    if described.get("Event") == "s3:TestEvent":
        return "S3's test event"
    if "detail-type" in described:
        return f"an event of detail-type {_shown(described['detail-type'])}"
    return "an event that names no created object"


def _from_json(text: object) -> object:
    if not isinstance(text, str):
        raise EnvelopeError("the message has no text")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EnvelopeError(f"the message is not JSON: {error}") from error


def _objects_in(
    event: object, objects: Callable[[dict[str, Any]], Iterator[ObjectRef]]
) -> tuple[ObjectRef, ...]:
    if not isinstance(event, dict):
        raise EnvelopeError(f"an event of unknown shape: {type(event).__name__}, not an object")
    try:
        return tuple(objects(event))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise EnvelopeError(
            f"an event of unknown shape: {_shown(repr(error))}; {_outline(event)}"
        ) from error


def _objects(event: dict[str, Any]) -> Iterator[ObjectRef]:
    from aws_lambda_powertools.utilities.data_classes import SNSEvent  # noqa: PLC0415 - as above
    from aws_lambda_powertools.utilities.data_classes.sns_event import (  # noqa: PLC0415 - as above
        SNSMessage,
    )

    # SNS does not deliver to topics, so its message is S3's and never another SNS envelope.
    if event.get("Type") == "Notification":
        yield from _objects_in(_from_json(SNSMessage(event).message), _objects_of_s3)
    elif _first_record(event).get("EventSource") == "aws:sns":
        for record in SNSEvent(event).records:
            yield from _objects_in(_from_json(record.sns.message), _objects_of_s3)
    else:
        yield from _objects_of_s3(event)


def _objects_of_s3(event: dict[str, Any]) -> Iterator[ObjectRef]:
    from aws_lambda_powertools.utilities.data_classes import (  # noqa: PLC0415 - as above
        S3EventBridgeNotificationEvent,
    )

    if event.get("Event") == "s3:TestEvent":
        return
    if event.get("source") == "aws.s3" and event.get("detail-type") != "Object Created":
        return
    if event.get("detail-type") == "Object Created":
        detail = S3EventBridgeNotificationEvent(event).detail
        # `detail.object.key` would be wrong: Powertools decodes it, but an EventBridge key that
        # holds "+" or "%" is not encoded.
        yield ObjectRef(bucket=_text(detail.bucket.name), key=_text(detail.object["key"]))
    else:
        yield from _objects_in_notification(event)


def _objects_in_notification(event: dict[str, Any]) -> Iterator[ObjectRef]:
    from aws_lambda_powertools.utilities.data_classes import S3Event  # noqa: PLC0415 - as above

    notification = S3Event(event)
    if not event["Records"]:
        raise EnvelopeError("an event of unknown shape: it has no records")
    for index, record in enumerate(notification.records):
        if record.event_source != "aws:s3":
            raise EnvelopeError(
                f"an event of unknown shape: a record of {_shown(record.event_source)}"
            )
        if record.event_version.partition(".")[0] != _SUPPORTED_MAJOR_VERSION:
            raise EnvelopeError(
                f"an S3 notification of version {_shown(record.event_version)}; 2.x is known"
            )
        if record.event_name.startswith(_CREATED):
            ref = S3Event({"Records": [event["Records"][index]]})
            yield ObjectRef(bucket=_text(ref.bucket_name), key=_text(ref.object_key))


def _text(value: object) -> str:
    try:
        # Half a surrogate pair, which JSON can hold, has no bytes in UTF-8.
        size = len(value.encode()) if isinstance(value, str) else 0
    except UnicodeEncodeError:
        size = 0
    if not isinstance(value, str) or not 0 < size <= _MAX_KEY_BYTES:
        raise TypeError("bucket and key must be text of 1 to 1,024 bytes")
    return value


def _shown(text: object) -> str:
    # One printable line, whatever the event holds.
    return str(text)[:40].encode("unicode_escape").decode("ascii")


def _outline(event: Mapping[str, Any]) -> str:
    # Names only: an event's values must not appear in a log.
    names = ", ".join(sorted(_shown(name) for name in event)[:10])
    return f"its keys are {names}" if names else "it is empty"
