"""Turn malformed AWS responses into SDK errors, and read the code of an error that AWS returned.

botocore raises ``ResponseParserError`` for a malformed XML body, which is neither a
``BotoCoreError`` nor a ``ClientError``. Out of a JSON body that is not JSON it makes an empty
success (``botocore.parsers.BaseJSONParser._parse_body_as_json``): a write that never happened would
count as done.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from xml.parsers.expat import ExpatError, ParserCreate

from botocore.exceptions import BotoCoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    body: bytes = response_dict["body"]
    protocol = operation_model.service_model.resolved_protocol
    if not body and protocol.startswith("rest-"):
        return  # the whole response may be in the headers
    try:
        if "json" in protocol:
            json.loads(body)
        else:
            ParserCreate().Parse(body, True)  # noqa: FBT003 - expat's: the input is complete
    except (ValueError, ExpatError) as error:
        form = "JSON" if "json" in protocol else "XML"
        raise MalformedAnswerError(operation=operation_model.name, form=form) from error
