"""What the SDK's clients lack: an answer that is none comes out as an error of the SDK's, as everything else that goes wrong does.

botocore parses an answer in XML and raises ``ResponseParserError``, which is neither a ``BotoCoreError`` nor a ``ClientError``. Of
an answer in JSON that is no JSON it makes an empty success (``botocore.parsers.BaseJSONParser._parse_body_as_json``): what was not
written would count as written.
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
    from botocore.model import OperationModel


class MalformedAnswerError(BotoCoreError):
    """An answer of status 200 is not in the form of its service's protocol, for instance a proxy's page."""

    fmt = "{operation} was answered with what is no {form}"


def reject_malformed_responses[Client: BaseClient](client: Client) -> Client:
    """Let the client raise ``MalformedAnswerError`` for answers that are none; gives the client itself."""
    client.meta.events.register("before-parse", _check, unique_id="flowverdict-malformed-answers")
    return client


def _check(operation_model: OperationModel, response_dict: Mapping[str, Any], **_: object) -> None:
    shape = operation_model.output_shape
    # Errors have forms of their own, which botocore copes with; a payload is not the protocol's.
    if (
        response_dict["status_code"] != HTTPStatus.OK
        or shape is None
        or "payload" in shape.serialization
    ):
        return
    body: bytes = response_dict["body"]
    protocol = operation_model.service_model.resolved_protocol
    if not body and protocol.startswith("rest-"):
        return  # all that is told may be in the headers
    try:
        if "json" in protocol:
            json.loads(body)
        else:
            ParserCreate().Parse(body, True)  # noqa: FBT003 - the end of it; expat's own
    except (ValueError, ExpatError) as error:
        form = "JSON" if "json" in protocol else "XML"
        raise MalformedAnswerError(operation=operation_model.name, form=form) from error
