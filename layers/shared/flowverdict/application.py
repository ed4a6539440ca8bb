"""The Lambda functions put together: settings, clients and the pipeline behind one callable each.

``functions/<name>/app.py`` holds the entry points; they build these on the first invocation, not at import.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import boto3
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from botocore.config import Config

from flowverdict.alerts import group
from flowverdict.book import AlertBook
from flowverdict.delivery.sns import SnsTopics
from flowverdict.errors import DeliveryError, FlowVerdictError, OutOfTimeError, SettingsError
from flowverdict.judging import Judge, Touched
from flowverdict.netconfig.ec2 import Ec2Config, ReaderRole, client_factory
from flowverdict.observability import Observability
from flowverdict.pipeline import collect_rarely, explain_flows, place_of, read_log_events, read_object, sightings
from flowverdict.policy_source import PolicySource
from flowverdict.records import RecordCounts
from flowverdict.settings import Settings
from flowverdict.sources.cloudwatch_logs import DescribedFormats, FixedFormat, decode
from flowverdict.sources.envelope import ObjectRef, is_sqs_event, objects_in, objects_in_message, scheduled_at
from flowverdict.sources.origin import Origin, origin_of
from flowverdict.sources.s3 import S3Objects
from flowverdict.store.dynamodb import DynamoDbStore
from flowverdict.store.evidence import S3Evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

    from flowverdict.alerts import Sighting
    from flowverdict.flows import FlowCollector, RejectedFlow
    from flowverdict.netconfig.model import NetConfig
    from flowverdict.observability import Invocation
    from flowverdict.pipeline import SourceRead
    from flowverdict.policy import Policy
    from flowverdict.ports import ConfigSource, EvidenceStore, FormatSource, ObjectStore
    from flowverdict.sources.cloudwatch_logs import LogBatch
    from flowverdict.state import AlertStore

# One account and Region may take 10 s, and its last call's retries half a minute: together well below the time-out.
_RULES_SECONDS = 15.0

# Judging takes a fraction of reading, the rules' look-ups 15 s and half a minute at the worst, writing and telling some seconds.
_READING_SHARE = 0.6
type Clock = Callable[[], float]
type LambdaHandler = Callable[[dict[str, Any], Any], Any]

# Three tries of at most 3 + 10 s each stay well below the functions' time-out.
_CLIENT_CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})


class WithinBudget:
    """Reads configurations for one invocation, and no further ones once it has taken too long.

    Accounts and Regions come out of log records: a forged log may name hundreds, each of which takes its time to be refused.

    Attributes
    ----------
    refused
        Account and Region of what was not read, with the reason.
    """

    def __init__(self, configs: ConfigSource, seconds: float = _RULES_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._configs = configs
        self._seconds = seconds
        self._clock = clock
        self._deadline = clock() + seconds
        self.refused: dict[tuple[str | None, str | None], str] = {}

    def read(self, account_id: str | None, region: str | None, flows: Sequence[RejectedFlow]) -> NetConfig | str:
        """Give the configuration, or the reason why it was not read."""
        config: NetConfig | str
        if self._clock() >= self._deadline:
            config = f"the rules were not read: {self._seconds:g} s for reading those of other accounts and Regions were spent"
        else:
            config = self._configs.read(account_id, region, flows)
        if isinstance(config, str):
            self.refused[account_id, region] = config
        return config


class Desk:
    """What becomes of sources: read once, their evidence kept, the windows that it changes judged and told."""

    def __init__(  # noqa: PLR0913 - what it is made of, each by its name
        self,
        *,
        judge: Judge,
        book: AlertBook,
        store: AlertStore,
        evidence: EvidenceStore,
        configs: ConfigSource,
        policies: PolicySource | None,
        observability: Observability,
        clock: Clock = time.time,
    ) -> None:
        self._judge = judge
        self._book = book
        self._store = store
        self._evidence = evidence
        self._configs = configs
        self._policies = policies
        self._observability = observability
        self._clock = clock

    def take(self, source_id: str, name: str, place: str, read: Callable[[int], SourceRead]) -> Taken:
        """Read a source and keep its evidence, unless that was done before.

        Raises
        ------
        FlowVerdictError
            It cannot be read, or its evidence not be kept. Nothing is noted, and it is read again when it is delivered again.
        """
        known = self._store.windows_of(source_id)
        if known is not None:
            self._observability.already_counted(name)
            return Taken(counts=RecordCounts(), touched=frozenset(Touched(place=place, window=one, rejects=True) for one in known))
        source = read(self._store.seed())
        self._observability.read(source.reading)
        for window, evidence in source.windows.items():
            self._evidence.put(place, window, source_id, evidence)
        self._store.note_read(source_id, source.windows.keys(), int(self._clock()))
        touched = frozenset(
            Touched(place=place, window=window, rejects=bool(evidence.flows.rejects) or any(evidence.flows.lost()))
            for window, evidence in source.windows.items()
        )
        return Taken(counts=source.reading.counts, touched=touched)

    def finish(self, taken: Iterable[Taken]) -> None:
        """Judge what was taken in, and tell what is new."""
        now = int(self._clock())
        counts, touched = RecordCounts(), set[Touched]()
        for one in taken:
            counts.merge(one.counts)
            touched |= one.touched
        configs = WithinBudget(self._configs)
        policy = None if self._policies is None else _policy(self._policies, self._observability)

        def explain(flows: FlowCollector, rejected: Sequence[RejectedFlow]) -> list[Sighting]:
            return self._sightings(flows, rejected, configs, policy, now)

        outcome = self._judge.judge(touched, explain, now)
        self._observability.rules_not_read(configs.refused)
        self._observability.rejected(outcome.flows)
        self._observability.finished(counts, outcome, self._clock())

    def _sightings(
        self,
        flows: FlowCollector,
        rejected: Sequence[RejectedFlow],
        configs: ConfigSource,
        policy: Policy | None,
        now: int,
    ) -> list[Sighting]:
        """Give what a window shows and somebody wants to hear of."""
        explanations = explain_flows(rejected, configs)
        if policy is None:
            return sightings(explanations, flows)
        sifted = policy.sift(explanations, datetime.fromtimestamp(now, tz=UTC))
        self._observability.muted(sifted.muted)
        unwanted = {one.document.fingerprint for one in group(muted.explanation for muted in sifted.muted)}
        seen = sightings(sifted.kept, flows)
        wanted = [sighting for sighting in seen if policy.allows(sighting.document.severity)]
        unwanted |= {one.document.fingerprint for one in seen}
        self._book.mute(unwanted - {sighting.document.fingerprint for sighting in wanted}, now)
        return wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What came of taking in a source: what it held if it was read now, and the windows that it has evidence for."""

    counts: RecordCounts
    touched: frozenset[Touched]


