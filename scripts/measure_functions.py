"""Measure the built functions: unzipped size, and cold start under Lambda's runtime client. Fails if one is over its budget.

python -m scripts.measure_functions (``make size``)
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.e2e.runtime import built_functions, runtime
from tests.e2e.stack import build

# Of each function with its layers, unzipped; today 13.6, nearly all of it the dependencies that all share. Lambda takes 250
# (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html), but every one is read from a network disk at a cold
# start. There is room for a release of pydantic or slack-sdk, and none for another library of their size.
MAX_MEGABYTES: Final = 16.0
# On two shared cores it takes 0.9 to 1.2 s, three times that where others work too; half of it is boto3. Lambda gives one full core
# at 1,769 MB and less below.
MAX_COLD_SECONDS: Final = 3.0
_STARTS = 3  # the median of so many: one may meet a busy machine
# What S3 sends when a notification is set up: a function builds everything it has, and asks AWS nothing. One that takes other
# events says so then, which is as good. One that does not start, or lacks a setting, would be measured too fast.
_NOT_STARTED = ("Runtime.", "SettingsError")
_TEST_MESSAGE = {"messageId": "1", "eventSource": "aws:sqs", "body": json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"})}
_ANY_EVENT = {"Records": [_TEST_MESSAGE]}
_SETTINGS = {
    "ALERT_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:alerts",
    "ALERT_TABLE": "alerts",
    "SLACK_WEBHOOK": "ssm:/slack/webhook",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def main() -> int:
    """Print a line for each function; give 1 if one is over a budget."""
    over = False
    with tempfile.TemporaryDirectory(prefix="flowverdict-size-") as name:
        folder = Path(name)
        sys.stdout.write(f"{'function':34} {'MB unzipped':>12} {'cold s':>8} {'warm s':>8}\n")
        for function in built_functions(build(folder)).values():
            cold, warm = [], []
            for _ in range(_STARTS):
                with runtime(function, folder, _SETTINGS) as started:
                    first = started.invoke(_ANY_EVENT)
                    if first.error_type is not None and first.error_type.startswith(_NOT_STARTED):
                        raise RuntimeError(f"{function.logical_id} does not start: {first.payload}")
                    cold.append(first.seconds)
                    warm.append(started.invoke(_ANY_EVENT).seconds)
            megabytes, seconds = function.unzipped_bytes / 1e6, statistics.median(cold)
            sys.stdout.write(f"{function.logical_id:34} {megabytes:12.2f} {seconds:8.2f} {statistics.median(warm):8.3f}\n")
            over = over or megabytes > MAX_MEGABYTES or seconds > MAX_COLD_SECONDS
    sys.stdout.write(f"budget of each: {MAX_MEGABYTES:g} MB, {MAX_COLD_SECONDS:g} s{': EXCEEDED' if over else ''}\n")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
