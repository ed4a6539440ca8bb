"""A stack in an emulator that enforces IAM, and the outcome of an invocation of its functions.

The stack has rejected flows in two accounts and notifies every destination, so that a function
needs every permission of its role.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flowverdict.app.signals import CLOCKS_DIFFER
from tests.e2e.emulator import Place, emulator
from tests.e2e.samples import POLICY_NAME, key, make_network
from tests.e2e.stack import Stack
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
from tests.helpers.slack_api import CHANNEL, TOKEN
from tests.helpers.slack_requests import SIGNING_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.e2e.emulator import Emulator
    from tests.e2e.samples import Network
    from tests.e2e.stack import Build
    from tests.e2e.webhook import Webhook

# Not the account and Region of the other tests: the code may depend on neither.
ACCOUNT_ID: Final = "210987654321"
REGION: Final = "us-east-1"
MEMBER_ACCOUNT_ID: Final = "345678901234"
READER_ROLE: Final = "flowverdict-reader"
_EXTERNAL_ID = "e2e-external-id"
LOG_GROUP: Final = "/flow/logs"
_REFUSED = re.compile(
    r"AccessDenied|UnauthorizedOperation|AuthorizationError|not authorized", re.IGNORECASE
)
_OTHER_POLICY = "appconfig:network/live/policy"
_PARAMETER = "/slack/webhook"
_TEAMS_PARAMETER = "/teams/webhook"
_SIGNING_PARAMETER = "/slack/signing"
MUTED_PORT: Final = 9999  # of the policy document, and of one record
SIGNALS_ARE_EQUAL: Final = 1  # seconds during which the deployed readers send a signal once


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A deployed stack with rejected flows in two accounts, and all recipients of its messages."""

    aws: Emulator
    stack: Stack
    queues: Mapping[str, Queue]  # of each topic, by the kind of subscriber
    signals: Queue
    slack: Webhook
    teams: Webhook
    own: Network
    member: Network
    object_key: str

    def invoke(
        self,
        function: str,
        event: object,
        manager: Sequence[Mapping[str, Any]] = (),
        *,
        forgets: bool = True,
    ) -> Outcome:
        """Invoke a function with the credentials of its role and return the outcome.

        ``manager`` are the items that the alert table has before the invocation; without
        ``forgets``, table and evidence stay as they are.
        """
        if forgets:
            forget(self.stack)
        remember(self.stack, manager)
        time.sleep(SIGNALS_ARE_EQUAL)  # else the queue drops the signals of this invocation
        for queue in (*self.queues.values(), self.signals):
            queue.rest()
        before = len(raw_log(self.stack, function))
        answer = self.stack.place.client("lambda").invoke(
            FunctionName=self.stack.physical_id(function), Payload=json.dumps(event).encode()
        )
        payload = json.loads(answer["Payload"].read() or b"null")
        # Not the tail of the log in the answer: it has 4 KB, and a refusal may come before them.
        log = wait_until(
            lambda: raw_log(self.stack, function)[before:] or None, "the function's log"
        )
        # SNS has delivered to its queues before it answers the function.
        told = {name: tuple(queue.rest()) for name, queue in self.queues.items()}
        return Outcome(
            payload=payload,
            log="\n".join(log),
            told=told,
            signals=tuple(self.signals.rest()),
        )

    def read_and_evaluate(self, event: object) -> Outcome:
        """Let an object be read, and return the outcome of evaluating what it signals."""
        read = self.invoke("ClassifyS3Function", event)
        records = [
            {
                "messageId": str(number),
                "receiptHandle": "",
                "body": body,
                "attributes": {"MessageGroupId": "trial", "ApproximateReceiveCount": "1"},
            }
            for number, body in enumerate(read.signals)
        ]
        return self.invoke("EvaluateWindowsFunction", {"Records": records}, forgets=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The answer, log and messages of an invocation."""

    payload: Any
    log: str
    told: Mapping[str, tuple[str, ...]]
    signals: tuple[str, ...]

    @property
    def alerts(self) -> list[Mapping[str, Any]]:
        """The alerts that machines received."""
        return [json.loads(message) for message in self.told["machines"]]

    def has_alert_of(self, network: Network, status: str) -> bool:
        """Whether an alert of the network's account arrived."""
        return any(
            (alert["account_id"], alert["status"]) == (network.place.account_id, status)
            for alert in self.alerts
        )

    def has_rules_of(self, network: Network) -> bool:
        """Whether the account's alert was evaluated with the rules of the account."""
        return any(
            alert["account_id"] == network.place.account_id and alert["rules_read_at"] is not None
            for alert in self.alerts
        )

    def everybody(self) -> dict[str, bool]:
        """Whether each topic had messages, and as many as every other topic.

        What machines get of several ends, people get in one message of the kind ``ends``.
        """
        ends = [alert for alert in self.alerts if alert["kind"] == "ends"]
        together = json.dumps([alert["sections"] for alert in ends])
        alone = [alert for alert in self.alerts if alert["fingerprint"] not in together]
        counts = {who: len(messages) for who, messages in self.told.items()}
        counts["machines"] -= len(self.alerts) - len(alone)
        most = max(counts.values())
        return {f"{who} are told": most > 0 and count == most for who, count in counts.items()}

    def missed(self, assertions: Mapping[str, bool]) -> list[str]:
        """Return the assertions that do not hold; a refusal in the log is one more."""
        refused = ["nothing is refused"] if _REFUSED.search(self.log) else []
        return [what for what, holds in assertions.items() if not holds] + refused


# A conditional statement is deployed with some parameters only, so several sets of parameters are
# tried, one after the other.
VARIANTS: Final[Sequence[Mapping[str, str]]] = (
    {
        "SlackWebhookSecretArn": "{slack_secret}",
        "SlackSigningSecretArn": "{signing_secret}",
        "TeamsWebhookSecretArn": "{teams_secret}",
        "Policy": f"ssm:{POLICY_NAME}",
    },
    {
        "SlackWebhookSecretArn": "",
        "SlackWebhookParameter": _PARAMETER,
        "SlackSigningSecretArn": "",
        "SlackSigningParameter": _SIGNING_PARAMETER,
        "TeamsWebhookSecretArn": "",
        "TeamsWebhookParameter": _TEAMS_PARAMETER,
        "Policy": _OTHER_POLICY,
        "EncryptionKeyArn": "{encryption_key}",
        "Tracing": "Active",
        "RouteTopicArns": f"arn:aws:sns:{REGION}:{ACCOUNT_ID}:owners",
        "SubnetIds": "subnet-01234567",
        "SecurityGroupIds": "sg-01234567",
    },
    {
        "SlackWebhookParameter": "",
        "SlackTokenSecretArn": "{slack_token}",
        "SlackChannel": CHANNEL,
    },
)


@contextmanager
def trial(built: Build) -> Iterator[Trial]:
    """Deploy the stack with the first variant until the block ends.

    The emulator enforces IAM, for EC2 as well.
    """
    with (
        webhook() as slack,
        webhook(otherwise=ACCEPTED) as teams,
        emulator(account_id=ACCOUNT_ID, region=REGION) as aws,
    ):
        place = aws.place
        place.client("logs").create_log_group(logGroupName=LOG_GROUP)
        _make_policy(place)
        for parameter, secret, text in (
            (_PARAMETER, "slack_secret", slack.address),
            (_SIGNING_PARAMETER, "signing_secret", SIGNING_SECRET),
            (_TEAMS_PARAMETER, "teams_secret", teams.address),
        ):
            place.client("ssm").put_parameter(Name=parameter, Value=text, Type="SecureString")
            place.client("secretsmanager").create_secret(Name=secret, SecretString=text)
        place.client("secretsmanager").create_secret(Name="slack_token", SecretString=TOKEN)
        stack = Stack(build=built, place=place, name="permissions")
        deploy_variant(stack, VARIANTS[0])
        member = make_network(_member_account(place))
        own = make_network(place)
        texts = [own.flow_log(), own.flow_log(MUTED_PORT), member.flow_log()]
        text = texts[0] + "".join(flow_log.partition("\n")[2] for flow_log in texts[1:])
        topics = {
            "machines": "AlertTopicArn",
            "people": "EmailTopicArn",
            "chat rooms": "QDeveloperTopicArn",
        }
        outputs = stack.outputs
        object_key = key(place, f"both-{uuid.uuid4()}")
        put_object(stack, object_key, text)
        # The notification of the bucket itself must not arrive during a trial.
        wait_until(
            lambda: function_log(stack, "ClassifyS3Function") or None,
            "the stack to have read the object by itself",
        )
        yield Trial(
            aws=aws,
            stack=stack,
            queues={
                who: subscribe(place, outputs[topic], who.replace(" ", "-"))
                for who, topic in topics.items()
            },
            signals=Queue(place=place, url=stack.physical_id("SignalQueue")),
            slack=slack,
            teams=teams,
            own=own,
            member=member,
            object_key=object_key,
        )


def _keep_signals(stack: Stack) -> None:
    """Let the signals stay in their queue, where a trial finds them at once."""
    client = stack.place.client("lambda")
    for mapping in client.list_event_source_mappings(
        FunctionName=stack.physical_id("EvaluateWindowsFunction")
    )["EventSourceMappings"]:
        client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    stack.place.client("sqs").set_queue_attributes(
        QueueUrl=stack.physical_id("SignalQueue"), Attributes={"DelaySeconds": "0"}
    )


def deploy_variant(stack: Stack, variant: Mapping[str, str]) -> None:
    """Deploy the stack with the parameters of all variants and those of one variant."""
    key_arn = stack.place.client("kms").create_key()["KeyMetadata"]["Arn"]
    secretsmanager = stack.place.client("secretsmanager")
    secrets = {
        name: secretsmanager.describe_secret(SecretId=name)["ARN"]
        for name in ("slack_secret", "slack_token", "signing_secret", "teams_secret")
    }
    of_all = {
        "FlowLogGroupName": LOG_GROUP,
        "ReaderRoleName": READER_ROLE,
        "ReaderExternalId": _EXTERNAL_ID,
        "ReaderAccounts": MEMBER_ACCOUNT_ID,
        "ChatTopic": "yes",
        "EvaluationDelaySeconds": str(CLOCKS_DIFFER + SIGNALS_ARE_EQUAL),
    }
    stack.deploy(
        of_all
        | {name: value.format(**secrets, encryption_key=key_arn) for name, value in variant.items()}
    )
    # The trials of other functions publish alerts that must not be posted. The trial of a notifier
    # invokes its function itself, as SNS would.
    sns = stack.place.client("sns")
    for subscription in sns.list_subscriptions_by_topic(TopicArn=stack.outputs["AlertTopicArn"])[
        "Subscriptions"
    ]:
        if subscription["Protocol"] == "lambda":
            sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    _keep_signals(stack)


def _make_policy(place: Place) -> None:
    """Store the same policy document in Parameter Store and in AppConfig."""
    expected = {"match": {"port": MUTED_PORT}, "reason": "a wanted reject"}
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


def _member_account(place: Place) -> Place:
    """Make the reader role in another account, as docs/how-to/other-accounts.md describes.

    The trust policy of the role names this account and an external id.
    """
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
        "Action": [
            "ec2:Describe*",
            "ec2:GetManagedPrefixListEntries",
            "elasticloadbalancing:Describe*",
        ],
        "Resource": "*",
    }
    iam = member.client("iam")
    iam.create_role(RoleName=READER_ROLE, AssumeRolePolicyDocument=_policy(trust))
    iam.put_role_policy(RoleName=READER_ROLE, PolicyName="read", PolicyDocument=_policy(reads))
    return member


def _policy(statement: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
