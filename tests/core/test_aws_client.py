"""A guarded client raises an SDK error for a malformed response."""

from __future__ import annotations

import io
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
