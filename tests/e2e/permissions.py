"""What each function's permissions are for, as assertions, and the table of which of them fails without which permission.

``python -m tests.e2e.permissions docs/permissions.md`` (``make e2e-iam``) writes the table. A new function needs an entry in
``TRIALS``: what it does with its permissions, and how that shows.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scripts.pack_cloudwatch_event import pack
from tests.e2e.emulator import Place, emulator
from tests.e2e.policies import policy_statements, without
from tests.e2e.samples import POLICY_NAME, key, make_network, notification, scheduled
from tests.e2e.stack import Stack, build
from tests.e2e.subscribers import (
    Queue,
    forget,
    function_log,
    put_object,
    raw_log,
    remember,
    subscribe,
    wait_until,
)
from tests.e2e.webhook import ACCEPTED, webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.e2e.policies import Statement
    from tests.e2e.samples import Network
    from tests.e2e.stack import Build
    from tests.e2e.webhook import Webhook

# Not the account and Region of the other tests: nothing may depend on either.
ACCOUNT_ID: Final = "210987654321"
REGION: Final = "us-east-1"
MEMBER_ACCOUNT_ID: Final = "345678901234"
READER_ROLE: Final = "flowverdict-reader"
_EXTERNAL_ID = "e2e-external-id"
_LOG_GROUP = "/flow/logs"
_REFUSED = re.compile(
    r"AccessDenied|UnauthorizedOperation|AuthorizationError|not authorized", re.IGNORECASE
)


_OTHER_POLICY = "appconfig:network/live/policy"
_PARAMETER = "/slack/webhook"
_TEAMS_PARAMETER = "/teams/webhook"
_MUTED_PORT = 9999  # of the policy document, and of one record

# What the emulator grants by itself, by Sid; where SAM writes the policy or AWS has it, by its name.
UNCHECKED: Final[Mapping[str, str]] = {
    "TellMissingFromForbidden": "the emulator answers NoSuchKey with or without it; S3 says AccessDenied without",
    "KeepFailedEvents": "the emulator sends failed events as itself",
    "ReadPolicyConfiguration": "the emulator lets everybody read AppConfig's configurations",
    "SendTraces": "the emulator keeps no traces",
    "TakeFromQueue": "the emulator reads queues as itself",
    "UseKey": "the emulator encrypts nothing that is stored or sent",
    "WriteLogs": "the emulator writes log lines as itself",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A stack in an emulator that refuses what is not allowed, with something to judge in two accounts, and everybody told."""

    stack: Stack
    queues: Mapping[str, Queue]  # at each topic, by who is told
    slack: Webhook
    teams: Webhook
    own: Network
    member: Network
    object_key: str

    def invoke(
        self, function: str, event: object, manager: Sequence[Mapping[str, Any]] = ()
    ) -> Outcome:
        """Invoke a function with its role's credentials at a table that has just these items, and give what came of it."""
        forget(self.stack)
        remember(self.stack, manager)
        for queue in self.queues.values():
            queue.rest()
        before = len(raw_log(self.stack, function))
        answer = self.stack.place.client("lambda").invoke(
            FunctionName=self.stack.physical_id(function), Payload=json.dumps(event).encode()
        )
        payload = json.loads(answer["Payload"].read() or b"null")
        # Not the tail that comes with the answer: it is 4 KB, and a refusal may stand before them.
        log = wait_until(
            lambda: raw_log(self.stack, function)[before:] or None, "the function's log"
        )
        # SNS has delivered to its queues before it answers the function.
        told = {name: tuple(queue.rest()) for name, queue in self.queues.items()}
        return Outcome(payload=payload, log="\n".join(log), told=told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an invocation."""

    payload: Any
    log: str
    told: Mapping[str, tuple[str, ...]]

    @property
    def alerts(self) -> list[Mapping[str, Any]]:
        """What machines were told."""
        return [json.loads(one) for one in self.told["machines"]]

    def has_alert_of(self, network: Network, status: str) -> bool:
        """Whether an alert of the network's account arrived."""
        return any(
            (one["account_id"], one["status"]) == (network.place.account_id, status)
            for one in self.alerts
        )

    def has_rules_of(self, network: Network) -> bool:
        """Whether that alert tells which rule it was."""
        return any(
            one["account_id"] == network.place.account_id and one["rules_read_at"] is not None
            for one in self.alerts
        )

    def everybody(self) -> dict[str, bool]:
        """Whether each topic had as many messages as the others, and any."""
        most = max(len(messages) for messages in self.told.values())
        return {
            f"{who} are told": most > 0 and len(messages) == most
            for who, messages in self.told.items()
        }

    def missed(self, assertions: Mapping[str, bool]) -> list[str]:
        """Give the assertions that do not hold, and whether anything was refused."""
        refused = ["nothing is refused"] if _REFUSED.search(self.log) else []
        return [what for what, holds in assertions.items() if not holds] + refused


def _try_classify_s3(trial: Trial) -> list[str]:
    gone = key(trial.stack.place, "gone")
    outcome = trial.invoke(
        "ClassifyS3Function",
        {"Records": [_message(trial, trial.object_key), _message(trial, gone)]},
    )
    return outcome.missed(
        {
            "the alert of an object arrives": outcome.has_alert_of(trial.own, "firing"),
            **outcome.everybody(),
            "its rules are read": outcome.has_rules_of(trial.own),
            "the rules of a member account are read": outcome.has_rules_of(trial.member),
            "the policy mutes what it should": _mutes(outcome),
            "an object that is gone is told from a forbidden one": "NoSuchKey" in outcome.log,
        }
    )


def _try_classify_cloudwatch_logs(trial: Trial) -> list[str]:
    records = [
        trial.own.default_record(),
        trial.own.default_record(_MUTED_PORT),
        trial.member.default_record(),
    ]
    outcome = trial.invoke(
        "ClassifyCloudWatchLogsFunction",
        json.loads(pack(records, log_group=_LOG_GROUP, log_stream=f"{uuid.uuid4()}-all")),
    )
    return outcome.missed(
        {
            "the alert of a log event arrives": outcome.has_alert_of(trial.own, "firing"),
            **outcome.everybody(),
            "its rules are read": outcome.has_rules_of(trial.own),
            "the rules of a member account are read": outcome.has_rules_of(trial.member),
            "the policy mutes what it should": _mutes(outcome),
        }
    )


def _try_sweep_alerts(trial: Trial) -> list[str]:
    manager = _open_alerts(trial)
    outcome = trial.invoke("SweepAlertsFunction", scheduled(31 * 60), manager)
    return outcome.missed(
        {
            "the end of an alert is told": outcome.has_alert_of(trial.own, "resolved"),
            **outcome.everybody(),
            "the policy is looked at": '"PolicyUnusable":[0.0]' in outcome.log,
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
        one["service_port"] == _MUTED_PORT for one in outcome.alerts
    )


def _open_alerts(trial: Trial) -> list[dict[str, Any]]:
    """Give what the table holds after an alert of each account, found with all permissions; found once for each stack."""
    if trial.object_key not in _BOOKS:
        outcome = trial.invoke(
            "ClassifyS3Function", {"Records": [_message(trial, trial.object_key)]}
        )
        _BOOKS[trial.object_key] = (forget(trial.stack), outcome.told["machines"][0])
    return _BOOKS[trial.object_key][0]


def _first_alert(trial: Trial) -> str:
    _open_alerts(trial)
    return _BOOKS[trial.object_key][1]


_BOOKS: Final[dict[str, tuple[list[dict[str, Any]], str]]] = {}

TRIALS: Final[Mapping[str, Callable[[Trial], list[str]]]] = {
    "ClassifyCloudWatchLogsFunction": _try_classify_cloudwatch_logs,
    "ClassifyS3Function": _try_classify_s3,
    "NotifySlackFunction": _try_notify_slack,
    "NotifyTeamsFunction": _try_notify_teams,
    "SweepAlertsFunction": _try_sweep_alerts,
}

# A statement under a condition is there with some parameters only, so several sets of them are tried, one after the other.
VARIANTS: Final[Sequence[Mapping[str, str]]] = (
    {
        "SlackWebhookSecretArn": "{slack_secret}",
        "TeamsWebhookSecretArn": "{teams_secret}",
        "Policy": f"ssm:{POLICY_NAME}",
    },
    {
        "SlackWebhookSecretArn": "",
        "SlackWebhookParameter": _PARAMETER,
        "TeamsWebhookSecretArn": "",
        "TeamsWebhookParameter": _TEAMS_PARAMETER,
        "Policy": _OTHER_POLICY,
        "EncryptionKeyArn": "{encryption_key}",
        "Tracing": "Active",
    },
)


@contextmanager
def trial(built: Build) -> Iterator[Trial]:
    """Deploy the stack where IAM is enforced, EC2's part of it included, until the block ends; with the first variant."""
    with (
        webhook() as slack,
        webhook(otherwise=ACCEPTED) as teams,
        emulator(account_id=ACCOUNT_ID, region=REGION) as aws,
    ):
        place = aws.place
        place.client("logs").create_log_group(logGroupName=_LOG_GROUP)
        _make_policy(place)
        for parameter, secret, hook in (
            (_PARAMETER, "slack_secret", slack),
            (_TEAMS_PARAMETER, "teams_secret", teams),
        ):
            place.client("ssm").put_parameter(
                Name=parameter, Value=hook.address, Type="SecureString"
            )
            place.client("secretsmanager").create_secret(Name=secret, SecretString=hook.address)
        stack = Stack(build=built, place=place, name="permissions")
        deploy_variant(stack, VARIANTS[0])
        member = make_network(_member_account(place))
        own = make_network(place)
        texts = [own.flow_log(), own.flow_log(_MUTED_PORT), member.flow_log()]
        text = texts[0] + "".join(one.partition("\n")[2] for one in texts[1:])
        topics = {
            "machines": "AlertTopicArn",
            "people": "EmailTopicArn",
            "chat rooms": "QDeveloperTopicArn",
        }
        outputs = stack.outputs
        object_key = key(place, f"both-{uuid.uuid4()}")
        put_object(stack, object_key, text)
        # The bucket's own notification must not come in between.
        wait_until(
            lambda: function_log(stack, "ClassifyS3Function") or None,
            "the stack to have read the object by itself",
        )
        yield Trial(
            stack=stack,
            queues={
                who: subscribe(place, outputs[topic], who.replace(" ", "-"))
                for who, topic in topics.items()
            },
            slack=slack,
            teams=teams,
            own=own,
            member=member,
            object_key=object_key,
        )


def deploy_variant(stack: Stack, variant: Mapping[str, str]) -> None:
    """Deploy the stack with what all variants have, and one's own."""
    key_arn = stack.place.client("kms").create_key()["KeyMetadata"]["Arn"]
    secretsmanager = stack.place.client("secretsmanager")
    secrets = {
        name: secretsmanager.describe_secret(SecretId=name)["ARN"]
        for name in ("slack_secret", "teams_secret")
    }
    of_all = {
        "FlowLogGroupName": _LOG_GROUP,
        "ReaderRoleName": READER_ROLE,
        "ReaderExternalId": _EXTERNAL_ID,
        "ChatTopic": "yes",
    }
    stack.deploy(
        of_all
        | {name: value.format(**secrets, encryption_key=key_arn) for name, value in variant.items()}
    )
    # What other functions' trials publish is not to be posted: the one function is invoked here as SNS would.
    sns = stack.place.client("sns")
    for one in sns.list_subscriptions_by_topic(TopicArn=stack.outputs["AlertTopicArn"])[
        "Subscriptions"
    ]:
        if one["Protocol"] == "lambda":
            sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])


