"""Write the logs and metrics of the functions, in CloudWatch's embedded metric format.

A metric costs 0.30 USD a month, by the hours that it got data in
(https://aws.amazon.com/cloudwatch/pricing/). So a metric gets data only when it is above zero,
unless its alarm needs the zero. What nobody sets an alarm on is a field of one log line an
invocation (``LogCount``), and what Lambda counts itself is not counted again. ``RejectedFlows`` has
a severity in place of the dimension ``service``. Each of its values has a log line of its own,
since the format has one value for a name in a line
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
``docs/operations.md`` says what each metric and each field means.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections import Counter
from enum import StrEnum
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final, cast

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit, single_metric

from flowverdict.core.availability import NotSetUp
from flowverdict.core.errors import FlowVerdictError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from flowverdict.alerts.model import Severity
    from flowverdict.app.deadlines import BudgetedConfigSource
    from flowverdict.app.settings import Missing
    from flowverdict.delivery.sns import Subscriptions
    from flowverdict.flowlog.record_counts import RecordCounts
    from flowverdict.flows.read_source import Reading
    from flowverdict.lifecycle.notifier import Outcome


# For a function that was not deployed by the template. The template gives each stack its own
# namespace, so that the failures of a test stack raise only its own alarms.
NAMESPACE = "flowverdict"


_TALKATIVE = ("boto3", "botocore", "urllib3")
_MAX_NAME = 64
_MAX_NAMES = 10  # of a header with unknown names; it may have thousands


class Metric(StrEnum):
    """Names of the metrics in CloudWatch."""

    RECORDS_READ = "RecordsRead"
    RECORDS_MALFORMED = "RecordsMalformed"
    RECORDS_SKIP_DATA = "RecordsSkipData"
    REJECTED_FLOWS = "RejectedFlows"
    LAG = "LagSeconds"
    ALERTS_PUBLISHED = "AlertsPublished"
    ALERTS_UNSENT = "AlertsUnsent"
    POLICY_UNUSABLE = "PolicyUnusable"
    EVIDENCE_UNREADABLE = "EvidenceUnreadable"
    STATE_UNREADABLE = "StateUnreadable"
    RULES_NOT_READ = "RulesNotRead"
    PAGE_NOT_WRITTEN = "PageNotWritten"


class LogCount(StrEnum):
    """Names of the counts in the log line ``COUNTS_LINE``, one for each invocation."""

    RECORDS_REJECTED = "records_rejected"
    ALERTS_COUNTED = "alerts_counted"
    ALERTS_EXPLAINED = "alerts_explained"
    ALERTS_HELD_BACK = "alerts_held_back"
    FLOWS_MUTED = "flows_muted"
    SOURCES_DELIVERED_AGAIN = "sources_delivered_again"
    PASSED_OVER = "passed_over"
    MESSAGES_POSTED = "messages_posted"
    BUTTONS_PRESSED = "buttons_pressed"
    REQUESTS_REFUSED = "requests_refused"


COUNTS_LINE: Final = "invocation finished"
VERDICTS: Final = "verdicts"  # field of that line: rejected flows by verdict, with _ in place of -
# Metrics whose alarm needs a zero, by function: it stands on the hour's minimum. A test compares
# them with the template.
ZEROS: Final = frozenset(
    {
        ("evaluate_windows", Metric.RULES_NOT_READ),
    }
)


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
        self._service = service
        self._counts: Counter[LogCount] = Counter()
        self._verdicts: Counter[str] = Counter()
        self._namespace = os.environ.get("POWERTOOLS_METRICS_NAMESPACE") or NAMESPACE
        self.metrics = EphemeralMetrics(namespace=self._namespace, service=service)

    def wrap(
        self, handle: Callable[[dict[str, Any], float], Any]
    ) -> Callable[[dict[str, Any], Any], Any]:
        """Wrap a handler: log lines get the request id, and counts are written after an error too.

        ``handle`` gets the event and the seconds that the invocation has left.
        """

        def handler(event: dict[str, Any], context: LambdaContext) -> object:
            try:
                seconds = context.get_remaining_time_in_millis() / 1_000
                return handle(event, seconds)
            except FlowVerdictError as error:
                # The one line that says what to look at.
                self.event_failed(error)
                raise
            finally:
                self._log_counts()
                # Powertools' own wrapper warns in the log of every invocation without metrics.
                if self.metrics.metric_set:
                    self.metrics.flush_metrics()

        wrapped: Callable[[dict[str, Any], Any], Any] = self.logger.inject_lambda_context(
            handler,
            clear_state=True,
            log_event=False,  # whatever POWERTOOLS_LOGGER_LOG_EVENT says
        )
        return wrapped

    def count(self, metric: Metric, value: int = 1) -> None:
        """Add to a metric of the function; nothing, unless its alarm needs the zero, for zero."""
        if value > 0 or (self._service, metric) in ZEROS:
            self.metrics.add_metric(name=metric, unit=MetricUnit.Count, value=value)

    def note(self, name: LogCount, value: int = 1) -> None:
        """Add to a count of the invocation's log line."""
        self._counts[name] += value

    def _log_counts(self) -> None:
        """Write the counts that are above zero in one line, and begin anew."""
        counts: dict[str, object] = {name.value: count for name, count in (+self._counts).items()}
        if self._verdicts:
            counts[VERDICTS] = dict(self._verdicts)
        if counts:
            self.logger.info(COUNTS_LINE, extra=counts)
        self._counts.clear()
        self._verdicts.clear()

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
        self.note(LogCount.PASSED_OVER)
        self.logger.info("not a flow log, passed over", extra={"source": name, "reason": reason})

    def counted(self, counts: RecordCounts) -> None:
        """Measure the records of a batch."""
        for name, value in (
            (Metric.RECORDS_READ, counts.records),
            (Metric.RECORDS_MALFORMED, counts.malformed.total()),
            (Metric.RECORDS_SKIP_DATA, counts.skip_data),
        ):
            self.count(name, value)
        self.note(LogCount.RECORDS_REJECTED, counts.rejected)

    def told(self, outcome: Outcome, now: float) -> None:
        """Measure the messages of an evaluation, and their lag.

        ``now`` is Unix seconds. The lag is the time from the last record to the message.
        """
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
        """Measure rejected flows by severity, and note them by verdict."""
        by_severity: Counter[Severity] = Counter()
        for (verdict, severity), count in flows.items():
            by_severity[severity] += count
            self._verdicts[verdict.replace("-", "_")] += count
        for severity, count in by_severity.items():
            with single_metric(
                name=Metric.REJECTED_FLOWS,
                unit=MetricUnit.Count,
                value=count,
                namespace=self._namespace,
            ) as metric:
                metric.add_dimension(name="severity", value=severity.value)

    def rules_not_read(self, configs: BudgetedConfigSource) -> None:
        """Count the accounts and Regions whose rules should have been read and were not.

        There is a log line for each place without rules, also for those that nobody has set up to
        be read.
        """
        if configs.has_asked:
            failed = [
                reason for reason in configs.refused.values() if not isinstance(reason, NotSetUp)
            ]
            self.count(Metric.RULES_NOT_READ, len(failed))
        for (account_id, region), reason in configs.refused.items():
            about = {"account_id": account_id, "region": region, "reason": reason.reason}
            if isinstance(reason, NotSetUp):
                self.logger.info("rules not set up to be read", extra=about)
            else:
                self.logger.warning("rules not read", extra=about)

    def notified(self, outcome: Outcome) -> None:
        """Count what was sent and what was not, with a log line for each message."""
        self.count(Metric.ALERTS_PUBLISHED, len(outcome.notified))
        self.count(Metric.ALERTS_UNSENT, len(outcome.undelivered))
        for name, value in (
            (LogCount.ALERTS_COUNTED, outcome.counted),
            (LogCount.ALERTS_EXPLAINED, outcome.inhibited),
            (LogCount.ALERTS_HELD_BACK, outcome.suppressed),
        ):
            self.note(name, value)
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
        """Note the flows that the policy mutes, with a log line for each of its entries."""
        self.note(LogCount.FLOWS_MUTED, sum(flows.values()))
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
        """Note a source that was delivered again."""
        self.note(LogCount.SOURCES_DELIVERED_AGAIN)
        self.logger.info("read before, not read again", extra={"source": name})

    def subscribed(self, subscriptions: Subscriptions) -> None:
        """Log how many subscriptions of a topic are confirmed, for the dashboard."""
        self.logger.info(
            "email subscriptions",
            extra={
                "topic": subscriptions.topic_arn,
                "confirmed": subscriptions.confirmed,
                "pending": subscriptions.pending,
            },
        )

    def route_refused(self, topic_arn: str, reason: str) -> None:
        """Log that an owner's topic did not take a text, which the email topic got then."""
        self.logger.error("owner's topic not usable", extra={"topic": topic_arn, "reason": reason})

    def page_not_written(self, error: Exception) -> None:
        """Count a page of problems that could not be written, and log why."""
        self.count(Metric.PAGE_NOT_WRITTEN)
        self.logger.error("page of problems not written", extra={"reason": str(error)})

    def not_counted(self, error: Exception) -> None:
        """Log why the subscriptions of a topic are not known; no alert depends on it."""
        self.logger.warning("email subscriptions not counted", extra={"reason": str(error)})

    def missing(self, what: Missing) -> None:
        """Log what the stack's parameters leave out."""
        self.logger.warning("not in this stack", extra={"missing": what})
