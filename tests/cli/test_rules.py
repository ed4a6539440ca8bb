"""The rules of ``explain``, ``report``, ``replay`` and ``policy check``: of a file or of AWS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import time_machine

from flowverdict.core.errors import NotReadError
from flowverdict_cli import rules, snapshot

if TYPE_CHECKING:
    from flowverdict_cli.local_aws import LocalAws
    from tests.helpers.command import Runner

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "tests" / "scenarios" / "shop.config.json"
LOG = ROOT / "tests" / "scenarios" / "rules-inbound-request.log"
SAMPLES = sorted((ROOT / "events" / "objects").rglob("*.log"))[:2]
DELIVERY = ROOT / "events" / "sqs-s3-delivery.json"


@time_machine.travel("2026-11-22T12:06:00Z", tick=False)  # the time when the rules were read
def test_account_explains_as_the_snapshot_of_the_account_does(
    run: Runner, aws: LocalAws, tmp_path: Path
) -> None:
    aws.make_samples()
    path = tmp_path / "rules.json"
    assert run("snapshot", "--output", path).code == 0
    explained = [
        run("explain", "--output", "json", *options, *SAMPLES).out
        for options in (["--account"], ["--rules", path], [])
    ]
    assert explained[0] == explained[1] != explained[2]
    assert run("explain", "--account", *SAMPLES).err.count("\n") == 1  # the summary alone


@pytest.mark.parametrize("command", [["explain", str(LOG)], ["replay", str(DELIVERY)]])
def test_rules_and_account_together_are_wrong_usage(run: Runner, command: list[str]) -> None:
    outcome = run(*command, "--rules", SHOP, "--account")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "flowverdict: --rules and --account: give one of them\n"


@pytest.mark.parametrize(
    "command",
    [
        ["explain", "--account", str(LOG)],
        ["report", "--account", str(LOG), "-o", "no-such-folder/report.html"],
        ["replay", "--account", str(DELIVERY)],
        ["policy", "check", "--account", "docs/policy.example.json", str(LOG)],
    ],
)
def test_account_that_aws_does_not_show_is_one_line_and_exit_2(
    run: Runner, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    def denied(*_: object) -> None:
        raise NotReadError("ec2:DescribeVpcs", "UnauthorizedOperation", denied=True)

    monkeypatch.setattr(snapshot, "read_snapshot", denied)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    outcome = run(*command)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert "UnauthorizedOperation" in outcome.err


@pytest.mark.slow
def test_replay_shows_the_alerts_of_the_rules_that_are_given(
    run: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def replayed(*options: str | Path) -> list[str]:
        out = run("replay", "--output", "json", *options, DELIVERY).out
        return [json.loads(line)["summary"] for line in out.split("\n")[:-1]]

    without = replayed()
    document = json.loads(SHOP.read_text())
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({**document, "NetworkInterfaces": []}))
    of_file = replayed("--rules", path)
    assert of_file != without
    assert len(of_file) > 0
    read = snapshot.Snapshot(answers=json.loads(path.read_text()), denied=())
    monkeypatch.setattr(rules, "read_account", lambda _: read)
    assert replayed("--account") == of_file