def _make_policy(place: Place) -> None:
    """Keep the same document in Parameter Store and in AppConfig."""
    expected = {"match": {"port": _MUTED_PORT}, "reason": "a wanted reject"}
    text = json.dumps({"version": 1, "expected": [expected]})
    place.client("ssm").put_parameter(Name=POLICY_NAME, Value=text, Type="String")
    client = place.client("appconfig")
    application = client.create_application(Name="network")["Id"]
    environment = client.create_environment(ApplicationId=application, Name="live")["Id"]
    profile = client.create_configuration_profile(
        ApplicationId=application, Name="policy", LocationUri="hosted"
    )["Id"]
    version = client.create_hosted_configuration_version(
        ApplicationId=application,
        ConfigurationProfileId=profile,
        Content=text.encode(),
        ContentType="application/json",
    )["VersionNumber"]
    at_once = client.create_deployment_strategy(
        Name="at-once",
        DeploymentDurationInMinutes=0,
        FinalBakeTimeInMinutes=0,
        GrowthFactor=100.0,
        ReplicateTo="NONE",
    )["Id"]
    client.start_deployment(
        ApplicationId=application,
        EnvironmentId=environment,
        ConfigurationProfileId=profile,
        ConfigurationVersion=str(version),
        DeploymentStrategyId=at_once,
    )


