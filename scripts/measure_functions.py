"""Measure the built functions: unzipped size, and cold start under Lambda's runtime client.

Exits with 1 if a function is over its budget.

python -m scripts.measure_functions (``make size``)
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from tests.e2e.emulator import base_environment
from tests.e2e.runtime import PYTHON, BuiltFunction, built_functions, runtime
from tests.e2e.stack import Build, build

# MB of each function with its layers, unzipped. Lambda's limit is 250
# (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html), but a cold start reads
# all of it from a network disk.
MAX_MEGABYTES: Final = {
    "ClassifyS3Function": 200.0,  # includes the engine layer
    "ClassifyCloudWatchLogsFunction": 60.0,
    "EvaluateWindowsFunction": 200.0,  # as above
    "NotifySlackFunction": 60.0,
    "NotifyTeamsFunction": 60.0,
    "SlackActionsFunction": 60.0,
    "SweepAlertsFunction": 60.0,
}
# Until the first answer, as a multiple of the seconds in which the same machine starts Python and
# imports boto3 without bytecode, measured in the same run: half of a cold start is boto3, and
# machines differ by more than a function does. Lambda assigns one full core at 1,769 MB of memory.
MAX_COLD_RATIO: Final = 3.0
_STARTS = 5  # the minimum counts: other load on the machine only adds to the time
# The test event that S3 sends when a notification is set up: the function builds all its parts and
# does not call AWS. A function for other events raises an error at that point, which is as good. A
# function that does not start, or lacks a setting, would be measured too fast.
_NOT_STARTED = ("Runtime.", "SettingsError")
_TEST_MESSAGE = {
    "messageId": "1",
    "eventSource": "aws:sqs",
    "body": json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}),
    "attributes": {"MessageGroupId": "1", "ApproximateReceiveCount": "1"},
}
_ANY_EVENT = {"Records": [_TEST_MESSAGE]}
_SETTINGS = {
    "ALERT_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:alerts",
    "ALERT_TABLE": "alerts",
    "EVIDENCE_BUCKET": "evidence",
    "SIGNAL_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/signals.fifo",
    "SLACK_WEBHOOK": "ssm:/slack/webhook",
    "TEAMS_WEBHOOK": "ssm:/teams/webhook",
    "SLACK_SIGNING_SECRET": "ssm:/slack/signing",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_ENGINE = "flowverdict.flowlog.column_reader"  # loaded at the first big object, not at a cold start
# Microseconds of a module, without the modules that it imports.
_IMPORT_TIME = re.compile(r"import time: +(?P<own>\d+) \| +\d+ \| +(?P<name>[\w.]+)")
_SHOWN = 10


def main() -> int:
    """Print the figures of each function; return 1 if a function is over a budget, else 0."""
    over = False
    with tempfile.TemporaryDirectory(prefix="flowverdict-size-") as name:
        folder = Path(name)
        built = build(folder)
        functions = built_functions(built)
        sdk = _import_of_sdk(folder)
        bare = built_functions(_without_bytecode(built, folder / "bare"))
        sys.stdout.write(
            f"{'function':32} {'MB unzipped':>11} {'of':>4} {'cold s':>7} {'x boto3':>8} "
            f"{'without bytecode':>17} {'warm s':>7}\n"
        )
        for logical_id, function in functions.items():
            megabytes, budget = function.unzipped_bytes / 1e6, MAX_MEGABYTES[logical_id]
            cold, warm = _starts(function, folder)
            cold_bare, _ = _starts(bare[logical_id], folder, times=1)  # long, and without a budget
            sys.stdout.write(
                f"{logical_id:32} {megabytes:11.1f} {budget:4g} {cold:7.2f} {cold / sdk:8.2f} "
                f"{cold_bare:17.2f} {warm:7.3f}\n"
            )
            over = over or megabytes > budget or cold > MAX_COLD_RATIO * sdk
        sys.stdout.write(
            f"budget of a cold start: {MAX_COLD_RATIO:g} x importing boto3, {sdk:.2f} s here"
            f"{'; EXCEEDED' if over else ''}\n\n"
        )
        sys.stdout.write(
            "milliseconds of imports: the total, and the packages that take longest:\n"
        )
        for logical_id, function in functions.items():
            sys.stdout.write(f"{logical_id:32} {_slowest_imports(function, folder, 'app')}\n")
            if function.has_package("numpy"):
                for title, build_of in (
                    ("  at its first big object", function),
                    ("  the same without bytecode", bare[logical_id]),
                ):
                    sys.stdout.write(f"{title:32} {_slowest_imports(build_of, folder, _ENGINE)}\n")
    return 1 if over else 0


def _import_of_sdk(folder: Path) -> float:
    """Return the seconds in which a process of the runtime's Python starts and imports boto3."""
    seconds = []
    for _ in range(_STARTS):
        begun = time.perf_counter()
        subprocess.run(  # noqa: S603 - the runtime's own Python
            [PYTHON, "-c", "import boto3"],
            env=base_environment(folder) | {"PYTHONDONTWRITEBYTECODE": "1"},
            check=True,
        )
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def _without_bytecode(built: Build, folder: Path) -> Build:
    shutil.copytree(
        built.folder / "build", folder / "build", ignore=shutil.ignore_patterns("__pycache__")
    )
    return Build(folder=folder, seconds=built.seconds)


def _starts(function: BuiltFunction, folder: Path, times: int = _STARTS) -> tuple[float, float]:
    """Return the seconds until the first answer, and of the second."""
    cold, warm = [], []
    for _ in range(times):
        with runtime(function, folder, _SETTINGS) as started:
            first = started.invoke(_ANY_EVENT)
            if first.error_type is not None and first.error_type.startswith(_NOT_STARTED):
                raise RuntimeError(f"{function.logical_id} does not start: {first.payload}")
            cold.append(first.seconds)
            warm.append(started.invoke(_ANY_EVENT).seconds)
    return min(cold), min(warm)


def _slowest_imports(function: BuiltFunction, folder: Path, module: str) -> str:
    """Return the packages that take longest when a module is imported, without their imports."""
    finished = subprocess.run(  # noqa: S603 - the runtime's own Python
        [PYTHON, "-X", "importtime", "-c", f"import {module}"],
        cwd=function.code,
        env=base_environment(folder)
        | {"PYTHONPATH": function.python_path(), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    packages = Counter[str]()
    for line in _IMPORT_TIME.finditer(finished.stderr):
        packages[line["name"].partition(".")[0]] += int(line["own"])
    shown = (
        f"{package} {microseconds / 1000:.0f}"
        for package, microseconds in packages.most_common(_SHOWN)
    )
    return f"{packages.total() / 1000:.0f}: {', '.join(shown)}"


if __name__ == "__main__":
    sys.exit(main())
