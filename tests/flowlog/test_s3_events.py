"""Find the objects of an S3 event in each envelope."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowverdict.core.errors import EnvelopeError
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.flowlog.s3_events import is_sqs_event, objects_in, objects_in_message

BUCKET = "amzn-s3-demo-bucket"
KEY = "AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/11/22/file.log.gz"
SECRET = "s3cr3t-value"  # noqa: S105 - a value that no message may repeat
TEST_EVENT = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2014-10-13T15:57:02.089Z",
    "Bucket": BUCKET,
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR",
}


def entry(
    key: str = KEY,
    *,
    name: str = "ObjectCreated:Put",
    version: object = "2.6",
    source: str = "aws:s3",
) -> dict[str, Any]:
    """Return one entry of S3's own notification; ``key`` is written as given."""
    return {
        "eventVersion": version,
        "eventSource": source,
        "awsRegion": "us-west-2",
        "eventTime": "1970-01-01T00:00:00.000Z",
        "eventName": name,
        "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "172.16.0.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "EXAMPLE"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "testConfigRule",
            "bucket": {
                "name": BUCKET,
                "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                "arn": f"arn:aws:s3:::{BUCKET}",
            },
            "object": {
                "key": key,
                "size": 1024,
                "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                "sequencer": "0055AED6DCD90281E5",
            },
        },
    }


def notification(*entries: dict[str, Any]) -> dict[str, Any]:
    """Return S3's own notification."""
    return {"Records": list(entries or (entry(),))}


def sns_body(event: object) -> dict[str, Any]:
    """Return the SQS body of SNS without raw message delivery."""
    return {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:us-west-2:123456789012:objects",
        "Subject": "Amazon S3 Notification",
        "Message": json.dumps(event),
        "Timestamp": "2026-11-22T12:06:10.500Z",
        "SignatureVersion": "1",
        "Signature": "EXAMPLE",
        "SigningCertURL": "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-example.pem",
        "UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe",
    }


def sns_event(*events: object) -> dict[str, Any]:
    """Return the event that SNS sends to a function directly."""
    return {
        "Records": [
            {
                "EventVersion": "1.0",
                "EventSubscriptionArn": "arn:aws:sns:us-west-2:123456789012:objects:1",
                "EventSource": "aws:sns",
                "Sns": sns_body(event) | {"MessageAttributes": {}},
            }
            for event in events
        ]
    }


def eventbridge(key: str = KEY, *, detail_type: str = "Object Created") -> dict[str, Any]:
    """Return S3's event as EventBridge delivers it."""
    return {
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": detail_type,
        "source": "aws.s3",
        "account": "111122223333",
        "time": "2021-11-12T00:00:00Z",
        "region": "us-west-2",
        "resources": [f"arn:aws:s3:::{BUCKET}"],
        "detail": {
            "version": "0",
            "event-version": "1.2",
            "bucket": {"name": BUCKET},
            "object": {
                "key": key,
                "size": 5,
                "etag": "b1946ac92492d2347c6235b4d2611184",
                "sequencer": "617f08299329d189",
            },
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
            "source-ip-address": "192.0.2.1",
            "reason": "PutObject",
        },
    }


def sqs_event(body: str = "{}") -> dict[str, Any]:
    """Return the event of a queue."""
    return {
        "Records": [
            {"messageId": "059f36b4", "body": body, "attributes": {}, "eventSource": "aws:sqs"}
        ]
    }


def ref(key: str = KEY) -> ObjectRef:
    """Return the object that an event names."""
    return ObjectRef(bucket=BUCKET, key=key)


# --- the shapes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        notification(),
        sns_body(notification()),
        sns_event(notification()),
        eventbridge(),
        sns_body(eventbridge()),
        sns_event(eventbridge()),
    ],
    ids=[
        "s3",
        "sns in sqs",
        "sns",
        "eventbridge",
        "eventbridge through sns in sqs",
        "eventbridge through sns",
    ],
)
def test_object_is_found_in_every_envelope_as_an_event_and_as_a_message(
    event: dict[str, Any],
) -> None:
    assert objects_in(event) == (ref(),)
    assert objects_in_message(json.dumps(event)) == (ref(),)


