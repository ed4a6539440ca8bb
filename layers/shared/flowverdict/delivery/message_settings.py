"""What a stack's owner chooses for the messages: the time zone, and where links lead."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo

# The attribute of a message of the alert topic that names the owner's channel of Slack.
SLACK_CHANNEL_ATTRIBUTE = "slack_channel"
# The attribute of an end that a message of the kind ``ends`` on the alert topic tells too.
IN_ENDS_ATTRIBUTE = "in_ends"
PAGE_KEY = "pages/problems.html"  # of the page of problems, in the bucket of the evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSettings:
    """Settings of all messages; the default shows UTC and links to the AWS console alone.

    Parameters
    ----------
    zone
        Of the times in mail and Teams. Slack shows each reader their own.
    runbook_url
        The beginning of the address of a page for each verdict and ending; ``None`` for no link.
    athena_table
        The table of the flow logs in S3, as AWS's page on partition projection makes it; ``None``
        for no query.
    log_groups
        The log groups of the stack's flow logs, which lie in ``region``.
    page_bucket
        The bucket, in ``region``, that the page of problems is in; ``None`` for no page.
    unknown_zone
        A time zone that was asked for and is not known, so that UTC stands for it.
    buttons
        Whether Slack's messages have buttons, which the function ``slack_actions`` answers.
    """

    zone: tzinfo = UTC
    runbook_url: str | None = None
    athena_table: str | None = None
    log_groups: tuple[str, ...] = ()
    region: str | None = None
    page_bucket: str | None = None
    unknown_zone: str | None = None
    buttons: bool = False


DEFAULTS = MessageSettings()
