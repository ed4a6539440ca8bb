"""The channel Microsoft Teams: webhooks of the Workflows app (Power Automate).

A workflow with the trigger "When a Teams webhook request is received" takes a message with an
Adaptive Card and posts the card in a chat or channel
(https://learn.microsoft.com/connectors/teams/#microsoft-teams-webhook). The connectors "Incoming
Webhook", whose addresses are at ``webhook.office.com``, are retired
(https://devblogs.microsoft.com/microsoft365dev/retirement-of-office-365-connectors-within-microsoft-teams/).

The workflow answers 202 without a body, before it posts the card; a failure to post shows in the
workflow's run history only. Errors are JSON: ``{"error": {"code": ...}}``. An address that was made
for "Anyone" holds a signature, so it is secret; its host ends in ``api.powerplatform.com``, or in
``logic.azure.com`` if the workflow is older.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus

from flowverdict.delivery.renderers import teams
from flowverdict.delivery.webhook import Channel

_ERROR_CODE = re.compile(r"[A-Za-z]{1,64}")
_RENEW = "make a new workflow in Teams and store its address where this address is stored"


def _is_accepted(status: int, body: str) -> bool:
    # A retired connector answers 200 even if it posts nothing.
    del body
    return status == HTTPStatus.ACCEPTED


def _error_code(body: str) -> str:
    try:
        code = json.loads(body)["error"]["code"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""


CHANNEL = Channel(
    title="Teams",
    message=teams.message,
    is_accepted=_is_accepted,
    error_code=_error_code,
    refusals=frozenset(
        {
            HTTPStatus.UNAUTHORIZED,
            HTTPStatus.FORBIDDEN,
            HTTPStatus.NOT_FOUND,
            HTTPStatus.GONE,
        }
    ),
    advice={
        "WorkflowNotFound": f"the workflow was deleted: {_RENEW}",
        "WorkflowTriggerIsNotEnabled": "the workflow is turned off: turn it on in Power Automate",
        "DirectApiAuthorizationRequired": (
            "the address lacks its signature: let anyone trigger the workflow, and store the whole "
            "address with its sig parameter"
        ),
    },
    renew=_RENEW,
    right_address=(
        "check that the address is a workflow's (its host ends in api.powerplatform.com or "
        "logic.azure.com)"
    ),
)