def test_all_objects_of_a_notification_are_found_in_order() -> None:
    assert objects_in(notification(entry("b"), entry("a"), entry("b"))) == (
        ref("b"),
        ref("a"),
        ref("b"),
    )


def test_all_messages_of_an_sns_event_are_read() -> None:
    assert objects_in(
        sns_event(notification(entry("a"), entry("b")), TEST_EVENT, notification(entry("c")))
    ) == (
        ref("a"),
        ref("b"),
        ref("c"),
    )


def test_name_is_the_s3_uri() -> None:
    assert ref().name == f"s3://{BUCKET}/{KEY}"


@pytest.mark.parametrize(
    ("encoded", "key"),
    [
        (
            "AWSLogs/aws-account-id%3D123456789012/aws-service%3Dvpcflowlogs/aws-region%3Deu-west-1/hour%3D12/f.log.gz",
            "AWSLogs/aws-account-id=123456789012/aws-service=vpcflowlogs/aws-region=eu-west-1/hour=12/f.log.gz",
        ),
        ("red+flower.log", "red flower.log"),
        ("one%2Btwo.log", "one+two.log"),
        ("100%25.log", "100%.log"),
        ("caf%C3%A9.log", "caf\u00e9.log"),
        # encoded once, decoded once
        ("a%252Fb", "a%2Fb"),
    ],
)
@pytest.mark.parametrize(
    "wrap", [lambda event: event, sns_body, sns_event], ids=["s3", "sns in sqs", "sns"]
)
def test_key_of_a_notification_is_decoded_once(wrap: Any, encoded: str, key: str) -> None:  # noqa: ANN401 - one of three shapes
    assert objects_in(wrap(notification(entry(encoded)))) == (ref(key),)


@pytest.mark.parametrize(
    "key", ["a=b/c.log", "one+two.log", "100%.log", "a%3Db.log", "red flower.log"]
)
def test_key_of_eventbridge_is_taken_as_it_is(key: str) -> None:
    assert objects_in(eventbridge(key)) == (ref(key),)


@pytest.mark.parametrize("second", ["a%20b.log", "a%2Bb.log"])
def test_each_entry_yields_its_own_key(second: str) -> None:
    first, other = objects_in(notification(entry("x"), entry(second)))
    assert first.key == "x"
    assert other.key != "x"


@pytest.mark.parametrize("name", ["Put", "Post", "Copy", "CompleteMultipartUpload"])
def test_every_way_to_create_an_object_counts(name: str) -> None:
    assert objects_in(notification(entry(name=f"ObjectCreated:{name}"))) == (ref(),)


@pytest.mark.parametrize(
    "name", ["ObjectRemoved:Delete", "ObjectTagging:Put", "ReducedRedundancyLostObject"]
)
def test_other_event_than_a_creation_names_no_object(name: str) -> None:
    assert objects_in(notification(entry("gone", name=name), entry())) == (ref(),)


@pytest.mark.parametrize("detail_type", ["Object Deleted", "Object Tags Added"])
def test_eventbridge_event_other_than_a_creation_names_no_object(detail_type: str) -> None:
    assert objects_in(eventbridge(detail_type=detail_type)) == ()


@pytest.mark.parametrize(
    "event",
    [TEST_EVENT, sns_body(TEST_EVENT), sns_event(TEST_EVENT)],
    ids=["s3", "sns in sqs", "sns"],
)
def test_the_test_event_of_s3_names_no_object(event: dict[str, Any]) -> None:
    assert objects_in(event) == ()


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.6", "2.99", "2"])
def test_minor_versions_are_alike(version: str) -> None:
    assert objects_in(notification(entry(version=version))) == (ref(),)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "3.0", "20.1", "", "x"])
def test_other_major_version_is_refused(version: str) -> None:
    with pytest.raises(EnvelopeError, match=r"2\.x is known"):
        objects_in(notification(entry(version=version)))


@pytest.mark.parametrize("event", [[], ["a"], "text", 1, 1.5, None, True])
def test_event_that_is_not_a_json_object_is_refused_by_its_type(event: object) -> None:
    with pytest.raises(
        EnvelopeError, match=f"^an event of unknown shape: {type(event).__name__}, not an object$"
    ):
        objects_in(event)


