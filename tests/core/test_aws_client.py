"""A guarded client raises an SDK error for a malformed response."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import (
    MalformedAnswerError,
    error_code,
    reject_malformed_responses,
)

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest

ROOT = Path(__file__).parents[2]
PAGE = b"<html><body>Please sign in to the hotel's network<br></body>"


class _Raw(io.BytesIO):
    def stream(self, **_: object) -> list[bytes]:
        return [self.read()]


def client_answered(service: Any, body: bytes, status: int = 200) -> Any:  # noqa: ANN401 - boto3's
    client = reject_malformed_responses(
        boto3.client(
            service,
            region_name="eu-west-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",  # noqa: S106
        )
    )

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        return AWSResponse(request.url, status, HTTPHeaders(), _Raw(body))

    client.meta.events.register_first("before-send", answer)
    return client


@pytest.mark.parametrize("body", [PAGE, b"", b"<DescribeVpcsResponse><vpcSet>"])
def test_a_malformed_xml_response_raises(body: bytes) -> None:
    with pytest.raises(
        MalformedAnswerError, match=r"^DescribeVpcs was answered with what is not XML$"
    ) as raised:
        client_answered("ec2", body).describe_vpcs()
    assert isinstance(raised.value, BotoCoreError)


@pytest.mark.parametrize("body", [PAGE, b"", b'{"Item": {"pk"'])
def test_a_malformed_json_response_does_not_count_as_written(body: bytes) -> None:
    with pytest.raises(MalformedAnswerError, match=r"^PutItem was answered with what is not JSON$"):
        client_answered("dynamodb", body).put_item(TableName="table", Item={"pk": {"S": "key"}})


def test_a_well_formed_response_is_returned() -> None:
    assert client_answered("dynamodb", b"{}").put_item(
        TableName="table", Item={"pk": {"S": "key"}}
    )["ResponseMetadata"]
    assert (
        client_answered(
            "ec2", b"<DescribeVpcsResponse><vpcSet/></DescribeVpcsResponse>"
        ).describe_vpcs()["Vpcs"]
        == []
    )
    assert client_answered("s3", b"").put_object(Bucket="bucket", Key="key", Body=b"")[
        "ResponseMetadata"
    ]


def test_a_payload_may_have_any_form() -> None:
    assert client_answered("s3", PAGE).get_object(Bucket="bucket", Key="key")["Body"].read() == PAGE
    assert (
        client_answered("appconfigdata", PAGE)
        .get_latest_configuration(ConfigurationToken="token")["Configuration"]
        .read()
        == PAGE
    )


def test_an_error_response_stays_a_client_error() -> None:
    with pytest.raises(ClientError, match=r"\(403\)|Forbidden"):
        client_answered("s3", b"", 403).head_bucket(Bucket="bucket")


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ({"Error": {"Code": "AccessDenied", "Message": "no"}}, "AccessDenied"),
        ({"Error": {}}, "unknown error"),
        ({}, "unknown error"),
    ],
)
def test_the_code_of_an_error(response: Any, code: str) -> None:  # noqa: ANN401 - botocore's
    assert error_code(ClientError(response, "GetObject")) == code


# --- another SDK than today's ---------------------------------------------------------------------

CBOR = "smithy-rpc-v2-cbor"
EMPTY_MAP = b"\xa0"  # in CBOR; no XML and no JSON


def test_an_answer_in_a_protocol_that_nobody_knows_yet_is_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("botocore.model.ServiceModel.resolved_protocol", CBOR)
    answer = client_answered("cloudwatch", EMPTY_MAP).list_metrics()
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


# Run with each version of the SDK: a malformed answer is told, a good one is returned.
PROGRAM = """
import io, boto3
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from flowverdict.core.aws_client import MalformedAnswerError, reject_malformed_responses

class Raw(io.BytesIO):
    def stream(self, **_):
        return [self.read()]

CALLS = {
    "dynamodb": (lambda client: client.list_tables(), b"{}"),
    "ec2": (lambda client: client.describe_vpcs(), b"<DescribeVpcsResponse/>"),
    "sns": (lambda client: client.list_topics(), b"<R><ListTopicsResult/></R>"),
    "sqs": (lambda client: client.list_queues(), b"{}"),
    "sts": (lambda client: client.get_caller_identity(), b"<R><GetCallerIdentityResult/></R>"),
}
for service, (call, good) in CALLS.items():
    for body in (good, b"<html>a hotel<br>"):
        client = reject_malformed_responses(boto3.client(
            service, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
        ))
        client.meta.events.register_first(
            "before-send",
            lambda request, body=body, **_: AWSResponse(request.url, 200, HTTPHeaders(), Raw(body)),
        )
        try:
            call(client)
        except MalformedAnswerError:
            print(service, "malformed" if body != good else "WRONGLY malformed")
        else:
            print(service, "good" if body == good else "WRONGLY good")
print(boto3.__version__)
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", ["boto3==1.35.0", "boto3==1.40.0", "boto3"])
def test_older_sdks_and_the_newest_are_checked_alike(tmp_path: Path, version: str) -> None:
    uv = shutil.which("uv") or ROOT / ".uv" / "bin" / "uv"
    subprocess.run(  # noqa: S603 - our own program
        [uv, "pip", "install", "-q", "--python", sys.executable, "--target", tmp_path, version],
        check=True,
    )
    told = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-S", "-c", PROGRAM],
        env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT / 'layers' / 'shared'}"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\n")
    services = ["dynamodb", "ec2", "sns", "sqs", "sts"]
    assert told[:-2] == [f"{name} {what}" for name in services for what in ("good", "malformed")]
    assert told[-2] >= version.partition("==")[2]