def _policy(policies: PolicySource, observability: Observability) -> Policy:
    """Give the policy that applies, and tell what is wrong with the document, if anything is."""
    reading = policies.current()
    observability.policy_read(reading.problem)
    return reading.policy


class ReadingTime:
    """The time that an invocation has for reading; the rest is for judging, writing down and telling.

    A function that Lambda ends has counted and told nothing, so reading stops before.
    """

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._seconds = seconds * _READING_SHARE
        self._end = clock() + self._seconds

    def check(self, name: str) -> None:
        """Raise ``OutOfTimeError`` when it is over."""
        if self._clock() >= self._end:
            raise OutOfTimeError(
                f"{name}: not read to its end within the {self._seconds:.0f} s that an invocation may read; it is tried again. "
                "What alone takes longer needs a longer time-out or more memory."
            )

    def limit(self, stream: BinaryIO, name: str) -> BinaryIO:
        """Give the stream so that reading on raises ``OutOfTimeError`` when it is over."""
        return cast("BinaryIO", _Timed(stream, self, name))


class _Timed:
    """An object with ``read(size)``, which is all that reading a flow log asks of a stream."""

    def __init__(self, stream: BinaryIO, time_left: ReadingTime, name: str) -> None:
        self._stream = stream
        self._time_left = time_left
        self._name = name

    def read(self, size: int) -> bytes:
        self._time_left.check(self._name)
        return self._stream.read(size)


