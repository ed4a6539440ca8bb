"""The registry of renderers: every format in which an alert or a notice can be shown.

``flowverdict replay --output NAME``, the golden files and the laws for untrusted text iterate over
``RENDERERS``. A new renderer is one module here with a function ``render(notification) -> str``,
one line in ``RENDERERS`` and one test file (``docs/recipes/renderer.md``). A module is imported at
its first use, so a Lambda function loads only the renderers it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowverdict.alerts.model import Notification


@dataclass(frozen=True, slots=True, kw_only=True)
class Renderer:
    """A format of notifications.

    Parameters
    ----------
    module
        Name of the module in this package that has ``render``.
    purpose
        What the format is for, as one phrase.
    """

    module: str
    purpose: str

    def render(self, notification: Notification) -> str:
        """Return the notification as text; a JSON format is one line."""
        text: str = import_module(f"{__name__}.{self.module}").render(notification)
        return text


RENDERERS = {
    "email": Renderer(module="email", purpose="subject and plain text of an email"),
    "slack": Renderer(module="slack", purpose="message of Slack's Block Kit"),
    "teams": Renderer(module="teams", purpose="Adaptive Card of Microsoft Teams"),
    "amazon-q": Renderer(module="amazon_q", purpose="notification of Amazon Q Developer"),
    "pagerduty": Renderer(module="pagerduty", purpose="event of PagerDuty's Events API v2"),
    "ocsf": Renderer(module="ocsf", purpose="OCSF Detection Finding"),
}
