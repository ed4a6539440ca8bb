"""The emulator itself: what it accepts, what it answers, and that no process or file remains."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.e2e.emulator import emulator
from tests.e2e.emulator_process import _UnpackedOnce
from tests.e2e.webhook import Answer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.connections import Watch
    from tests.e2e.emulator import Emulator
    from tests.e2e.webhook import Webhook

_FLOW_LOG = {
    "Type": "AWS::EC2::FlowLog",
    "Properties": {
        "ResourceId": "vpc-0123456789abcdef0",
        "ResourceType": "VPC",
        "TrafficType": "ALL",
        "LogFormat": "${version}",
    },
}
_QUERY = {
    "Type": "AWS::Logs::QueryDefinition",
    "Properties": {"Name": "rejects", "QueryString": "fields @message"},
}
_ALARM = {
    "Type": "AWS::CloudWatch::CompositeAlarm",
    "Properties": {"AlarmName": "broken", "AlarmRule": "TRUE"},
}


def test_types_that_the_emulator_does_not_know_are_kept_for_tests_to_look_at(aws: Emulator) -> None:
    client = aws.place.client("cloudformation")
    template = {"Resources": {"Log": _FLOW_LOG, "Query": _QUERY, "Alarm": _ALARM}}

    client.create_stack(StackName="kept", TemplateBody=json.dumps(template))
    client.get_waiter("stack_create_complete").wait(StackName="kept", WaiterConfig={"Delay": 1})

    assert [resource["LogFormat"] for resource in aws.kept("AWS::EC2::FlowLog", "kept")] == [
        "${version}"
    ]
    assert [
        resource["QueryString"] for resource in aws.kept("AWS::Logs::QueryDefinition", "kept")
    ] == ["fields @message"]
    assert [
        resource["AlarmRule"] for resource in aws.kept("AWS::CloudWatch::CompositeAlarm", "kept")
    ] == ["TRUE"]

    client.delete_stack(StackName="kept")
    client.get_waiter("stack_delete_complete").wait(StackName="kept", WaiterConfig={"Delay": 1})
    assert aws.kept("AWS::EC2::FlowLog", "kept") == []


def test_a_test_that_fails_leaves_neither_process_nor_file(watch: Watch) -> None:  # noqa: ARG001 - watched, as everything
    started: list[Emulator] = []

    def fail() -> None:
        with emulator(account_id="123456789012", region="eu-west-1") as running:
            started.append(running)
            assert running.folder.is_dir()
            running.place.client("sqs").create_queue(QueueName="one")
            urllib.request.urlopen("http://127.0.0.1:1/", timeout=1)

    with pytest.raises(urllib.error.URLError):
        fail()
    (running,) = started
    assert not running.folder.exists()
    with pytest.raises(EndpointConnectionError):
        running.place.client("sqs").list_queues()


def test_workers_that_start_at_once_share_one_unpacked_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked, layer = tmp_path / "unpacked", tmp_path / "layer.zip"
    unpacked.mkdir()
    monkeypatch.setattr(_UnpackedOnce, "folder", unpacked, raising=False)
    names = {f"module_{number}.py" for number in range(500)}
    with zipfile.ZipFile(layer, "w") as file:
        for name in names:
            file.writestr(f"python/{name}", "")

    def unpack(worker: int) -> set[str]:
        folder = tmp_path / f"worker-{worker}"
        folder.mkdir()
        with _UnpackedOnce(layer) as file:
            file.extractall(folder)
        return {path.name for path in (folder / "python").iterdir()}

    with ThreadPoolExecutor(4) as pool:
        assert all(found == names for found in pool.map(unpack, range(4)))
    assert len([*unpacked.iterdir()]) == 1


def test_the_webhook_answers_as_told(hook: Webhook) -> None:
    hook.script(
        Answer(status=429, headers={"Retry-After": "2"}), Answer(status=404), Answer(delay=0.3)
    )

    with pytest.raises(urllib.error.HTTPError) as throttled:
        post(hook, b"1")
    assert (throttled.value.code, throttled.value.headers["Retry-After"]) == (429, "2")
    throttled.value.close()
    with pytest.raises(urllib.error.HTTPError) as gone:
        post(hook, b"2")
    assert gone.value.code == 404
    gone.value.close()
    started = time.monotonic()
    post(hook, b"3")
    assert time.monotonic() - started >= 0.3
    post(hook, b"4")
    assert [request.body for request in hook.requests] == [b"1", b"2", b"3", b"4"]
    with pytest.raises(TimeoutError):
        hook.wait_for(lambda request: request.body == b"5", seconds=0.1)


def post(hook: Webhook, body: bytes) -> None:
    urllib.request.urlopen(hook.url, data=body, timeout=5).close()  # noqa: S310 - http, our own