class ClassifyObjects:
    """Flow log objects named by events to alerts.

    Events from a queue fail message by message: what one message names may be broken, the others' alerts still go out.
    Any other event fails whole, and Lambda tries it again. An object is counted once, however often it is named.
    """

    def __init__(self, objects: ObjectStore, desk: Desk, observability: Observability) -> None:
        self._objects = objects
        self._desk = desk
        self._observability = observability

    def handle(self, event: dict[str, Any], invocation: Invocation) -> PartialItemFailureResponse | None:
        """Classify everything the event names; for a queue's event, answer which messages failed.

        What cannot be read in time goes back to the queue, and what was read is judged and told.
        """
        until = ReadingTime(invocation.seconds)
        if is_sqs_event(event):
            return self._queue_messages(event, until)
        self._desk.finish(self._take(objects_in(event), until))
        return None

    def _queue_messages(self, event: dict[str, Any], until: ReadingTime) -> PartialItemFailureResponse:
        taken: list[Taken] = []

        def take_message(record: SQSRecord) -> None:
            try:
                # Each object by itself: of a message that fails, what was taken in before is judged all the same.
                for one in self._take(objects_in_message(record.get("body")), until):
                    taken.append(one)  # noqa: PERF402 - what came before an error counts
            except Exception as error:
                # Powertools keeps the message for another try and says nothing; the reason belongs into the log.
                expected = isinstance(error, FlowVerdictError)
                self._observability.message_failed(record.message_id, str(error), with_traceback=not expected)
                raise

        # Not raising when all fail keeps the answer the same kind whatever fails; what keeps failing ends in the DLQ.
        processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
        with processor(records=event["Records"], handler=take_message):
            processor.process()
        self._desk.finish(taken)
        return processor.response()

    def _take(self, refs: Iterable[ObjectRef], until: ReadingTime) -> Iterator[Taken]:
        for ref in dict.fromkeys(refs):
            until.check(ref.name)
            yield self._desk.take(ref.source_id, ref.name, place_of(origin_of(ref.key)), partial(self._read, ref, until))

    def _read(self, ref: ObjectRef, until: ReadingTime, seed: int) -> SourceRead:
        with self._objects.open(ref) as stream:
            return read_object(until.limit(stream, ref.name), name=ref.name, seed=seed)


class ClassifyLogEvents:
    """Flow log records of a CloudWatch Logs subscription to alerts. A failure fails the event, and Lambda tries it again."""

    def __init__(self, formats: FormatSource, desk: Desk, observability: Observability, *, region: str | None) -> None:
        self._formats = formats
        self._desk = desk
        self._observability = observability
        self._region = region

    def handle(self, event: dict[str, Any], invocation: Invocation) -> None:
        """Classify the records of the event."""
        del invocation
        logs = decode(event)
        if logs is None:
            self._observability.logger.info("control message, nothing to do")
            return
        origin = Origin(account_id=logs.account_id, region=self._region)
        place = place_of(origin, logs.name)
        taken = self._desk.take(logs.source_id, logs.name, place, partial(self._read, logs, origin))
        self._desk.finish([taken])

    def _read(self, logs: LogBatch, origin: Origin, seed: int) -> SourceRead:
        formats = self._formats.formats(logs.log_group)
        return read_log_events(logs.messages, name=logs.name, formats=formats, origin=origin, seed=seed)


