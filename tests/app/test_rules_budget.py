"""The time for reading rules goes to the own account and those known, whoever else is named."""

from __future__ import annotations

import gzip
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import botocore.client
import pytest
from botocore.exceptions import ClientError
from moto.core.models import DEFAULT_ACCOUNT_ID

from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict_cli.local_aws import REGION
from flowverdict_cli.sample_world import make_sample_world
from tests.helpers.alert_samples import NOW
from tests.helpers.events import BUCKET, KEY, failed, notification, queue_event
from tests.helpers.small_company import HEADER

if TYPE_CHECKING:
    from flowverdict_cli.local_aws import LocalAws
    from flowverdict_cli.sample_world import SampleWorld

TENANT = "111111111111"  # before the own account in every order
CLIENTS: Any = botocore.client.BaseClient  # the stubs lack its private method
READER = {"READER_ROLE_NAME": "flowverdict-reader"}


class SlowSts:
    """Every role of another account takes a second to refuse; ``seconds`` have passed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        self.per_role = 1.0
        self.asked: list[str] = []
        call = CLIENTS._make_api_call  # noqa: SLF001 - every call comes down to it

        def answer(client: Any, operation: str, arguments: Any) -> Any:  # noqa: ANN401 - botocore's
            if operation == "AssumeRole":
                self.seconds += self.per_role
                self.asked.append(arguments["RoleArn"].split(":")[4])
                raise ClientError({"Error": {"Code": "AccessDenied"}}, operation)
            return call(client, operation, arguments)

        monkeypatch.setattr(CLIENTS, "_make_api_call", answer)
        monkeypatch.setattr(
            "flowverdict.app.deadlines.time", SimpleNamespace(monotonic=lambda: self.seconds)
        )


def line_of(world: SampleWorld, account_id: str, port: int) -> str:
    """Return a rejected request to the database of the samples; EC2 knows the rule."""
    values = {
        "version": 8, "account-id": account_id, "vpc-id": world.vpc_id,
        "interface-id": world.interfaces["shop-database"], "subnet-id": "subnet-0a1b2c3d",
        "srcaddr": "10.0.2.20", "dstaddr": "10.0.3.30", "srcport": port, "dstport": 5432,
        "pkt-srcaddr": "10.0.2.20", "pkt-dstaddr": "10.0.3.30",
        "protocol": 6, "packets": 3, "bytes": 180, "start": NOW - 600, "end": NOW - 580,
        "action": "REJECT", "log-status": "OK", "tcp-flags": 2, "type": "IPv4",
        "region": REGION, "flow-direction": "ingress",
    }  # fmt: skip
    return " ".join(str(values.get(name, "-")) for name in HEADER.split())


def put(aws: LocalAws, account_id: str, name: str, lines: list[str]) -> dict[str, Any]:
    key = (KEY % name).replace(DEFAULT_ACCOUNT_ID, account_id)
    content = gzip.compress("\n".join([HEADER, *lines]).encode())
    aws.put_object(ObjectRef(bucket=BUCKET, key=key), content)
    return notification(key)


def own_alerts(aws: LocalAws) -> list[dict[str, Any]]:
    return [alert for alert in aws.alerts() if alert.get("account_id") == DEFAULT_ACCOUNT_ID]


@pytest.mark.slow
def test_accounts_that_a_record_names_leave_the_time_to_the_own_account(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_sample_world()
    sts = SlowSts(monkeypatch)
    named = [line_of(world, f"{200_000_000_000 + each}", 41_000 + each) for each in range(16)]
    events = (
        put(aws, TENANT, "forged", named),
        put(aws, DEFAULT_ACCOUNT_ID, "own", [line_of(world, DEFAULT_ACCOUNT_ID, 41_000)]),
    )

    invocation = aws.invoke(queue_event(*events), READER)

    assert failed(invocation) == []
    assert len(sts.asked) == 4  # a quarter of 15 s, of a second each
    (alert,) = own_alerts(aws)
    assert (alert["verdict"], alert["blocker"] is None) == ("security-group", False)


def test_a_window_judged_without_rules_for_want_of_time_is_judged_again_with_its_neighbour(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing new is in the window itself: what was missing was time."""
    world = make_sample_world()
    monkeypatch.setattr("flowverdict.app.deadlines.BudgetedConfigSource._standing", no_standing)
    rejected = line_of(world, DEFAULT_ACCOUNT_ID, 41_000)
    accepted = line_of(world, DEFAULT_ACCOUNT_ID, 42_000).replace("REJECT", "ACCEPT")
    aws.invoke(queue_event(put(aws, DEFAULT_ACCOUNT_ID, "own", [rejected, accepted])))
    (without,) = own_alerts(aws)
    assert without["blocker"] is None

    monkeypatch.undo()
    for seconds in (600, 580):
        accepted = accepted.replace(str(NOW - seconds), str(NOW - seconds + WINDOW))
    aws.invoke(queue_event(put(aws, DEFAULT_ACCOUNT_ID, "next", [accepted])))

    assert "security-group" in {alert["verdict"] for alert in own_alerts(aws)}


def no_standing(*_: object) -> SimpleNamespace:
    """Return the standing of an account for which there is no time."""
    return SimpleNamespace(value=0.0)
