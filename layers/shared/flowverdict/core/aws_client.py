"""Turn malformed AWS responses into SDK errors, and read the code of an error that AWS returned.

botocore raises ``ResponseParserError`` for a malformed XML body, which is neither a
``BotoCoreError`` nor a ``ClientError``. Out of a JSON body that is not JSON it makes an empty
success (``botocore.parsers.BaseJSONParser._parse_body_as_json``): a write that never happened would
count as done.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.parsers.expat import ExpatError, ParserCreate

from botocore.exceptions import BotoCoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.client import BaseClient
    from botocore.exceptions import ClientError
    from botocore.model import OperationModel


class MalformedAnswerError(BotoCoreError):
    """A response with status 200 does not have the form of its service's protocol.

    A proxy's sign-in page is such a response.
    """

    fmt = "{operation} was answered with what is not {form}"


def error_code(error: ClientError) -> str:
    """Return AWS's code for an error (``AccessDenied``), ``unknown error`` if it carries none."""
    return error.response.get("Error", {}).get("Code", "unknown error")


def reject_malformed_responses[Client: BaseClient](client: Client) -> Client:
    """Make the client raise ``MalformedAnswerError`` for malformed responses; return the client."""
    client.meta.events.register("before-parse", _check, unique_id="flowverdict-malformed-answers")
    return client


def _check(operation_model: OperationModel, response_dict: Mapping[str, Any], **_: object) -> None:
    shape = operation_model.output_shape
    # Error responses have forms of their own, which botocore handles. A payload (an S3 object) is
    # the user's data, not the protocol's.
    if (
        response_dict["status_code"] != HTTPStatus.OK
        or shape is None
        or "payload" in shape.serialization
    ):
        return
    form = _FORMS.get(_protocol_of(operation_model))
    if form is None:
        return
    body: bytes = response_dict["body"]
    if not body and form.may_be_empty:
        return  # the whole response may be in the headers
    try:
        form.parse(body)
    except (ValueError, ExpatError) as error:
        raise MalformedAnswerError(operation=operation_model.name, form=form.name) from error


def _protocol_of(operation_model: OperationModel) -> str:
    """Return the protocol that botocore parses with; Lambda decides which botocore that is."""
    service = operation_model.service_model
    # Older versions of botocore know one protocol of each service.
    return str(getattr(service, "resolved_protocol", None) or service.protocol)


class _Form(NamedTuple):
    """The form of a protocol's answers: its name, what parses it, and whether a body may lack."""

    name: str
    parse: Callable[[bytes], object]
    may_be_empty: bool


def _parse_xml(body: bytes) -> None:
    ParserCreate().Parse(body, True)  # noqa: FBT003 - expat's: the input is complete


# Answers of other protocols (smithy-rpc-v2-cbor) are not checked: the SDK comes from Lambda's
# runtime and may speak one tomorrow that nobody has seen today.
_FORMS = {
    "json": _Form("JSON", json.loads, may_be_empty=False),
    "rest-json": _Form("JSON", json.loads, may_be_empty=True),
    "ec2": _Form("XML", _parse_xml, may_be_empty=False),
    "query": _Form("XML", _parse_xml, may_be_empty=False),
    "rest-xml": _Form("XML", _parse_xml, may_be_empty=True),
}
