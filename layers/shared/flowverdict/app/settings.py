"""Read and check the environment variables of the functions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from flowverdict.app.message_settings import message_settings
from flowverdict.core.errors import FormatError, SettingsError
from flowverdict.delivery.message_settings import DEFAULTS, MessageSettings
from flowverdict.flowlog.line_reader import header_format
from flowverdict.flowlog.records import RecordFormat
from flowverdict.lifecycle.intervals import HOUR, Intervals
from flowverdict.lifecycle.weekly_time import WeeklyTime

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo


_TOPIC_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):sns:[a-z0-9-]+:(?P<account>\d{12}):[A-Za-z0-9_-]{1,256}"
)
_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_QUEUE_URL = re.compile(r"https?://[A-Za-z0-9.:-]+/\d{12}/[A-Za-z0-9_-]{1,80}(\.fifo)?")
_POLICY = re.compile(
    r"ssm:/?[A-Za-z0-9_./-]{1,1011}|appconfig:[A-Za-z0-9_.-]{1,64}/[A-Za-z0-9_.-]{1,64}/[A-Za-z0-9_.-]{1,64}"
)
_ROLE_NAME = re.compile(r"[A-Za-z0-9+=,.@_-]{1,64}")
# A person reads a message in two minutes, and nobody reads more in an hour. The topic, email (10 a
# second) and chat take far more.
MESSAGES_PER_HOUR = 30
SIGNAL_DELAY = 90  # seconds, as in the template
_ACCOUNTS = re.compile(r"\d{12}(,\d{12})*")
_ORGANIZATION = re.compile(r"o-[a-z0-9]{10,32}")
_EXTERNAL_ID = re.compile(r"[A-Za-z0-9+=,.@:/-]{2,1224}")


class Missing(StrEnum):
    """What the parameters of the stack leave out, though nothing comes of a stack without it."""

    RECIPIENT = "recipient"  # of alerts
    SOURCE = "source"  # of records


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the functions that classify and sweep.

    Parameters
    ----------
    alert_topic_arn
        ``ALERT_TOPIC_ARN``: the SNS topic alerts are published to.
    email_topic_arn
        ``EMAIL_TOPIC_ARN``: the SNS topic of those who read mail; ``None`` for nobody.
    chat_topic_arn
        ``CHAT_TOPIC_ARN``: the SNS topic of Amazon Q Developer in chat applications; ``None`` for
        nobody.
    operator_topic_arn
        ``OPERATOR_TOPIC_ARN``: the SNS topic of this program's own alarms; ``None`` for nobody.
    alert_table
        ``ALERT_TABLE``: the DynamoDB table that alerts are remembered in.
    evidence_bucket
        ``EVIDENCE_BUCKET``: the S3 bucket that the evidence of sources is kept in; ``None`` for a
        function that reads none.
    queue_url
        ``QUEUE_URL``: the SQS queue that messages come from; ``None`` for a function without one.
    signal_queue_url
        ``SIGNAL_QUEUE_URL``: the FIFO queue that windows are signalled with; ``None`` for a
        function that signals none.
    signal_delay
        ``SIGNAL_DELAY_SECONDS``: the delay of that queue.
    intervals
        ``REPEAT_MINUTES``, ``RESOLVE_MINUTES``, ``DIGEST_HOURS``: how long things take; and
        ``FUNCTION_SECONDS``: the time-outs of the functions that send alerts, with blanks between
        them.
    messages_per_hour
        ``MESSAGES_PER_HOUR``: alerts and reminders an hour at the most.
    policy
        ``POLICY``: where the policy document is, ``ssm:NAME`` or
        ``appconfig:APPLICATION/ENVIRONMENT/PROFILE``; ``None`` for none.
    region
        ``AWS_REGION``, which Lambda sets; the Region of log groups, whose records may not name
        theirs.
    log_format
        ``LOG_FORMAT``: the fields of the CloudWatch Logs records, as words (``version account-id
        ...``) or as EC2 writes them (``${version} ${account-id} ...``). ``None`` (unset or empty)
        asks EC2.
    account_id, partition
        The function's own, as the topic's ARN says: the two are of one stack.
    reader_role_name, reader_external_id
        ``READER_ROLE_NAME`` and ``READER_EXTERNAL_ID``: the role that lets this account read the
        rules of others. ``None`` reads no other account's.
    reader_accounts
        ``READER_ACCOUNTS``: the accounts that have that role, with commas; empty for all.
    reader_organization
        ``READER_ORGANIZATION``: the organization outside which IAM lets no role be assumed;
        ``None`` if it is not known.
    messages
        The time zone of messages, and where their links lead (``app.message_settings``).
    weekly
        ``WEEKLY_SUMMARY``: day and time of the weekly summary in the time zone of messages, as
        ``MON 07:00``; ``None`` (unset or empty) for none.
    missing
        ``MISSING``: what the stack's parameters leave out, with blanks between the words.
        Subscriptions and flow logs that are made outside the stack may stand in for it.
    """

    alert_topic_arn: str
    email_topic_arn: str | None
    chat_topic_arn: str | None
    operator_topic_arn: str | None
    alert_table: str
    evidence_bucket: str | None
    queue_url: str | None
    signal_queue_url: str | None
    signal_delay: int
    intervals: Intervals
    messages_per_hour: int
    policy: str | None
    region: str | None
    log_format: RecordFormat | None
    account_id: str
    partition: str
    reader_role_name: str | None
    reader_external_id: str | None
    reader_accounts: frozenset[str] = frozenset()
    reader_organization: str | None = None
    messages: MessageSettings = DEFAULTS
    weekly: WeeklyTime | None = None
    missing: tuple[Missing, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read and check the settings.

        Raises
        ------
        SettingsError
            A variable is missing or wrong; the text names the variable.
        """
        topic_arn = environment.get("ALERT_TOPIC_ARN", "")
        topic = _TOPIC_ARN.fullmatch(topic_arn)
        if topic is None:
            raise SettingsError(f"ALERT_TOPIC_ARN: {topic_arn!r} is not an SNS topic's ARN")
        messages = message_settings(environment)
        return cls(
            alert_topic_arn=topic_arn,
            email_topic_arn=_matching(
                environment, "EMAIL_TOPIC_ARN", _TOPIC_ARN, "an SNS topic's ARN"
            ),
            chat_topic_arn=_matching(
                environment, "CHAT_TOPIC_ARN", _TOPIC_ARN, "an SNS topic's ARN"
            ),
            operator_topic_arn=_matching(
                environment, "OPERATOR_TOPIC_ARN", _TOPIC_ARN, "an SNS topic's ARN"
            ),
            alert_table=alert_table(environment),
            evidence_bucket=_matching(
                environment, "EVIDENCE_BUCKET", _BUCKET, "an S3 bucket's name"
            ),
            queue_url=_matching(environment, "QUEUE_URL", _QUEUE_URL, "an SQS queue's address"),
            signal_queue_url=_matching(
                environment, "SIGNAL_QUEUE_URL", _QUEUE_URL, "an SQS queue's address"
            ),
            signal_delay=_number(environment, "SIGNAL_DELAY_SECONDS", SIGNAL_DELAY),
            intervals=intervals(environment),
            messages_per_hour=_number(environment, "MESSAGES_PER_HOUR", MESSAGES_PER_HOUR),
            policy=_matching(
                environment,
                "POLICY",
                _POLICY,
                "ssm:NAME or appconfig:APPLICATION/ENVIRONMENT/PROFILE",
            ),
            region=environment.get("AWS_REGION") or None,
            log_format=_log_format(environment.get("LOG_FORMAT", "").strip()),
            account_id=topic["account"],
            partition=topic["partition"],
            reader_role_name=_matching(
                environment, "READER_ROLE_NAME", _ROLE_NAME, "a role's name, without path or ARN"
            ),
            reader_external_id=_matching(
                environment, "READER_EXTERNAL_ID", _EXTERNAL_ID, "an external id"
            ),
            reader_accounts=frozenset(
                (_matching(environment, "READER_ACCOUNTS", _ACCOUNTS, "account ids") or "").split(
                    ","
                )
            )
            - {""},
            reader_organization=_matching(
                environment, "READER_ORGANIZATION", _ORGANIZATION, "the id of an organization"
            ),
            messages=messages,
            weekly=_weekly(environment.get("WEEKLY_SUMMARY", ""), messages.zone),
            missing=_missing(environment.get("MISSING", "")),
        )


def alert_table(environment: Mapping[str, str]) -> str:
    """Read ``ALERT_TABLE``; raises ``SettingsError`` if it is missing or wrong."""
    return _required(environment, "ALERT_TABLE", _TABLE, "a DynamoDB table's name")


def intervals(environment: Mapping[str, str]) -> Intervals:
    """Read how long things take; raises ``SettingsError`` if a variable is wrong."""
    return Intervals(
        repeat=60 * _number(environment, "REPEAT_MINUTES", Intervals().repeat // 60),
        resolve=60 * _number(environment, "RESOLVE_MINUTES", Intervals().resolve // 60),
        digest=HOUR * _number(environment, "DIGEST_HOURS", Intervals().digest // HOUR),
        outbox=_longest(environment, "FUNCTION_SECONDS", Intervals().outbox),
    )


def _matching(
    environment: Mapping[str, str], name: str, pattern: re.Pattern[str], what: str
) -> str | None:
    text = environment.get(name, "")
    if text and not pattern.fullmatch(text):
        raise SettingsError(f"{name}: {text!r} is not {what}")
    return text or None


def _required(
    environment: Mapping[str, str], name: str, pattern: re.Pattern[str], what: str
) -> str:
    text = _matching(environment, name, pattern, what)
    if text is None:
        raise SettingsError(f"{name}: missing; {what} is needed")
    return text


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise SettingsError(f"{name}: {text!r} is not a whole number from 1 to 999999")
    return int(text)


def _longest(environment: Mapping[str, str], name: str, default: int) -> int:
    """Return the largest of several numbers: one template knows the functions' time-outs."""
    words = environment.get(name, "").split()
    return max((_number({name: word}, name, default) for word in words), default=default)


def _weekly(text: str, zone: tzinfo) -> WeeklyTime | None:
    try:
        return WeeklyTime.parse(text, zone) if text else None
    except ValueError as error:
        raise SettingsError(f"WEEKLY_SUMMARY: {error}") from error


def _missing(text: str) -> tuple[Missing, ...]:
    try:
        return tuple(Missing(word) for word in text.split())
    except ValueError as error:
        raise SettingsError(f"MISSING: {error}") from error


def _log_format(text: str) -> RecordFormat | None:
    if not text:
        return None
    try:
        record_format = RecordFormat.from_text(text)
    except FormatError as error:
        raise SettingsError(f"LOG_FORMAT: {error}") from error
    if header_format(" ".join(record_format.names).encode()) is None:
        strange = ", ".join(record_format.unknown_names)
        raise SettingsError(
            f"LOG_FORMAT: {strange} is not a field this version knows, "
            "and fields that tell flows apart are missing"
        )
    return record_format
