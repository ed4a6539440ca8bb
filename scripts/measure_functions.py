"""Measure the built functions: unzipped size, and cold start under Lambda's runtime client. Fails if one is over its budget.

python -m scripts.measure_functions (``make size``)
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from tests.e2e.emulator import base_environment
from tests.e2e.runtime import PYTHON, BuiltFunction, built_functions, runtime
from tests.e2e.stack import Build, build

# MB of each function with its layers, unzipped. Lambda takes 250 (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html),
# but every one is read from a network disk at a cold start.
MAX_MEGABYTES: Final = {
    "ClassifyS3Function": 200.0,  # the engine, and room for what is to read Parquet
    "ClassifyCloudWatchLogsFunction": 60.0,
    "NotifySlackFunction": 60.0,
    "NotifyTeamsFunction": 60.0,
    "SweepAlertsFunction": 60.0,
}
# The same for all, until the first answer, on a machine that does nothing else. Half of it is boto3, which has no bytecode here.
# Lambda gives one full core at 1,769 MB and less below.
MAX_COLD_SECONDS: Final = 1.0
_STARTS = 5  # the least of so many: what else the machine does only adds to it
# What S3 sends when a notification is set up: a function builds everything it has, and asks AWS nothing. One that takes other
# events says so then, which is as good. One that does not start, or lacks a setting, would be measured too fast.
_NOT_STARTED = ("Runtime.", "SettingsError")
_TEST_MESSAGE = {
    "messageId": "1",
    "eventSource": "aws:sqs",
    "body": json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}),
}
_ANY_EVENT = {"Records": [_TEST_MESSAGE]}
_SETTINGS = {
    "ALERT_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:alerts",
    "ALERT_TABLE": "alerts",
    "EVIDENCE_BUCKET": "evidence",
    "SLACK_WEBHOOK": "ssm:/slack/webhook",
    "TEAMS_WEBHOOK": "ssm:/teams/webhook",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_ENGINE = "flowverdict.flowlog.column_reader"  # loaded at the first big object, not at a cold start
_TIME_OF_ONE = re.compile(
    r"import time: +(?P<own>\d+) \| +\d+ \| +(?P<name>[\w.]+)"
)  # microseconds without what it imports itself
_SHOWN = 10


def main() -> int:
    """Print what each function comes to; give 1 if one is over a budget."""
    over = False
    with tempfile.TemporaryDirectory(prefix="flowverdict-size-") as name:
        folder = Path(name)
        built = build(folder)
        functions, bare = (
            built_functions(built),
            built_functions(_without_bytecode(built, folder / "bare")),
        )
        sys.stdout.write(
            f"{'function':32} {'MB unzipped':>11} {'of':>4} {'cold s':>7} {'without bytecode':>17} {'warm s':>7}\n"
        )
        for logical_id, function in functions.items():
            megabytes, budget = function.unzipped_bytes / 1e6, MAX_MEGABYTES[logical_id]
            (cold, warm), (cold_bare, _) = (
                _starts(function, folder),
                _starts(bare[logical_id], folder),
            )
            sys.stdout.write(
                f"{logical_id:32} {megabytes:11.1f} {budget:4g} {cold:7.2f} {cold_bare:17.2f} {warm:7.3f}\n"
            )
            over = over or megabytes > budget or cold > MAX_COLD_SECONDS
        sys.stdout.write(
            f"budget of a cold start: {MAX_COLD_SECONDS:g} s{'; EXCEEDED' if over else ''}\n\n"
        )
        sys.stdout.write(
            "milliseconds of imports, all in all and of the packages that take longest:\n"
        )
        for logical_id, function in functions.items():
            sys.stdout.write(f"{logical_id:32} {_slowest_imports(function, folder, 'app')}\n")
            if function.has_package("numpy"):
                sys.stdout.write(
                    f"{'  at its first big object':32} {_slowest_imports(function, folder, _ENGINE)}\n"
                )
                sys.stdout.write(
                    f"{'  the same without bytecode':32} {_slowest_imports(bare[logical_id], folder, _ENGINE)}\n"
                )
    return 1 if over else 0


def _without_bytecode(built: Build, folder: Path) -> Build:
    shutil.copytree(
        built.folder / "build", folder / "build", ignore=shutil.ignore_patterns("__pycache__")
    )
    return Build(folder=folder, seconds=built.seconds)


def _starts(function: BuiltFunction, folder: Path) -> tuple[float, float]:
    """Give the seconds until the first answer, and until the second."""
    cold, warm = [], []
    for _ in range(_STARTS):
        with runtime(function, folder, _SETTINGS) as started:
            first = started.invoke(_ANY_EVENT)
            if first.error_type is not None and first.error_type.startswith(_NOT_STARTED):
                raise RuntimeError(f"{function.logical_id} does not start: {first.payload}")
            cold.append(first.seconds)
            warm.append(started.invoke(_ANY_EVENT).seconds)
    return min(cold), min(warm)


def _slowest_imports(function: BuiltFunction, folder: Path, module: str) -> str:
    """Give the packages that take longest when a module is imported, each without what it imports of others."""
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
    for one in _TIME_OF_ONE.finditer(finished.stderr):
        packages[one["name"].partition(".")[0]] += int(one["own"])
    shown = (
        f"{package} {microseconds / 1000:.0f}"
        for package, microseconds in packages.most_common(_SHOWN)
    )
    return f"{packages.total() / 1000:.0f}: {', '.join(shown)}"


if __name__ == "__main__":
    sys.exit(main())
