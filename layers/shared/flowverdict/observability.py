"""Logs and metrics of the functions: one structured log line a finding, metrics in CloudWatch's embedded format."""

from __future__ import annotations

import io
import sys
from typing import IO, TYPE_CHECKING, Any, cast

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from flowverdict.errors import FlowVerdictError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flowverdict.alerts import Alert
    from flowverdict.pipeline import Reading
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

    def wrap(self, handle: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any], Any], Any]:
        """Put request ids into every log line and send the metrics when ``handle`` is done, also if it failed."""

        def handler(event: dict[str, Any], context: object) -> object:  # noqa: ARG001 - the decorators read it
            # First of all, so that an invocation that fails is measured too.
            self.metrics.add_metric(name="EventsReceived", unit=MetricUnit.Count, value=1)
            try:
                return handle(event)
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

    def finished(self, counts: RecordCounts, alerts: Sequence[Alert]) -> None:
        """Measure what the whole batch held and what came of it."""
        for name, value in (
            ("RecordsRead", counts.records),
            ("RecordsRejected", counts.rejected),
            ("RecordsMalformed", counts.malformed.total()),
            ("RecordsSkipData", counts.skip_data),
            ("AlertsPublished", len(alerts)),
        ):
            self.metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
        for alert in alerts:
            self.logger.info(
                "alert published",
                extra={
                    "fingerprint": alert.key.fingerprint,
                    "severity": alert.severity,
                    "title": alert.title,
                    "flows": alert.flows,
                },
            )
