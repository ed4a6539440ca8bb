"""Read from the environment what a stack's owner chose for the messages.

The functions that post to chats read this too, so it imports nothing of the pipeline.
"""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from flowverdict.core.errors import SettingsError
from flowverdict.delivery.message_settings import MessageSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    from aws_lambda_powertools import Logger

_ZONE = re.compile(r"[A-Za-z0-9_+/-]{1,64}")
_ADDRESS = re.compile(r"https://[A-Za-z0-9.-]{1,253}(:\d{1,5})?/[A-Za-z0-9._~/?&=#%+-]{0,400}")
# https://docs.aws.amazon.com/athena/latest/ug/tables-databases-columns-names.html
_TABLE = re.compile(r"[a-z0-9_]{1,128}")
_YES = re.compile(r"yes")
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html
_LOG_GROUPS = re.compile(r"[A-Za-z0-9._/#-]{1,512}(,[A-Za-z0-9._/#-]{1,512}){0,4}")


def message_settings(environment: Mapping[str, str]) -> MessageSettings:
    """Read what a stack's owner chose for the messages.

    The variables are ``MESSAGE_TIME_ZONE``, ``RUNBOOK_URL``, ``ATHENA_TABLE``, ``FLOW_LOG_GROUPS``,
    ``PAGE_BUCKET`` and ``SLACK_BUTTONS``. Where this machine does not know the time zone, times are
    in UTC: that must not keep an alert from being sent (``log_unknown_zone`` says it).

    Raises
    ------
    SettingsError
        Another variable is wrong; the text names the variable.
    """
    groups = _matching(environment, "FLOW_LOG_GROUPS", _LOG_GROUPS, "names of log groups")
    name = environment.get("MESSAGE_TIME_ZONE") or "UTC"
    zone = _zone(name)
    return MessageSettings(
        zone=UTC if zone is None else zone,
        unknown_zone=name if zone is None else None,
        runbook_url=_matching(
            environment, "RUNBOOK_URL", _ADDRESS, "the beginning of an https address"
        ),
        athena_table=_matching(environment, "ATHENA_TABLE", _TABLE, "a table's name"),
        log_groups=() if groups is None else tuple(groups.split(",")),
        page_bucket=_matching(environment, "PAGE_BUCKET", _BUCKET, "an S3 bucket's name"),
        region=environment.get("AWS_REGION") or None,
        buttons=_matching(environment, "SLACK_BUTTONS", _YES, "yes or empty") is not None,
    )


def log_unknown_zone(settings: MessageSettings, logger: Logger) -> None:
    """Log that the chosen time zone is not known, if so."""
    if settings.unknown_zone is not None:
        name = settings.unknown_zone
        logger.warning("MESSAGE_TIME_ZONE: no time zone %r is known, messages show UTC", name)


def _zone(name: str) -> tzinfo | None:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name) if _ZONE.fullmatch(name) else None
    except (OSError, ValueError, KeyError):  # a folder of the database, another file, not there
        return None


def _matching(
    environment: Mapping[str, str], name: str, pattern: re.Pattern[str], what: str
) -> str | None:
    text = environment.get(name, "")
    if text and not pattern.fullmatch(text):
        raise SettingsError(f"{name}: {text!r} is not {what}")
    return text or None
