"""Write the logs and metrics of the functions, in CloudWatch's embedded metric format.

A metric costs 0.30 USD a month, by the hours that it got data in. A function has at most 19 with
the dimension ``service``; ``RejectedFlows`` has a verdict and a severity instead, of which 9 x 5
can be and few are in one hour. Each of its values has a line of the log to itself, since the format
has one value for a name in a line
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
``docs/operations.md`` says what each metric means.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from enum import StrEnum
from functools import partial
from typing import IO, TYPE_CHECKING, Any, cast

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit, single_metric

from flowverdict.core.errors import FlowVerdictError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from flowverdict.alerts.model import Severity
    from flowverdict.app.settings import Missing
    from flowverdict.flowlog.records import RecordCounts
    from flowverdict.flows.read_source import Reading
    from flowverdict.lifecycle.notifier import Outcome


# For a function that was not deployed by the template. The template gives each stack its own
# namespace, so that the failures of a test stack raise only its own alarms.
NAMESPACE = "flowverdict"


_TALKATIVE = ("boto3", "botocore", "urllib3")
_MAX_NAME = 64
_MAX_NAMES = 10  # of a header with unknown names; it may have thousands


class Metric(StrEnum):
    """Names of the metrics in CloudWatch; Powertools adds ``ColdStart``."""

    EVENTS_RECEIVED = "EventsReceived"
    RECORDS_READ = "RecordsRead"
    RECORDS_REJECTED = "RecordsRejected"
    RECORDS_MALFORMED = "RecordsMalformed"
    RECORDS_SKIP_DATA = "RecordsSkipData"
    REJECTED_FLOWS = "RejectedFlows"
    LAG = "LagSeconds"
    ALERTS_PUBLISHED = "AlertsPublished"
    ALERTS_COUNTED = "AlertsCounted"
    ALERTS_EXPLAINED = "AlertsExplained"
    ALERTS_HELD_BACK = "AlertsHeldBack"
    ALERTS_UNSENT = "AlertsUnsent"
    POLICY_UNUSABLE = "PolicyUnusable"
    FLOWS_MUTED = "FlowsMuted"
    PASSED_OVER = "PassedOver"
    SOURCES_DELIVERED_AGAIN = "SourcesDeliveredAgain"
    EVIDENCE_UNREADABLE = "EvidenceUnreadable"
    STATE_UNREADABLE = "StateUnreadable"
    RULES_NOT_READ = "RulesNotRead"
    SLACK_MESSAGES_POSTED = "SlackMessagesPosted"
    TEAMS_MESSAGES_POSTED = "TeamsMessagesPosted"


class _CurrentStdout(io.TextIOBase):
    """Writes to the present standard output: Powertools keeps one log handler for the process."""

    def write(self, text: str) -> int:
        """Write to standard output and return the number of characters."""
        return sys.stdout.write(text)

    def flush(self) -> None:
        """Flush standard output."""
        sys.stdout.flush()


class Observability:
    """Logger and metrics of one function.

    Parameters
    ----------
    service
        The function's name; a dimension of every metric and a key of every log line.
    """

    def __init__(self, service: str) -> None:
        # In ASCII: keys and group names may hold control characters for a terminal.
        ascii_json = partial(json.dumps, default=str, separators=(",", ":"))
        self.logger = Logger(
            service=service, stream=cast("IO[str]", _CurrentStdout()), json_serializer=ascii_json
        )
        # At DEBUG the SDK logs what AWS answers, the webhook's address and the reader role's
        # credentials too. Lambda sets the root's level
        # (https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html),
        # not the level of these loggers.
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.INFO)
        # Ephemeral: the other class shares its metrics between all instances of a process, and a
        # replay has several.
        self._namespace = os.environ.get("POWERTOOLS_METRICS_NAMESPACE") or NAMESPACE
        self.metrics = EphemeralMetrics(namespace=self._namespace, service=service)

    def wrap(
        self, handle: Callable[[dict[str, Any], float], Any]
    ) -> Callable[[dict[str, Any], Any], Any]:
        """Wrap a handler: log lines get the request id, and metrics are written after an error too.

        ``handle`` gets the event and the seconds that the invocation has left.
        """

        def handler(event: dict[str, Any], context: LambdaContext) -> object:
            # Counted first, so that an invocation that fails is counted too.
            self.count(Metric.EVENTS_RECEIVED)
            try:
                seconds = context.get_remaining_time_in_millis() / 1_000
                return handle(event, seconds)
            except FlowVerdictError as error:
                # The one line that says what to look at.
                self.event_failed(error)
                raise

        measured = self.metrics.log_metrics(handler, capture_cold_start_metric=True)
        wrapped: Callable[[dict[str, Any], Any], Any] = self.logger.inject_lambda_context(
            measured,
            clear_state=True,
            log_event=False,  # whatever POWERTOOLS_LOGGER_LOG_EVENT says
        )
        return wrapped

    def count(self, metric: Metric, value: int = 1) -> None:
        """Add to a metric of the function."""
        self.metrics.add_metric(name=metric, unit=MetricUnit.Count, value=value)

    def read(self, reading: Reading) -> None:
        """Log the counts of a source, with a warning for malformed lines and unknown fields."""
        counts = dict(reading.counts.as_mapping())
        self.logger.info("flow logs read", extra={"source": reading.name, "counts": counts})
        if reading.samples:
            self.logger.warning(
                "malformed lines", extra={"source": reading.name, "samples": list(reading.samples)}
            )
        if reading.unknown_fields:
            fields = [name[:_MAX_NAME] for name in reading.unknown_fields[:_MAX_NAMES]]
            self.logger.warning("unknown fields", extra={"source": reading.name, "fields": fields})

    def event_failed(self, error: Exception) -> None:
        """Log why an event, or a part of it, failed; the runtime's own report has the traceback."""
        self.logger.error("event failed", extra={"reason": str(error)})

    def message_failed(self, message_id: str, error: Exception) -> None:
        """Log why a queue message returns to its queue, with a traceback for a defect."""
        self.logger.error(
            "message failed",
            extra={"message_id": message_id, "reason": str(error)},
            exc_info=None if isinstance(error, FlowVerdictError) else error,
        )

    def passed_over(self, name: str | None, reason: str) -> None:
        """Count what is plainly not a flow log and therefore not read, and log what it is.

        ``name`` is the object's, ``None`` for an event that names no object.
        """
        self.count(Metric.PASSED_OVER)
        self.logger.info("not a flow log, passed over", extra={"source": name, "reason": reason})

    def finished(self, counts: RecordCounts, outcome: Outcome, now: float) -> None:
        """Measure the records of a batch, its messages, and their lag.

        ``now`` is Unix seconds. The lag is the time from the last record to the message.
        """
        for name, value in (
            (Metric.RECORDS_READ, counts.records),
            (Metric.RECORDS_REJECTED, counts.rejected),
            (Metric.RECORDS_MALFORMED, counts.malformed.total()),
            (Metric.RECORDS_SKIP_DATA, counts.skip_data),
        ):
            self.count(name, value)
        for notification in outcome.notified:
            if notification.last_seen is not None:
                # Clocks differ: a record may end in the future.
                self.metrics.add_metric(
                    name=Metric.LAG,
                    unit=MetricUnit.Seconds,
                    value=max(0.0, now - notification.last_seen),
                )
        self.notified(outcome)

    def rejected(self, flows: Mapping[tuple[str, Severity], int]) -> None:
        """Measure rejected flows by verdict and severity."""
        for (verdict, severity), count in flows.items():
            with single_metric(
                name=Metric.REJECTED_FLOWS,
                unit=MetricUnit.Count,
                value=count,
                namespace=self._namespace,
            ) as metric:
                metric.add_dimension(name="verdict", value=verdict)
                metric.add_dimension(name="severity", value=severity.value)

    def rules_not_read(self, reasons: Mapping[tuple[str | None, str | None], str]) -> None:
        """Count the accounts and Regions whose rules were not read, with a log line for each."""
        self.count(Metric.RULES_NOT_READ, len(reasons))
        for (account_id, region), reason in reasons.items():
            self.logger.warning(
                "rules not read",
                extra={"account_id": account_id, "region": region, "reason": reason},
            )

    def notified(self, outcome: Outcome) -> None:
        """Count what was sent and what was not, with a log line for each message."""
        for name, value in (
            (Metric.ALERTS_PUBLISHED, len(outcome.notified)),
            (Metric.ALERTS_COUNTED, outcome.counted),
            (Metric.ALERTS_EXPLAINED, outcome.inhibited),
            (Metric.ALERTS_HELD_BACK, outcome.suppressed),
            (Metric.ALERTS_UNSENT, len(outcome.undelivered)),
        ):
            self.count(name, value)
        for notification in outcome.notified:
            notified = {
                "fingerprint": notification.fingerprint,
                "kind": notification.kind,
                "status": notification.status,
                "severity": notification.severity,
                "title": notification.title,
            }
            self.logger.info("alert published", extra=notified)
        for reason in outcome.undelivered:
            self.logger.error(
                "alert not published, the sweep tries again", extra={"reason": reason}
            )

    def policy_read(self, problem: str | None) -> None:
        """Measure whether the policy document can be used; an alarm watches this metric."""
        self.count(Metric.POLICY_UNUSABLE, 0 if problem is None else 1)
        if problem is not None:
            self.logger.error("policy not usable", extra={"reason": problem})

    def muted(self, flows: Mapping[str, int]) -> None:
        """Count the flows that the policy mutes, with a log line for each of its entries."""
        self.count(Metric.FLOWS_MUTED, sum(flows.values()))
        for entry, count in flows.items():
            self.logger.info("muted by the policy", extra={"entry": entry, "flows": count})

    def evidence_unreadable(self, name: str, reason: str) -> None:
        """Count an object of evidence that cannot be read and counts as absent, and log why."""
        self.count(Metric.EVIDENCE_UNREADABLE)
        self.logger.warning("evidence unreadable", extra={"object": name, "reason": reason})

    def state_unreadable(self, key: str, reason: str) -> None:
        """Count an item of the alert table that cannot be read, and log why."""
        self.count(Metric.STATE_UNREADABLE)
        self.logger.warning("stored state unreadable", extra={"key": key, "reason": reason})

    def already_counted(self, name: str) -> None:
        """Count a source that was delivered again."""
        self.count(Metric.SOURCES_DELIVERED_AGAIN)
        self.logger.info("read before, not read again", extra={"source": name})

    def missing(self, what: Missing) -> None:
        """Log what the stack's parameters leave out."""
        self.logger.warning("not in this stack", extra={"missing": what})
