"""The stack on moto for tests of crashes and AWS errors: its setup, its episodes and their outcome.

All that such a test knows of the program is here: the functions by name, their environment, and
which messages and counts come out. No test lists the calls of a function; ``wire`` hears them.
"""

from __future__ import annotations

import gc
import json
import re
import time
from contextlib import contextmanager
from functools import cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import time_machine
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sns.models import sns_backends

from flowverdict.alerts.model import Alert, Status
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.flows.accepted_since import hashes_of
from flowverdict.lifecycle import accepted_traffic
from flowverdict.network.ec2 import Ec2Config
from flowverdict_cli.local_aws import EVALUATE, REGION, Invocation, LocalAws, local_aws
from flowverdict_cli.sample_world import make_sample_world
from tests.helpers.alert_samples import ALERT, NOW
from tests.helpers.events import BUCKET, notification, queue_message, sns_event
from tests.helpers.fault_records import (
    Delivery,
    Episode,
    Outcome,
    firehose_object,
    key_of,
    member_request,
    rejected,
    scheduled,
    subscription_event,
    vanished_request,
)
from tests.helpers.network_load_balancer import add_target_group, make_balancer
from tests.helpers.slack_requests import SIGNING_SECRET, pressed, signed
from tests.helpers.small_company import HEADER
from tests.helpers.stored_alerts import stored_alerts
from tests.helpers.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowverdict_cli.sample_world import SampleWorld

_hashes_of = cache(hashes_of)
MINUTE = 60
MANY = 130  # DynamoDB takes 100 items in a transaction
ROLE = "flowverdict-reader"
POLICY = {"version": 1, "minimum_severity": "low"}
# As in the template: the queue's VisibilityTimeout for the default time-out, its maxReceiveCount,
# and the sweep's interval.
VISIBILITY = 31 * MINUTE
RECEIVES = 5
SWEEP_EVERY = 10 * MINUTE
DELAY = 90  # seconds until signals are handed out
# Lambda tries an asynchronous event again after one minute and after two more
# (https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html).
ASYNC_WAITS = (MINUTE, 2 * MINUTE)

OBJECTS = "classify_s3"
LOG_EVENTS = "classify_cloudwatch_logs"
SWEEP = "sweep_alerts"
SLACK = "notify_slack"
TEAMS = "notify_teams"
PRESS = "slack_actions"
# Episodes of the same functions that make other calls.
OUT_OF_TIME = "classify_s3, out of time"
FIREHOSE = "classify_s3, objects of Firehose"
ACCEPTED = "sweep_alerts, accepted traffic"
THREADS = "notify_slack, threads"
READERS = (OBJECTS, LOG_EVENTS)
# A button that silences writes two items, and one that acknowledges writes one.
SILENCED = "slack_actions, a silence"
ASKED = "slack_actions, a reason is asked for"
EPISODES = (
    *(OBJECTS, LOG_EVENTS, EVALUATE, SWEEP, SLACK, TEAMS),
    *(OUT_OF_TIME, FIREHOSE, ACCEPTED, PRESS, SILENCED, ASKED, THREADS),
)