class SweepAlerts:
    """What time brings: reminders, resolved alerts, the digest, and what could not be sent before."""

    def __init__(self, book: AlertBook, configs: ConfigSource, policies: PolicySource | None, observability: Observability) -> None:
        self._book = book
        self._configs = configs
        self._policies = policies
        self._observability = observability

    def handle(self, event: dict[str, Any], invocation: Invocation) -> None:
        """Look at all alerts that are due at the event's time.

        Raises
        ------
        EnvelopeError
            The event is no scheduled one.
        DeliveryError
            A message could not be sent. What was called for stays called for, and the next sweep tries again.
        """
        del invocation
        if self._policies is not None:
            _policy(self._policies, self._observability)  # looked at here too, so that a bad one is told when no flow logs come
        configs = WithinBudget(self._configs)
        outcome = self._book.sweep(scheduled_at(event), configs)
        self._observability.rules_not_read(configs.refused)
        self._observability.told(outcome)
        if outcome.unsent:
            raise DeliveryError(f"{len(outcome.unsent)} messages not sent; the first: {outcome.unsent[0]}")


def classify_s3(environment: Mapping[str, str]) -> LambdaHandler:
    """Build the function ``classify_s3``; raises ``SettingsError`` where its environment makes no sense."""
    settings = Settings.from_environment(environment)
    observability = Observability("classify_s3")
    objects = S3Objects(boto3.client("s3", config=_CLIENT_CONFIG))
    return observability.wrap(ClassifyObjects(objects, _desk(settings, observability), observability).handle)


def classify_cloudwatch_logs(environment: Mapping[str, str]) -> LambdaHandler:
    """Build the function ``classify_cloudwatch_logs``; raises ``SettingsError`` where its environment makes no sense."""
    settings = Settings.from_environment(environment)
    observability = Observability("classify_cloudwatch_logs")
    formats: FormatSource
    if settings.log_format is None:
        formats = DescribedFormats(boto3.client("ec2", config=_CLIENT_CONFIG), observability.logger)
    else:
        formats = FixedFormat(settings.log_format)
    desk = _desk(settings, observability)
    return observability.wrap(ClassifyLogEvents(formats, desk, observability, region=settings.region).handle)


def sweep_alerts(environment: Mapping[str, str]) -> LambdaHandler:
    """Build the function ``sweep_alerts``; raises ``SettingsError`` where its environment makes no sense."""
    settings = Settings.from_environment(environment)
    observability = Observability("sweep_alerts")
    store = _store(settings)
    sweep = SweepAlerts(_book(settings, store), _configs(settings, observability), _policies(settings, store), observability)
    return observability.wrap(sweep.handle)


def _desk(settings: Settings, observability: Observability) -> Desk:
    collect_rarely()
    if settings.evidence_bucket is None:
        raise SettingsError("EVIDENCE_BUCKET: missing; an S3 bucket's name is needed")
    store = _store(settings)
    book = _book(settings, store)
    evidence = S3Evidence(boto3.client("s3", config=_CLIENT_CONFIG), settings.evidence_bucket)
    return Desk(
        judge=Judge(evidence, store, book, settings.intervals),
        book=book,
        store=store,
        evidence=evidence,
        configs=_configs(settings, observability),
        policies=_policies(settings, store),
        observability=observability,
    )


def _policies(settings: Settings, store: DynamoDbStore) -> PolicySource | None:
    return None if settings.policy is None else PolicySource(settings.policy, last_good=store.last_good_policy)


def _store(settings: Settings) -> DynamoDbStore:
    return DynamoDbStore(boto3.client("dynamodb", config=_CLIENT_CONFIG), settings.alert_table)


def _book(settings: Settings, store: AlertStore) -> AlertBook:
    topics = SnsTopics(
        boto3.client("sns", config=_CLIENT_CONFIG), settings.alert_topic_arn, settings.email_topic_arn, settings.chat_topic_arn
    )
    return AlertBook(store, topics, intervals=settings.intervals, cap=settings.messages_per_hour)


def _configs(settings: Settings, observability: Observability) -> ConfigSource:
    role = None
    if settings.reader_role_name is not None:
        role = ReaderRole(name=settings.reader_role_name, external_id=settings.reader_external_id, partition=settings.partition)
    return Ec2Config(
        clients=client_factory(),
        logger=observability.logger,
        default_region=settings.region,
        own_account=settings.account_id,
        reader_role=role,
    )
