"""What each permission is for: assertions per function, and a table of what fails without each.

``python -m tests.e2e.permissions docs/permissions.md`` (``make e2e-iam``) writes the table. A new
function needs an entry in ``TRIALS``: a trial that needs all permissions of the function and
asserts what the function does with them.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scripts.pack_cloudwatch_event import pack
from tests.e2e.permission_trial import LOG_GROUP, MUTED_PORT, VARIANTS, Trial, deploy_variant, trial
from tests.e2e.policies import policy_statements, without
from tests.e2e.samples import key, notification, scheduled
from tests.e2e.stack import build
from tests.e2e.subscribers import forget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.e2e.permission_trial import Outcome
    from tests.e2e.policies import Statement
    from tests.e2e.webhook import Webhook

# What the emulator grants without the policy, by Sid. Policies that SAM or AWS writes are named by
# the policy.
UNCHECKED: Final[Mapping[str, str]] = {
    "TellMissingFromForbidden": (
        "the emulator answers NoSuchKey with or without it; S3 says AccessDenied without"
    ),
    "GiveBackSoon": "nothing here fails for a reason that passes, so no message comes back early",
    "KeepFailedEvents": "the emulator sends failed events as itself",
    "ReadPolicyConfiguration": "the emulator lets everybody read AppConfig's configurations",
    "SendTraces": "the emulator keeps no traces",
    "TakeFromQueue": "the emulator reads queues as itself",
    "AttachToVpc": "the emulator runs no function in a VPC",
    "SeeVpc": "the emulator runs no function in a VPC",
    "AttachesNothingItself": "the emulator runs no function in a VPC",
    "UseKey": "the emulator encrypts nothing that is stored or sent",
    "WriteLogs": "the emulator writes log lines as itself",
}


def _try_classify_s3(trial: Trial) -> list[str]:
    gone = key(trial.stack.place, "gone")
    outcome = trial.invoke(
        "ClassifyS3Function",
        {"Records": [_message(trial, trial.object_key), _message(trial, gone)]},
    )
    return outcome.missed(
        {
            "an object is read and signalled": len(outcome.signals) > 0,
            "an object that is gone is told from a forbidden one": "NoSuchKey" in outcome.log,
        }
    )


def _try_evaluate_windows(trial: Trial) -> list[str]:
    outcome = trial.read_and_evaluate({"Records": [_message(trial, trial.object_key)]})
    return outcome.missed(
        {
            "the alert of an object arrives": outcome.has_alert_of(trial.own, "firing"),
            **outcome.everybody(),
            "its rules are read": outcome.has_rules_of(trial.own),
            "the rules of a member account are read": outcome.has_rules_of(trial.member),
            "the policy mutes what it should": _mutes(outcome),
        }
    )


def _try_classify_cloudwatch_logs(trial: Trial) -> list[str]:
    records = [
        trial.own.default_record(),
        trial.own.default_record(MUTED_PORT),
        trial.member.default_record(),
    ]
    outcome = trial.invoke(
        "ClassifyCloudWatchLogsFunction",
        json.loads(pack(records, log_group=LOG_GROUP, log_stream=f"{uuid.uuid4()}-all")),
    )
    return outcome.missed(
        {
            "a log event is read and signalled": len(outcome.signals) > 0,
            "its format is read": "flow log format not known" not in outcome.log,
        }
    )


def _try_sweep_alerts(trial: Trial) -> list[str]:
    manager = _open_alerts(trial)
    outcome = trial.invoke("SweepAlertsFunction", scheduled(241 * 60), manager)
    return outcome.missed(
        {
            "the end of an alert is told": outcome.has_alert_of(trial.own, "reminder"),
            **outcome.everybody(),
            "the policy is looked at": "policy not usable" not in outcome.log,
            "email subscriptions are counted": "subscriptions not counted" not in outcome.log,
        }
    )


def _try_notify_slack(trial: Trial) -> list[str]:
    return _try_notify(trial, "NotifySlackFunction", "Slack", trial.slack)


def _try_notify_teams(trial: Trial) -> list[str]:
    return _try_notify(trial, "NotifyTeamsFunction", "Teams", trial.teams)


def _try_notify(trial: Trial, function: str, title: str, hook: Webhook) -> list[str]:
    notification = _first_alert(trial)
    hook.forget()
    sns = {
        "Type": "Notification",
        "MessageId": "1",
        "TopicArn": trial.stack.outputs["AlertTopicArn"],
        "Message": notification,
    }
    outcome = trial.invoke(
        function,
        {"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": sns}]},
    )
    return outcome.missed({f"the alert is posted to {title}": len(hook.requests) == 1})


def _mutes(outcome: Outcome) -> bool:
    return "muted by the policy" in outcome.log and not any(
        alert["service_port"] == MUTED_PORT for alert in outcome.alerts
    )


def _open_alerts(trial: Trial) -> list[dict[str, Any]]:
    """Return the items of the alert table after an alert of each account.

    They are made once for each stack, with all permissions.
    """
    if trial.object_key not in _BOOKS:
        outcome = trial.read_and_evaluate({"Records": [_message(trial, trial.object_key)]})
        _BOOKS[trial.object_key] = (forget(trial.stack), outcome.told["machines"][0])
    return _BOOKS[trial.object_key][0]


def _first_alert(trial: Trial) -> str:
    _open_alerts(trial)
    return _BOOKS[trial.object_key][1]


_BOOKS: Final[dict[str, tuple[list[dict[str, Any]], str]]] = {}

TRIALS: Final[Mapping[str, Callable[[Trial], list[str]]]] = {
    "ClassifyCloudWatchLogsFunction": _try_classify_cloudwatch_logs,
    "ClassifyS3Function": _try_classify_s3,
    "EvaluateWindowsFunction": _try_evaluate_windows,
    "NotifySlackFunction": _try_notify_slack,
    "NotifyTeamsFunction": _try_notify_teams,
    "SweepAlertsFunction": _try_sweep_alerts,
}


type Row = tuple[Statement, list[str]]


def table(permitted: Trial) -> list[Row]:
    """Take out each statement, action and resource in turn, and return what then fails.

    Each variant of the parameters is deployed in turn.

    Raises
    ------
    LookupError
        A function has no entry in ``TRIALS``, or something fails with all permissions there.
    """
    rows: dict[tuple[str, str], Row] = {}
    for variant in VARIANTS:
        if rows:
            deploy_variant(permitted.stack, variant)
        statements = [
            new
            for new in policy_statements(permitted.stack)
            if (new.function, str(new)) not in rows
        ]
        for function in sorted({statement.function for statement in statements}):
            if function not in TRIALS:
                raise LookupError(f"{function} has no entry in TRIALS")
            if missed := TRIALS[function](permitted):
                raise LookupError(f"{function} with all its permissions: {missed}")
        for statement in statements:
            if statement.sid in UNCHECKED:
                rows[statement.function, str(statement)] = (statement, [])
                continue
            with without(permitted.stack, statement):
                rows[statement.function, str(statement)] = (
                    statement,
                    TRIALS[statement.function](permitted),
                )
    return [row for _, row in sorted(rows.items(), key=lambda item: item[0][0])]


def markdown(rows: Sequence[tuple[Statement, list[str]]]) -> str:
    """Return the table as a Markdown document."""
    lines = [
        "# What each permission is for",
        "",
        (
            "Written by `make e2e-iam`: each statement of each function's role, and each action "
            "and resource of those that have"
        ),
        (
            "several, was taken out of the deployed role in turn, and the function invoked. "
            "This is what then failed; with all of"
        ),
        (
            "them nothing did. What the emulator grants by itself is not checked here; "
            "that the template asks for it is held by"
        ),
        "`tests/project/test_translated_template.py`.",
        "",
        "| function | without | fails |",
        "|---|---|---|",
    ]
    for statement, missed in rows:
        unchecked = (
            f"not checked: {UNCHECKED[statement.sid]}"
            if statement.sid in UNCHECKED
            else "**nothing**"
        )
        lines.append(f"| {statement.function} | {statement} | {'; '.join(missed) or unchecked} |")
    return "\n".join(lines) + "\n"


def _message(trial: Trial, object_key: str) -> dict[str, Any]:
    body = notification(trial.stack.outputs["FlowLogBucketName"], object_key)
    return {
        "messageId": object_key,
        "eventSource": "aws:sqs",
        "body": json.dumps(body),
        "attributes": {},
        "messageAttributes": {},
    }


def _main(target: Path) -> int:
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="flowverdict-sam-") as folder,
        trial(build(Path(folder))) as deployed,
    ):
        rows = table(deployed)
    text = markdown(rows)
    target.write_text(text)
    needless = [
        f"{statement.function}: {statement}"
        for statement, missed in rows
        if not missed and statement.sid not in UNCHECKED
    ]
    sys.stdout.write(
        f"{text}\n{len(rows)} taken out in {time.monotonic() - started:.0f} s, "
        f"written to {target}\n"
    )
    for line in needless:
        sys.stdout.write(f"not needed, or not tested: {line}\n")
    return 1 if needless else 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
