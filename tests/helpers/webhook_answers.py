"""What the chat tools in place of a webhook answer, for tests that run for every channel."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.helpers.webhook_server import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A chat tool's answers: the status and body of success, and the body of an error code."""

    accepted: Answer
    refused_code: str
    is_json: bool

    def error(self, status: int, code: str, **headers: str) -> Answer:
        """Build an answer that holds an error code."""
        body = json.dumps({"error": {"code": code, "message": "x"}}) if self.is_json else code
        return Answer(status=status, body=body, headers=headers)


TOOLS = {
    "slack": Tool(accepted=Answer(), refused_code="no_service", is_json=False),
    "teams": Tool(
        accepted=Answer(status=202, body=""), refused_code="WorkflowNotFound", is_json=True
    ),
}
