"""How long a function takes to start, in CPU time: before it is asked anything.

``python -m benchmarks.start <core> <function>`` starts in a fresh process as Lambda does: Python,
the module of the function, and what the function makes before the first event, with the clients of
the SDK. It prints milliseconds.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

FUNCTIONS = ("classify_s3", "classify_cloudwatch_logs", "evaluate_windows", "sweep_alerts")
_FOLDER = Path(__file__).parents[1] / "functions"
_ACCOUNT, _REGION = "123456789012", "eu-west-1"
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_REGION": _REGION,
    "AWS_DEFAULT_REGION": _REGION,
    "ALERT_TABLE": "alerts",
    "ALERT_TOPIC_ARN": f"arn:aws:sns:{_REGION}:{_ACCOUNT}:alerts",
    "EVIDENCE_BUCKET": "evidence",
    "SIGNAL_QUEUE_URL": f"https://sqs.{_REGION}.amazonaws.com/{_ACCOUNT}/signals.fifo",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Milliseconds of a start.

    Parameters
    ----------
    python
        Until the first line of this module, with what Python itself imports.
    sdk
        The import of boto3.
    modules
        The import of the function and of all else.
    clients
        What the function makes: settings, and a client of the SDK for each service.
    """

    python: float
    sdk: float
    modules: float
    clients: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.python + self.sdk + self.modules + self.clients


def _started(function: str, python: float) -> Start:
    os.environ |= _ENVIRONMENT
    sys.path.insert(0, str(_FOLDER / function))
    times = [time.process_time()]
    importlib.import_module("boto3")
    times.append(time.process_time())
    app = importlib.import_module("app")
    times.append(time.process_time())
    app._handler()  # noqa: SLF001 - what the first invocation calls
    times.append(time.process_time())
    sdk, modules, clients = (1_000 * (after - before) for before, after in pairwise(times))
    return Start(python=1_000 * python, sdk=sdk, modules=modules, clients=clients)


def main() -> None:
    """Start one function in this process: ``argv`` has the core and the function."""
    python = time.process_time()
    os.sched_setaffinity(0, {int(sys.argv[1])})
    print(json.dumps(asdict(_started(sys.argv[2], python))))


if __name__ == "__main__":
    main()
