"""What each permission is for: assertions per function, and a table of what IAM refuses without it.

``python -m tests.e2e.permissions docs/permissions.md`` (``make e2e-iam``) writes the table. A new
function needs an entry in ``TRIALS``: a trial that needs all permissions of the function and
asserts what the function does with them. Each trial runs once for each set of parameters, and the
emulator keeps what IAM decided of the function's calls. The table says which of these calls IAM
refuses if a statement is missing.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from http import HTTPStatus
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from scripts.pack_cloudwatch_event import pack
from tests.e2e.permission_trial import LOG_GROUP, MUTED_PORT, VARIANTS, Trial, deploy_variant, trial
from tests.e2e.policies import Call, Role, policy_statements, roles, start_anew
from tests.e2e.samples import key, notification, scheduled
from tests.e2e.stack import build
from tests.e2e.subscribers import forget, post_to
from tests.helpers.slack_api import slack_api
from tests.helpers.slack_requests import pressed, signed, submitted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.e2e.permission_trial import Outcome
    from tests.e2e.policies import Statement
    from tests.e2e.webhook import Webhook

# Calls that nobody makes here, by Sid and with the reason: IAM is asked whether it would allow what
# the statement names. Policies that SAM or AWS writes are named by the policy.
NOT_MADE: Final[Mapping[str, str]] = {
    "TellMissingFromForbidden": (
        "the emulator answers NoSuchKey with or without it; S3 says AccessDenied without"
    ),
    "GiveBackSoon": "nothing here fails for a reason that passes, so no message comes back early",
    "KeepFailedEvents": "the emulator sends failed events as itself",
    "ReadPolicyConfiguration": "the emulator lets everybody read AppConfig's configurations",
    "PublishToOwners": "no policy document here routes an alert to its owner",
    "SendTraces": "the emulator keeps no traces",
    "TakeFromQueue": "the emulator reads queues as itself",
    "AttachToVpc": "the emulator runs no function in a VPC",
    "SeeVpc": "the emulator runs no function in a VPC",
    "UseKey": "the emulator encrypts nothing that is stored or sent",
    "WriteLogs": "the emulator writes log lines as itself",
    # By function and Sid, where other functions make the calls.
    "SweepAlertsFunction: ReadEvidence": "no alert here ends while its rules are not known",
    "SweepAlertsFunction: ListEvidence": "no alert here ends while its rules are not known",
}


def _why_not_made(statement: Statement) -> str | None:
    sid = statement.sid
    return NOT_MADE.get(sid, NOT_MADE.get(f"{statement.function}: {sid}"))


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
            "the page of problems is written": "page of problems not written" not in outcome.log,
        }
    )


def _try_notify_slack(trial: Trial) -> list[str]:
    with slack_api() as (slack, address):
        if not post_to(trial.stack, address):
            return _try_notify(trial, "NotifySlackFunction", "Slack", trial.slack)
        outcome = trial.invoke("NotifySlackFunction", _sns_event(trial))
        return outcome.missed(
            {
                "the alert is posted with the token": len(slack.firsts) == 1,
                "its thread is remembered": "thread not as it should be" not in outcome.log,
            }
        )


def _try_notify_teams(trial: Trial) -> list[str]:
    return _try_notify(trial, "NotifyTeamsFunction", "Teams", trial.teams)


def _try_notify(trial: Trial, function: str, title: str, hook: Webhook) -> list[str]:
    event = _sns_event(trial)
    hook.forget()
    outcome = trial.invoke(function, event)
    return outcome.missed({f"the alert is posted to {title}": len(hook.requests) == 1})


def _sns_event(trial: Trial) -> dict[str, Any]:
    sns = {
        "Type": "Notification",
        "MessageId": "1",
        "TopicArn": trial.stack.outputs["AlertTopicArn"],
        "Message": _first_alert(trial),
    }
    return {"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": sns}]}


def _try_slack_actions(trial: Trial) -> list[str]:
    manager = _open_alerts(trial)
    fingerprint = json.loads(_first_alert(trial))["fingerprint"]
    button = f"flowverdict:silence-1h:{fingerprint}"
    event = signed(pressed(button, answers_to=None), int(time.time()))
    with slack_api() as (slack, address):
        asks = post_to(trial.stack, address, "SlackActionsFunction")
        outcome = trial.invoke("SlackActionsFunction", event, manager)
    missed = outcome.missed(
        {
            "a press is done": outcome.payload.get("statusCode") == HTTPStatus.OK,
            "the reason is asked for with the token": len(slack.views) == int(asks),
        }
    )
    if asks:
        event = signed(submitted(button, "a change", private_metadata=""), int(time.time()))
        outcome = trial.invoke("SlackActionsFunction", event, forgets=False)
        done = outcome.payload.get("statusCode") == HTTPStatus.OK
        missed += outcome.missed({"a submitted reason is taken": done})
    again = trial.invoke("SlackActionsFunction", event, forgets=False)
    status = again.payload.get("statusCode")
    return missed + again.missed({"a press is done once": status == HTTPStatus.UNAUTHORIZED})


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
    "SlackActionsFunction": _try_slack_actions,
    "SweepAlertsFunction": _try_sweep_alerts,
}


# Denies calls to the function's own code which the role needs for Lambda.
DENIES: Final = "AttachesNothingItself"

type Row = tuple[Statement, list[str]]


def table(permitted: Trial) -> list[Row]:
    """Return what IAM refuses without each statement, action and resource.

    Each variant of the parameters is deployed in turn.

    Raises
    ------
    LookupError
        A function has no entry in ``TRIALS``, or something fails with all permissions there.
    """
    stack = permitted.stack
    rows: dict[tuple[str, str], Row] = {}
    for variant in VARIANTS:
        if rows:
            deploy_variant(stack, variant)
        names = roles(stack)
        for function in names:
            if function not in TRIALS:
                raise LookupError(f"{function} has no entry in TRIALS")
            start_anew(stack, function)
            if missed := TRIALS[function](permitted):
                raise LookupError(f"{function} with all its permissions: {missed}")
        calls = _calls_by_role(permitted)
        deployed = {name: Role.deployed(stack, name) for name in names.values()}
        for statement in policy_statements(stack):
            role = deployed[names[statement.function]]
            row = rows.get((statement.function, str(statement)), (statement, []))
            row[1].extend(
                action
                for action in _refused(role, statement, calls[role.name])
                if action not in row[1]
            )
            rows[statement.function, str(statement)] = row
    return [row for _, row in sorted(rows.items(), key=lambda item: item[0][0])]


def _calls_by_role(permitted: Trial) -> Mapping[str, frozenset[Call]]:
    """Return the calls that IAM has allowed so far, by the name of the role."""
    found: defaultdict[str, set[Call]] = defaultdict(set)
    for each in permitted.aws.decisions:
        _, _, session = each["principal"].partition(":assumed-role/")
        if session and each["decision"] == "Allow":
            found[session.partition("/")[0]].add(Call(each["action"], each["resource"]))
    return defaultdict(frozenset, {name: frozenset(calls) for name, calls in found.items()})


def _refused(role: Role, statement: Statement, made: frozenset[Call]) -> list[str]:
    """Return the actions that are refused without a statement; of one that denies, allowed."""
    if statement.sid == DENIES:
        denied = {call.action for call in role.calls_of(statement)} & {
            call.action for call in role.allowed(role.calls)
        }
        return sorted(denied if statement.action is None else denied & {statement.action})
    calls = made if _why_not_made(statement) is None else role.calls_of(statement)
    can = role.allowed(calls)
    return sorted({call.action for call in can - role.allowed(can, less=statement)})


def _needless(rows: Sequence[Row]) -> list[Statement]:
    """Return the statements without which no function is refused anything.

    A policy that several functions have may hold what only one of them needs.
    """
    needed = {(each.policy.title, str(each)) for each, refused in rows if refused}
    return [each for each, _ in rows if (each.policy.title, str(each)) not in needed]


_HOW: Final = (
    "Written by `make e2e-iam`: the deployed functions did their work in an emulator that enforces "
    "IAM, and nothing was refused. Then IAM was asked which of the calls that they had made it "
    "refuses without each statement of the function's role, and without each action and resource "
    "of those that have several. `tests/e2e/test_permissions.py` takes one statement of each "
    "function out of its role, and the function fails. Where nobody makes the call here, IAM was "
    "asked about what the statement names, and the reason is given. Conditions count as met."
)


def markdown(rows: Sequence[Row]) -> str:
    """Return the table as a Markdown document."""
    lines = [
        "# What each permission is for",
        "",
        *wrap(_HOW, 120),
        "",
        "| function | without | refused |",
        "|---|---|---|",
    ]
    needless = {*_needless(rows)}
    for statement, refused in rows:
        what = ", ".join(f"`{action}`" for action in refused)
        if not refused:
            what = (
                "**nothing**" if statement in needless else "nothing: another statement allows it"
            )
        elif statement.sid == DENIES:
            what = f"nothing: the function's own code may {what}"
        if (reason := _why_not_made(statement)) is not None:
            what = f"{what} (not made here: {reason})"
        lines.append(f"| {statement.function} | {statement} | {what} |")
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
    needless = [f"{statement.function}: {statement}" for statement in _needless(rows)]
    sys.stdout.write(
        f"{text}\n{len(rows)} rows in {time.monotonic() - started:.0f} s, written to {target}\n"
    )
    for line in needless:
        sys.stdout.write(f"not needed, or not tested: {line}\n")
    return 1 if needless else 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