@pytest.mark.parametrize("body", ["", "hello", "{", "'a'", '{"Records":'])
def test_message_that_is_not_json_is_refused(body: str) -> None:
    with pytest.raises(EnvelopeError, match="the message is not JSON"):
        objects_in_message(body)


def without(event: dict[str, Any], *path: str | int) -> dict[str, Any]:
    """Return a copy of the event that lacks what the path leads to."""
    copied: dict[str, Any] = json.loads(json.dumps(event))
    inner: Any = copied
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return copied


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"hello": SECRET},
        {"Records": []},
        {"Records": None},
        {"Records": SECRET},
        {"Records": 1},
        {"Records": {}},
        {"Records": [SECRET]},
        {"Records": [None]},
        {"Records": [{}]},
        {"Records": [{"password": SECRET}]},
        {"Event": SECRET},
        {"Type": "SubscriptionConfirmation", "Token": SECRET},
        {"Type": "Notification", "hello": SECRET},
        {"Type": "Notification", "Message": 1, "hello": SECRET},
        {"Type": "Notification", "Message": SECRET},
        {"awslogs": {"data": SECRET}},
        notification(entry(), entry(source="aws:sqs")),
        notification(entry(version=2.6)),
        notification(entry("")),
        without(notification(), "Records", 0, "eventName"),
        without(notification(), "Records", 0, "eventVersion"),
        without(notification(), "Records", 0, "s3"),
        without(notification(), "Records", 0, "s3", "bucket"),
        without(notification(), "Records", 0, "s3", "bucket", "name"),
        without(notification(), "Records", 0, "s3", "object", "key"),
        without(eventbridge(), "detail"),
        without(eventbridge(), "detail", "bucket"),
        without(eventbridge(), "detail", "object", "key"),
        eventbridge(""),
        without(sns_event(notification()), "Records", 0, "Sns"),
        without(sns_event(notification()), "Records", 0, "Sns", "Message"),
        sns_event([]),
        sns_body(SECRET),
        sqs_event(),
    ],
    ids=lambda event: json.dumps(event)[:60],
)
def test_event_of_unknown_shape_is_refused_without_its_values(event: dict[str, Any]) -> None:
    with pytest.raises(EnvelopeError) as raised:
        objects_in(event)
    message = str(raised.value)
    assert SECRET not in message
    assert "\n" not in message


def test_refusal_names_the_keys_of_the_event() -> None:
    with pytest.raises(EnvelopeError, match=r"its keys are detail, when$"):
        objects_in({"when": 1, "detail": {"inner": SECRET}})


def test_refusal_of_an_event_without_keys_says_so() -> None:
    with pytest.raises(EnvelopeError, match="it is empty"):
        objects_in({})


def test_refusal_stays_short_whatever_the_keys() -> None:
    with pytest.raises(EnvelopeError) as raised:
        objects_in({f"{number:04}{'x' * 1000}": SECRET for number in range(1000)})
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize(
    "event", [{"a\nb": 1}, notification(entry(source="a\nb")), notification(entry(version="1\n2"))]
)
def test_refusal_is_one_line_whatever_the_event(event: dict[str, Any]) -> None:
    with pytest.raises(EnvelopeError) as raised:
        objects_in(event)
    assert "\n" not in str(raised.value)


def test_one_bad_entry_refuses_the_whole_notification() -> None:
    with pytest.raises(EnvelopeError):
        objects_in(notification(entry(), entry(version="3.0")))


# --- queues --------------------------------------------------------------------------------------


def test_event_of_a_queue_is_recognised_by_its_records() -> None:
    assert is_sqs_event(sqs_event())


@pytest.mark.parametrize(
    "event",
    [
        notification(),
        sns_event(notification()),
        eventbridge(),
        TEST_EVENT,
        {},
        {"Records": []},
        {"Records": None},
        {"Records": "x"},
    ],
)
def test_any_other_event_is_not_of_a_queue(event: dict[str, Any]) -> None:
    assert not is_sqs_event(event)


@pytest.mark.parametrize(
    "event", [{"Records": ["x"]}, {"Records": [None]}, {"Records": [1]}, [], ["x"], "x", None]
)
def test_event_of_unknown_shape_is_not_of_a_queue(event: Any) -> None:  # noqa: ANN401 - anything that JSON can be
    assert not is_sqs_event(event)