type Row = tuple[Statement, list[str]]


def table(one: Trial) -> list[Row]:
    """Take out each statement, action and resource in turn, with each variant's parameters, and give what then fails.

    Raises
    ------
    LookupError
        A function has no entry in ``TRIALS``, or something fails with all permissions there.
    """
    rows: dict[tuple[str, str], Row] = {}
    for variant in VARIANTS:
        if rows:
            deploy_variant(one.stack, variant)
        statements = [
            new for new in policy_statements(one.stack) if (new.function, str(new)) not in rows
        ]
        for function in sorted({statement.function for statement in statements}):
            if function not in TRIALS:
                raise LookupError(f"{function} has no entry in TRIALS")
            if missed := TRIALS[function](one):
                raise LookupError(f"{function} with all its permissions: {missed}")
        for statement in statements:
            if statement.sid in UNCHECKED:
                rows[statement.function, str(statement)] = (statement, [])
                continue
            with without(one.stack, statement):
                rows[statement.function, str(statement)] = (
                    statement,
                    TRIALS[statement.function](one),
                )
    return [row for _, row in sorted(rows.items(), key=lambda item: item[0][0])]


def markdown(rows: Sequence[tuple[Statement, list[str]]]) -> str:
    """Give the table as a document."""
    lines = [
        "# What each permission is for",
        "",
        "Written by `make e2e-iam`: each statement of each function's role, and each action and resource of those that have",
        "several, was taken out of the deployed role in turn, and the function invoked. This is what then failed; with all of",
        "them nothing did. What the emulator grants by itself is not checked here; that the template asks for it is held by",
        "`tests/project/test_translated_template.py`.",
        "",
        "| function | without | fails |",
        "|---|---|---|",
    ]
    for one, missed in rows:
        unchecked = f"not checked: {UNCHECKED[one.sid]}" if one.sid in UNCHECKED else "**nothing**"
        lines.append(f"| {one.function} | {one} | {'; '.join(missed) or unchecked} |")
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


