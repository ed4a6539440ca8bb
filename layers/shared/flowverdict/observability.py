"""Logs and metrics of the functions: one structured log line a finding, metrics in CloudWatch's embedded format."""

from __future__ import annotations

import io
import sys
from collections import Counter
from typing import IO, TYPE_CHECKING, Any, cast

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from flowverdict.errors import FlowVerdictError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from flowverdict.book import Outcome
    from flowverdict.pipeline import Reading
    from flowverdict.policy import Muted
    from flowverdict.records import RecordCounts

NAMESPACE = "flowverdict"


class _CurrentStdout(io.TextIOBase):
    """Writes to what is standard output at that moment: Powertools keeps one log handler a service for the whole process."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


class Observability:
    """Logger and metrics of one function.

    Parameters
    ----------
    service
        The function's name; a dimension of every metric and a key of every log line.
    """

    def __init__(self, service: str) -> None:
        self.logger = Logger(service=service, stream=cast("IO[str]", _CurrentStdout()))
        # Ephemeral: the other kind shares its metrics between all instances of a process, and replays run several.
        self.metrics = EphemeralMetrics(namespace=NAMESPACE, service=service)

    def wrap(self, handle: Callable[[dict[str, Any], str], Any]) -> Callable[[dict[str, Any], Any], Any]:
        """Put request ids into every log line and send the metrics when ``handle`` is done, also if it failed.

        ``handle`` is given the event and Lambda's request id, which stays the same when Lambda tries an event again.
        """

        def handler(event: dict[str, Any], context: LambdaContext) -> object:
            # First of all, so that an invocation that fails is measured too.
            self.metrics.add_metric(name="EventsReceived", unit=MetricUnit.Count, value=1)
            try:
                return handle(event, context.aws_request_id)
            except FlowVerdictError as error:
                # The runtime's own report has the traceback; this is the one line that says what to look at.
                self.logger.error("event failed", extra={"reason": str(error)})  # noqa: TRY400 - no second traceback
                raise

        measured = self.metrics.log_metrics(handler, capture_cold_start_metric=True)
        wrapped: Callable[[dict[str, Any], Any], Any] = self.logger.inject_lambda_context(measured, clear_state=True)
        return wrapped

    def read(self, reading: Reading) -> None:
        """Tell what came of one source, and warn of what it held that no one can use."""
        counts = dict(reading.counts.as_mapping())
        self.logger.info("flow logs read", extra={"source": reading.name, "counts": counts})
        if reading.samples:
            self.logger.warning("malformed lines", extra={"source": reading.name, "samples": list(reading.samples)})
        if reading.unknown_fields:
            self.logger.warning("unknown fields", extra={"source": reading.name, "fields": list(reading.unknown_fields)})

    def message_failed(self, message_id: str, reason: str, *, with_traceback: bool) -> None:
        """Tell why a queue message goes back to its queue."""
        self.logger.error("message failed", extra={"message_id": message_id, "reason": reason}, exc_info=with_traceback)

    def finished(self, counts: RecordCounts, outcome: Outcome) -> None:
        """Measure what the whole batch held and what came of it."""
        for name, value in (
            ("RecordsRead", counts.records),
            ("RecordsRejected", counts.rejected),
            ("RecordsMalformed", counts.malformed.total()),
            ("RecordsSkipData", counts.skip_data),
        ):
            self.metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
        self.told(outcome)

    def told(self, outcome: Outcome) -> None:
        """Measure what was told and what was not, with a log line for each message."""
        for name, value in (
            ("AlertsPublished", len(outcome.told)),
            ("AlertsCounted", outcome.counted),
            ("AlertsExplained", outcome.shaded),
            ("AlertsHeldBack", outcome.held),
            ("AlertsUnsent", len(outcome.unsent)),
        ):
            self.metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
        for document in outcome.told:
            told = {
                "fingerprint": document.fingerprint,
                "kind": document.kind,
                "status": document.status,
                "severity": document.severity,
                "title": document.title,
            }
            self.logger.info("alert published", extra=told)
        for reason in outcome.unsent:
            self.logger.error("alert not published, the sweep tries again", extra={"reason": reason})

    def policy_read(self, problem: str | None) -> None:
        """Measure whether the policy document can be used; an alarm stands on it."""
        self.metrics.add_metric(name="PolicyUnusable", unit=MetricUnit.Count, value=0 if problem is None else 1)
        if problem is not None:
            self.logger.error("policy not usable", extra={"reason": problem})

    def muted(self, muted: Sequence[Muted]) -> None:
        """Tell what the policy muted, entry by entry."""
        self.metrics.add_metric(name="FlowsMuted", unit=MetricUnit.Count, value=len(muted))
        for place, count in Counter(one.place for one in muted).items():
            self.logger.info("muted by the policy", extra={"entry": place, "flows": count})

    def already_counted(self, name: str) -> None:
        """Tell that a source was delivered again."""
        self.metrics.add_metric(name="SourcesDeliveredAgain", unit=MetricUnit.Count, value=1)
        self.logger.info("counted before, passed over", extra={"source": name})