class World:
    """AWS with the stack in it, and the episodes that happen there."""

    def __init__(self, aws: LocalAws, wire: Wire, samples: SampleWorld) -> None:
        self.aws = aws
        self.wire = wire
        self.posted: list[bytes] = []
        self.lost: list[str] = []
        self._signals: dict[str, Any] | None = None  # that the last evaluation got
        wire.post = self.posted.append
        self._interfaces = samples.interfaces
        balancer = make_balancer(boto3.client("ec2"), samples.subnets["database"])
        add_target_group(balancer, "database", "10.0.3.30", port=5432)
        self._vpc = samples.vpc_id
        self.environment = {
            "POLICY": "ssm:/flowverdict/policy",
            "READER_ROLE_NAME": ROLE,
            "RESOLVE_MINUTES": "110",
            "REPEAT_MINUTES": "150",
            "QUEUE_URL": boto3.client("sqs").create_queue(QueueName="flow-logs")["QueueUrl"],
            "PAGE_BUCKET": aws.evidence_bucket,
            "SLACK_WEBHOOK": "secretsmanager:slack/webhook",
            "TEAMS_WEBHOOK": "secretsmanager:teams/webhook",
            "SLACK_SIGNING_SECRET": "secretsmanager:slack/signing",
        }
        boto3.client("ssm").put_parameter(
            Name="/flowverdict/policy", Value=json.dumps(POLICY), Type="String"
        )
        for name, address in (
            ("slack/webhook", "https://hooks.slack.com/services/T0/B0/x"),
            ("teams/webhook", "https://0a1b.9.environment.api.powerplatform.com/workflows/x"),
            ("slack/signing", SIGNING_SECRET),
        ):
            boto3.client("secretsmanager").create_secret(Name=name, SecretString=address)
            boto3.client("ssm").put_parameter(Name=f"/{name}", Value=address, Type="SecureString")
        boto3.client("secretsmanager").create_secret(Name="slack/token", SecretString="xoxb-1-2-x")
        self.episodes = self._make_episodes()

    # --- episodes ---------------------------------------------------------------------------------

    def _make_episodes(self) -> dict[str, Episode]:
        self._put("first", self._blocked_database_request(), member_request())
        self._put("second", self._blocked_database_request(port=41_100))
        messages = [
            queue_message(name, notification(key_of(key)))
            for name, key in (("1", "first"), ("2", "second"), ("3", "first"))
        ]
        # So many lines that no other format fits all of them by accident.
        logs = subscription_event(
            member_request(port=41_200),
            *[vanished_request(port=41_300 + number) for number in range(5)],
        )
        sweep_at = NOW + 170 * MINUTE
        notice = sns_event(ALERT.to_json())
        episodes = (
            Episode(
                name=OBJECTS,
                first=Delivery(function=OBJECTS, event={"Records": messages}, at=NOW),
                sweeps=(NOW + 65 * MINUTE,),
            ),
            Episode(
                name=LOG_EVENTS,
                first=Delivery(function=LOG_EVENTS, event=logs, at=NOW + 80 * MINUTE),
                sweeps=(NOW + 90 * MINUTE,),
            ),
            self._evaluation(),
            # By now one alert is over, one goes on and gets a reminder, and one is new.
            Episode(
                name=SWEEP,
                first=Delivery(function=SWEEP, event=scheduled(sweep_at), at=sweep_at),
                sweeps=(sweep_at + SWEEP_EVERY, sweep_at + 2 * SWEEP_EVERY),
            ),
            Episode(
                name=SLACK,
                first=Delivery(function=SLACK, event=notice, at=sweep_at + 3 * SWEEP_EVERY),
            ),
            Episode(
                name=TEAMS,
                first=Delivery(function=TEAMS, event=notice, at=sweep_at + 4 * SWEEP_EVERY),
            ),
            *self._later_episodes(sweep_at + 5 * SWEEP_EVERY),
        )
        return {episode.name: episode for episode in episodes}

    def _evaluation(self) -> Episode:
        """Build an episode in which two files were read that are to be evaluated."""
        at = NOW + 92 * MINUTE
        self._put("third", member_request(port=41_500))
        self._put("fourth", vanished_request(port=41_400, place=50, at=at))
        messages = [queue_message(name, notification(key_of(name))) for name in ("third", "fourth")]
        return Episode(
            name=EVALUATE,
            before=(Delivery(function=OBJECTS, event={"Records": messages}, at=at),),
            first=Delivery(function=EVALUATE, at=at + DELAY),
            sweeps=(at + SWEEP_EVERY,),
        )

    def _later_episodes(self, begin: int) -> Iterator[Episode]:
        self._put("late", vanished_request(port=42_000, place=51, at=begin))
        yield Episode(
            name=OUT_OF_TIME,
            first=Delivery(
                function=OBJECTS, event=self._received("late", begin), at=begin, seconds=0
            ),
            sweeps=(begin + 100 * MINUTE,),
        )
        # What is rejected comes by way of Firehose, and is accepted twenty minutes later.
        firehose_at = begin + 110 * MINUTE
        lines = [
            vanished_request(port=42_100 + number, place=52, at=firehose_at) for number in range(5)
        ]
        key = f"cloudwatch-logs/{DEFAULT_ACCOUNT_ID}/{REGION}/2026/11/22/12/flowverdict-1"
        self.aws.put_object(ObjectRef(bucket=BUCKET, key=key), firehose_object(*lines))
        yield Episode(
            name=FIREHOSE,
            first=Delivery(
                function=OBJECTS,
                event={"Records": [queue_message("firehose", notification(key))]},
                at=firehose_at,
            ),
            sweeps=(firehose_at + 65 * MINUTE,),
        )
        accepted_at = firehose_at + 111 * MINUTE
        self._put(
            "accepted",
            *(
                vanished_request(port=42_200, place=52, at=at) | {"action": "ACCEPT"}
                for at in (firehose_at + 20 * MINUTE, accepted_at)
            ),
        )
        swept_at = accepted_at + 4 * MINUTE
        yield Episode(
            name=ACCEPTED,
            before=(
                Delivery(
                    function=OBJECTS,
                    event={
                        "Records": [queue_message("accepted", notification(key_of("accepted")))]
                    },
                    at=accepted_at,
                ),
            ),
            first=Delivery(function=SWEEP, event=scheduled(swept_at), at=swept_at),
            sweeps=(swept_at + SWEEP_EVERY, swept_at + 2 * SWEEP_EVERY),
        )
        at = swept_at + 3 * SWEEP_EVERY
        self._put("pressed", vanished_request(port=43_000, place=53, at=at))
        event = {"Records": [queue_message("pressed", notification(key_of("pressed")))]}
        before = (Delivery(function=OBJECTS, event=event, at=at),)
        at += 5 * MINUTE
        press = partial(Delivery, function=PRESS)
        yield Episode(name=PRESS, before=before, first=press(event={"act": "ack"}, at=at))
        silence = partial(press, event={"act": "silence-1h"})
        yield Episode(name=SILENCED, first=silence(at=at + 5 * MINUTE))
        token = {"SLACK_TOKEN": "secretsmanager:slack/token"}
        yield Episode(name=ASKED, first=silence(at=at + 8 * MINUTE, variables=token))
        yield self._thread(at + 10 * MINUTE)

    def _thread(self, at: int) -> Episode:
        """Build an episode in which the thread of a problem gets a reply."""
        token = {"SLACK_TOKEN": "secretsmanager:slack/token", "SLACK_CHANNEL": "#network"}
        first, second = (
            Delivery(function=SLACK, event=sns_event(text), at=at + later, variables=token)
            for later, text in (
                (0, ALERT.to_json()),
                (MINUTE, ALERT.with_status(Status.REMINDER, None).to_json()),
            )
        )
        return Episode(name=THREADS, before=(first,), first=second)

    def _received(self, name: str, at: int) -> dict[str, Any]:
        """Return the event of a message that really is in the queue, and is being received."""
        sqs, queue = boto3.client("sqs"), self.environment["QUEUE_URL"]
        with time_machine.travel(at, tick=False):
            sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(notification(key_of(name))))
            (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
        handle = {"receiptHandle": message["ReceiptHandle"]}
        return {"Records": [queue_message(name, message["Body"]) | handle]}

    def many_alerts(self) -> Episode:
        """Build an episode of more alerts than one commit takes, with few messages.

        It needs no other episode.
        """
        self._put("many", *(vanished_request(port=40_000, place=place) for place in range(MANY)))
        event = {"Records": [queue_message("many", notification(key_of("many")))]}
        self.environment["MESSAGES_PER_HOUR"] = "3"
        return Episode(
            name="many alerts",
            first=Delivery(function=OBJECTS, event=event, at=NOW),
            sweeps=(NOW + 65 * MINUTE,),
        )

    def _put(self, name: str, *records: dict[str, object]) -> None:
        lines = [
            " ".join(str(record.get(field, "-")) for field in HEADER.split()) for record in records
        ]
        self.aws.put_object(
            ObjectRef(bucket=BUCKET, key=key_of(name)), "\n".join([HEADER, *lines]).encode()
        )

    def play(self, episode: Episode, deliveries: Sequence[Delivery] | None = None) -> None:
        """Deliver an episode, deliver again what fails, and sweep.

        ``deliveries`` replace the first one where a part of the episode has happened.
        """
        waiting = [episode.first] if deliveries is None else [*deliveries]
        waiting += [Delivery(function=SWEEP, event=scheduled(at), at=at) for at in episode.sweeps]
        self._deliver_all(waiting)

    def _deliver_all(self, waiting: list[Delivery]) -> None:
        while waiting:
            delivery = min(waiting, key=lambda delivery: delivery.at)
            waiting.remove(delivery)
            waiting += self.deliver(delivery)

    def prepare(self, episode: Episode) -> None:
        """Let happen what has to happen before an episode."""
        for delivery in episode.before:
            if episode.first.function == EVALUATE:
                assert self.invoke(delivery).error is None
            else:
                self._deliver_all([delivery])
        assert self.lost == []

    def deliver(self, delivery: Delivery) -> list[Delivery]:
        """Invoke the function; return what AWS will deliver again."""
        return self.again(delivery, self.invoke(delivery))

    def invoke(self, delivery: Delivery) -> Invocation:
        """Invoke the function with the clock at the delivery's time."""
        return self.invoke_with(self.take(delivery), delivery)

    def take(self, delivery: Delivery) -> dict[str, Any]:
        """Return the event of a delivery; signals are taken from their queue."""
        if delivery.function == PRESS:
            return self._pressed(delivery)
        if delivery.function != EVALUATE:
            return delivery.event
        with time_machine.travel(delivery.at, tick=False), self.wire.deaf():
            self._signals = self.aws.receive_signals()
        return self._signals or {"Records": []}

    def _pressed(self, delivery: Delivery) -> dict[str, Any]:
        """Return the event of a button of the newest problem, pressed and signed now."""
        with time_machine.travel(delivery.at, tick=False), self.wire.deaf():
            states = [state for state in stored_alerts(self.aws.table).values() if state.is_open]
        newest = max(states, key=lambda state: (state.opened_at, state.fingerprint))
        body = pressed(f"flowverdict:{delivery.event['act']}:{newest.fingerprint}")
        return signed(body, delivery.at)

    def invoke_with(self, event: dict[str, Any], delivery: Delivery) -> Invocation:
        """Invoke the function of a delivery with an event that was taken."""
        with time_machine.travel(delivery.at, tick=False):
            return self.aws.invoke(
                event,
                {**self.environment, **delivery.variables},
                function=delivery.function,
                seconds=delivery.seconds,
            )

    def again(self, delivery: Delivery, invocation: Invocation | None) -> list[Delivery]:
        """Return what AWS delivers after an invocation, or again; ``None`` stands for a death."""
        if delivery.function == EVALUATE:
            return self._signals_after(delivery, invocation)
        again = self._again(delivery, invocation)
        if delivery.function in READERS:
            again.append(Delivery(function=EVALUATE, at=delivery.at + DELAY))
        return again

    def _signals_after(self, delivery: Delivery, invocation: Invocation | None) -> list[Delivery]:
        """Return the evaluations that follow: of what has failed, and of what still waits."""
        if self._signals is None and invocation is not None:
            return []
        kept = ["what a process had that was killed"]
        if self._signals is not None:
            with time_machine.travel(delivery.at, tick=False), self.wire.deaf():
                kept = self.aws.delete_signals(self._signals, invocation)
        more = Delivery(function=EVALUATE, at=delivery.at + 1)
        if not kept:
            return [more]
        if delivery.received == RECEIVES:
            self.lost.append(f"{EVALUATE}: given up after {RECEIVES} tries")
            return [more]
        return [
            more,
            Delivery(
                function=EVALUATE,
                at=delivery.at + VISIBILITY + 1,
                received=delivery.received + 1,
            ),
        ]

    def _again(self, delivery: Delivery, invocation: Invocation | None) -> list[Delivery]:
        event = delivery.event
        if invocation is not None and invocation.error is None:
            answer = invocation.answer
            if delivery.function == PRESS:
                assert isinstance(answer, dict)
                assert answer["statusCode"] == HTTPStatus.OK
                return []
            failed = (
                {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
                if isinstance(answer, dict)
                else set()
            )
            if not failed:
                return []
            event = {
                "Records": [
                    message for message in event["Records"] if message["messageId"] in failed
                ]
            }
        if delivery.function == SWEEP:
            return []  # the next sweep is the next try
        waits = {OBJECTS: (VISIBILITY,) * (RECEIVES - 1)}.get(delivery.function, ASYNC_WAITS)
        if delivery.received > len(waits):
            self.lost.append(f"{delivery.function}: given up after {delivery.received} tries")
            return []
        wait = waits[delivery.received - 1]
        return [
            Delivery(
                function=delivery.function,
                event=event,
                at=delivery.at + wait,
                received=delivery.received + 1,
                variables=delivery.variables,
            )
        ]

    # --- outcome ----------------------------------------------------------------------------------

    def outcome(self) -> Outcome:
        """Return every message sent so far, and what the table holds now."""
        outcome = Outcome(counts=self._counts(), lost=self.lost)
        topics = sns_backends[DEFAULT_ACCOUNT_ID][REGION].topics
        for arn, topic in topics.items():
            for _, message, subject, *_ in topic.sent_notifications:
                if arn != self.aws.topic_arn:
                    outcome.messages[arn.rpartition(":")[2], str(subject)] += 1
                    continue
                notification = json.loads(message)
                # An ending that is unknown has the status of a reminder and is another message.
                told = notification.get("ending") or notification["status"]
                outcome.messages["alert", notification["fingerprint"], told] += 1
                outcome.about.add((notification.get("connection", notification["title"]), told))
                outcome.summaries.setdefault(notification["fingerprint"], notification["summary"])
        outcome.messages.update(
            # A silence has a random id, and its end is of the clock.
            ("chat", re.sub(r"(unsilence|until) \S+", r"\1", json.loads(body).get("text", "card")))
            for body in self.posted
        )
        return outcome

    def _counts(self) -> dict[str, tuple[int, ...]]:
        states = stored_alerts(self.aws.table)
        notifications = {name: state.notification for name, state in states.items()}
        return {
            f"{name} {notification.status}": (
                notification.records,
                notification.packets,
                notification.flows,
            )
            if isinstance(notification, Alert)
            else (notification.records,)
            for name, notification in notifications.items()
        }

    # --- records ----------------------------------------------------------------------------------

    def _blocked_database_request(self, port: int = 41_000) -> dict[str, object]:
        """Build a request that the database's security group rejects; EC2 knows all its rules."""
        ends = {"srcaddr": "10.0.2.20", "dstaddr": "10.0.3.30", "srcport": port, "dstport": 5432}
        return rejected(DEFAULT_ACCOUNT_ID, self._interfaces["shop-database"], self._vpc, ends)


@contextmanager
def fault_world() -> Iterator[World]:
    """Yield a world in which nothing has happened yet."""
    with pytest.MonkeyPatch.context() as patch:
        wire = Wire(patch)
        # What is cached for a minute must be so on the travelled clock, which deliveries follow.
        patch.setattr("flowverdict.app.alert_wiring.Ec2Config", partial(Ec2Config, clock=time.time))
        patch.setattr(accepted_traffic, "hashes_of", _hashes_of)  # of 65,536 ports, in each sweep
        with local_aws() as aws:
            world = World(aws, wire, make_sample_world())
            gc.freeze()  # a collection would write to, and so copy, the pages that copies share
            yield world
            gc.unfreeze()


@contextmanager
def warm_fault_world() -> Iterator[World]:
    """Yield a new world of a process that has played all episodes before.

    What the process imports or builds once is then there before copies are made.
    """
    with fault_world() as world:
        for episode in world.episodes.values():
            world.prepare(episode)
            world.play(episode)
    with fault_world() as world:
        yield world