def _member_account(place: Place) -> Place:
    """Make the reader role in another account, as the README asks for: its trust names this account, and an external id."""
    member = Place(
        url=place.url,
        account_id=MEMBER_ACCOUNT_ID,
        region=place.region,
        certificate=place.certificate,
    )
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{place.account_id}:root"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": _EXTERNAL_ID}},
    }
    reads = {
        "Effect": "Allow",
        "Action": ["ec2:Describe*", "ec2:GetManagedPrefixListEntries"],
        "Resource": "*",
    }
    iam = member.client("iam")
    iam.create_role(RoleName=READER_ROLE, AssumeRolePolicyDocument=_policy(trust))
    iam.put_role_policy(RoleName=READER_ROLE, PolicyName="read", PolicyDocument=_policy(reads))
    return member


def _policy(statement: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _main(target: Path) -> int:
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="flowverdict-sam-") as folder,
        trial(build(Path(folder))) as one,
    ):
        rows = table(one)
    text = markdown(rows)
    target.write_text(text)
    needless = [
        f"{statement.function}: {statement}"
        for statement, missed in rows
        if not missed and statement.sid not in UNCHECKED
    ]
    sys.stdout.write(
        f"{text}\n{len(rows)} taken out in {time.monotonic() - started:.0f} s, written to {target}\n"
    )
    for line in needless:
        sys.stdout.write(f"not needed, or not tested: {line}\n")
    return 1 if needless else 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
