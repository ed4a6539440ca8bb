"""The built functions and layers under Lambda's own runtime client, with no other packages."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from datetime import UTC, datetime
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flowverdict.app.signals import group_of, message_of
from flowverdict.app.sources import SourcePlace
from flowverdict.flowlog.columnar import WINDOW
from scripts.pack_cloudwatch_event import pack
from tests.e2e.contract import valid
from tests.e2e.emulator import base_environment
from tests.e2e.runtime import PYTHON, built_functions, runtime
from tests.e2e.samples import key, notification, scenario, scheduled, shop_log_lines
from tests.e2e.subscribers import forget, wait_until
from tests.helpers.sam_template import read_template
from tests.helpers.slack_requests import pressed, signed

if TYPE_CHECKING:
    from tests.e2e.emulator import Emulator
    from tests.e2e.stack import Build, Stack
    from tests.e2e.subscribers import Queue
    from tests.e2e.webhook import Webhook

DONE: tuple[tuple[None, object], ...] = (
    (None, None),
    (None, {"batchItemFailures": []}),
)  # of a queue's event, no message failed
ALERT_EVENTS = ("ClassifyCloudWatchLogsFunction", "ClassifyS3Function")

# Prints every module that `app` imports, and the file of each. In Lambda the runtime client is
# loaded before the function.
_IMPORT_ALL = """
import json, sys
import app
json.dump({name: getattr(module, "__file__", None) for name, module in sys.modules.items()}, \
sys.stdout)
"""


def test_every_function_of_the_template_was_built(built: Build) -> None:
    template = read_template(built.template)["Resources"]
    assert set(built_functions(built)) == {
        name
        for name, resource in template.items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def test_everything_that_is_deployed_has_its_bytecode(built: Build) -> None:
    sources = [*built.template.parent.rglob("*.py")]
    assert {"app.py", "multiarray.py", "pipeline.py"} <= {path.name for path in sources}
    assert [path for path in sources if not Path(cache_from_source(str(path))).is_file()] == []


def test_the_functions_import_nothing_but_lambdas_python_and_what_was_built(
    built: Build, tmp_path: Path
) -> None:
    for function in built_functions(built).values():
        environment = base_environment(tmp_path) | {
            "PYTHONPATH": function.python_path(),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        finished = subprocess.run(  # noqa: S603 - the runtime's own Python
            [PYTHON, "-c", _IMPORT_ALL],
            cwd=function.code,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        modules = {
            name: path for name, path in json.loads(finished.stdout).items() if path is not None
        }
        own = {
            name: path
            for name, path in modules.items()
            if function.has_package(name.partition(".")[0])
        }
        assert {"flowverdict", "aws_lambda_powertools"} <= set(own)
        assert all(path.startswith(str(built.folder)) for path in own.values())


def variables(aws: Emulator, stack: Stack, logical_id: str) -> dict[str, str]:
    """Return the deployed environment of a function, with the variables of the emulator."""
    configuration = stack.place.client("lambda").get_function_configuration(
        FunctionName=stack.physical_id(logical_id)
    )
    deployed: dict[str, str] = configuration["Environment"]["Variables"]
    return deployed | aws.function_environment()


@pytest.mark.parametrize(
    ("logical_id", "package", "error_type"),
    [
        ("ClassifyS3Function", "aws_lambda_powertools", "Runtime.ImportModuleError"),
        (
            "SweepAlertsFunction",
            "pydantic_core",
            "ModuleNotFoundError",
        ),  # compiled; at the policy, which alone needs it
        ("NotifySlackFunction", "slack_sdk", "Runtime.ImportModuleError"),
    ],
)
def test_a_package_that_a_layer_lacks_is_missed(  # noqa: PLR0913, PLR0917 - fixtures
    built: Build,
    aws: Emulator,
    stack: Stack,
    tmp_path: Path,
    logical_id: str,
    package: str,
    error_type: str,
) -> None:
    """Assert an error that the emulator hides: its workers can import its own packages."""
    function = built_functions(built)[logical_id]
    layers = []
    for layer in function.layers:
        layers.append(tmp_path / layer.name)
        shutil.copytree(
            layer, layers[-1], ignore=shutil.ignore_patterns(package), copy_function=_link
        )

    with runtime(function, tmp_path, variables(aws, stack, logical_id), layers) as started:
        answer = started.invoke(scheduled())

    assert answer.error_type == error_type
    assert f"No module named '{package}'" in answer.payload["errorMessage"]


def _link(source: str, target: str) -> None:
    # A copy of the layer takes seconds.
    Path(target).symlink_to(source)


def test_a_setting_that_is_missing_is_named(built: Build, tmp_path: Path) -> None:
    for logical_id, function in built_functions(built).items():
        with runtime(function, tmp_path, {}) as started:
            answer = started.invoke({})

        assert answer.error_type == "SettingsError"
        assert answer.payload["errorMessage"].startswith(
            {
                "NotifySlackFunction": "SLACK_WEBHOOK",
                "NotifyTeamsFunction": "TEAMS_WEBHOOK",
                "SlackActionsFunction": "SLACK_SIGNING_SECRET",
            }.get(logical_id, "ALERT_TOPIC_ARN")
        )


def put_outside(stack: Stack, name: str, flow_log: str) -> dict[str, Any]:
    """Put a flow log into a bucket outside the stack, and return its event.

    The stack's own function is not notified of the object, so another function can read it first.
    """
    bucket, object_key = f"outside-the-stack-{name}", key(stack.place, name)
    s3 = stack.place.client("s3")
    s3.create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": stack.place.region}
    )
    s3.put_object(Bucket=bucket, Key=object_key, Body=flow_log.encode())
    return notification(bucket, object_key)


def signal_of(name: str, stack: Stack) -> dict[str, Any]:
    """Return the signal of the window that a scenario's flow log has records of."""
    place = SourcePlace.of_object(key(stack.place, name))
    window = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()) // WINDOW
    (signal,) = place.dirty([window])
    message = {
        "messageId": name,
        "receiptHandle": name,
        "eventSource": "aws:sqs",
        "body": message_of(signal, int(time.time())),
        "attributes": {
            "ApproximateReceiveCount": "1",
            "MessageGroupId": group_of(signal.partition),
        },
        "messageAttributes": {},
    }
    return {"Records": [message]}


def an_event(stack: Stack, logical_id: str, alert: str) -> dict[str, Any]:
    """Return an event that makes a function do all its work."""
    match logical_id:
        case "ClassifyS3Function":
            return put_outside(stack, "runtime", scenario("outbound-response"))
        case "ClassifyCloudWatchLogsFunction":
            packed: dict[str, Any] = json.loads(
                pack(
                    shop_log_lines(),
                    log_group="/sample/vpc-flow-logs",
                    log_stream="eni-7db9fa8d493456225-all",
                )
            )
            return packed
        case "EvaluateWindowsFunction":
            return signal_of("runtime", stack)
        case "SweepAlertsFunction":
            return scheduled(241 * 60)
        case "NotifySlackFunction" | "NotifyTeamsFunction":
            sns = {
                "Type": "Notification",
                "MessageId": "1",
                "TopicArn": stack.outputs["AlertTopicArn"],
                "Message": alert,
            }
            return {"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": sns}]}
        case "SlackActionsFunction":
            body = pressed(f"flowverdict:ack:{json.loads(alert)['fingerprint']}", answers_to=None)
            return signed(body, int(time.time()))
    raise LookupError(f"{logical_id} has no event here")


def test_a_big_object_is_read_by_the_engine_to_the_alert_of_a_small_one(  # noqa: PLR0913, PLR0917 - fixtures
    built: Build,
    aws: Emulator,
    stack: Stack,
    alerts: Queue,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Read an object in which the request of the rejected reply is among 20,000 accepted flows.

    Without the engine's layer the function reads the object line by line, to the same alert.
    """
    function = built_functions(built)["ClassifyS3Function"]
    settings = variables(aws, stack, function.logical_id)
    (engine,) = [layer for layer in function.layers if layer.name == "EngineLayer"]
    small = scenario("outbound-response")
    header, request, reply = small.splitlines()
    others = [request.replace(" 50122 ", f" {port} ") for port in range(20_000, 40_000)]
    events = {
        "small": put_outside(stack, "small", small),
        "big": put_outside(stack, "big", "\n".join([header, *others, request, reply, ""])),
    }
    without = [layer for layer in function.layers if layer != engine]
    told, seconds = dict[str, dict[str, Any]](), dict[str, float]()
    for name, event, layers in (
        ("small", "small", without),
        ("big", "big", function.layers),
        ("big, line by line,", "big", without),
    ):
        forget(stack)
        with runtime(function, tmp_path, settings, layers) as started:
            answer = started.invoke(events[event])
        assert (answer.error_type, answer.payload) == (None, None)
        (told[name],) = valid(alerts.take(1) + alerts.rest())
        del told[name]["opened_at"]  # when the function saw it
        (of_object,) = told[name].pop("objects")
        assert of_object.endswith(key(stack.place, event))
        seconds[name] = answer.seconds

    connections = {name: alert.pop("connections") for name, alert in told.items()}
    assert connections == {"small": 1, "big": 20_001, "big, line by line,": 20_001}
    assert told["big"] == told["small"]
    assert told["big, line by line,"] == told["small"]
    with capsys.disabled():
        print(  # noqa: T201 - as below
            "",
            *(
                f"first alert of a {name} object after {duration:.2f} s"
                for name, duration in seconds.items()
            ),
            sep="\n",
        )


def test_every_function_does_its_work_and_the_first_answer_takes_so_long(  # noqa: PLR0913, PLR0917 - fixtures
    built: Build,
    aws: Emulator,
    stack: Stack,
    alerts: Queue,
    slack: Webhook,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Invoke all functions one after the other, with the emulator's services and one alert table.

    The alerts are detected, sent, posted and ended.
    """
    functions = built_functions(built)
    assert set(functions) == set(stack.of_type("AWS::Lambda::Function"))
    told = list[dict[str, Any]]()
    lines = list[str]()
    for logical_id in (*ALERT_EVENTS, *sorted(set(functions) - set(ALERT_EVENTS))):
        event = an_event(stack, logical_id, json.dumps(told[0]) if told else "")
        with runtime(functions[logical_id], tmp_path, variables(aws, stack, logical_id)) as started:
            cold = started.invoke(event)
            warm = started.invoke(event)
            if logical_id == "SlackActionsFunction":  # the same request again is refused
                answers = [cold.payload, warm.payload]
                assert [answer["statusCode"] for answer in answers] == [200, 401]
            else:
                assert (cold.error_type, cold.payload) in DONE, logical_id
                assert (warm.error_type, warm.payload) in DONE, logical_id
        assert warm.seconds < cold.seconds
        lines.append(
            f"{logical_id:32} first answer after {cold.seconds:.2f} s, "
            f"second after {warm.seconds:.2f} s"
        )
        if logical_id in ALERT_EVENTS:
            told += valid(alerts.take(1) + alerts.rest())  # the second time it is counted before
    assert [alert["status"] for alert in told] == ["firing", "firing"]
    ends = valid(alerts.take(2) + alerts.rest())
    over = [alert for alert in ends if alert["kind"] != "ends"]
    assert {alert["fingerprint"] for alert in over} == {alert["fingerprint"] for alert in told}
    assert {alert["ending"] for alert in ends} == {"unknown"}
    told_together = len(ends) > len(over)
    # The stack's own function posts these alerts some time later. Wait for that, so that the posts
    # do not reach another test.
    wait_until(
        lambda: len(slack.requests) == 2 + len(told) + (1 if told_together else 2) or None,
        "everything to be posted",
        40,
    )
    with capsys.disabled():
        print("", *lines, sep="\n")  # noqa: T201 - figures for whoever runs it
