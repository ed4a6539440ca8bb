"""Fixtures of a session: one build, one emulator with the stack, one watch over connections."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.connections import watching
from tests.e2e.emulator import emulator, make_shop, moto_server
from tests.e2e.samples import ACCOUNT_ID, REGION, prepare
from tests.e2e.stack import Stack, build
from tests.e2e.subscribers import deployed_filter, forget, subscribe
from tests.e2e.webhook import ACCEPTED, webhook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.connections import Watch
    from tests.e2e.emulator import Emulator
    from tests.e2e.stack import Build
    from tests.e2e.subscribers import Queue
    from tests.e2e.webhook import Webhook


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, so that no test runs where the emulator is not available."""
    folder = f"{Path(__file__).parent}/"
    for item in items:
        if str(item.path).startswith(folder):  # `is_relative_to` takes a second for all of them
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return build(tmp_path_factory.mktemp("sam"))


@pytest.fixture(scope="session")
def watch(built: Build) -> Iterator[Watch]:  # noqa: ARG001 - the watch begins after the build, whose pip may connect to an index
    with watching() as started:
        yield started
        assert started.beyond_loopback == []


@pytest.fixture(scope="session")
def aws(watch: Watch) -> Iterator[Emulator]:  # noqa: ARG001 - watched from the start
    with moto_server(account_id=ACCOUNT_ID, region=REGION) as rules:
        make_shop(rules)
        with emulator(account_id=ACCOUNT_ID, region=REGION, ec2_url=rules.url) as server:
            yield server


@pytest.fixture(scope="session")
def _slack() -> Iterator[Webhook]:
    with webhook() as started:
        yield started


@pytest.fixture
def slack(_slack: Webhook, stack: Stack) -> Iterator[Webhook]:  # noqa: ARG001 - it is this stack's
    """Return the Slack webhook of the stack without requests of earlier tests.

    After the test the webhook accepts all requests again.
    """
    _slack.forget()
    yield _slack
    _slack.forget()


@pytest.fixture(scope="session")
def _teams() -> Iterator[Webhook]:
    with webhook(otherwise=ACCEPTED) as started:
        yield started


@pytest.fixture
def teams(_teams: Webhook, stack: Stack) -> Iterator[Webhook]:  # noqa: ARG001 - it is this stack's
    """Return the Teams webhook of the stack without requests of earlier tests."""
    _teams.forget()
    yield _teams
    _teams.forget()


@pytest.fixture(scope="session")
def parameters(aws: Emulator, _slack: Webhook, _teams: Webhook) -> dict[str, str]:
    """Return the parameters that the stack is deployed with."""
    return prepare(aws.place, _slack.address, _teams.address)


@pytest.fixture(scope="session")
def stack(built: Build, aws: Emulator, parameters: dict[str, str]) -> Stack:
    deployed = Stack(build=built, place=aws.place, name="flowverdict")
    deployed.deploy(parameters)
    return deployed


@dataclass(frozen=True, slots=True, kw_only=True)
class Inboxes:
    """Queues that are subscribed to every topic.

    ``mailed`` gets what the address ``AlertEmail`` gets, by the filter policy of its subscription.
    """

    alerts: Queue
    mail: Queue
    mailed: Queue
    chat: Queue


@pytest.fixture(scope="session")
def _inboxes(stack: Stack) -> Inboxes:
    place, outputs = stack.place, stack.outputs
    mail = outputs["EmailTopicArn"]
    return Inboxes(
        alerts=subscribe(place, outputs["AlertTopicArn"], "everything"),
        mail=subscribe(place, mail, "all-mail", raw=False),
        mailed=subscribe(place, mail, "mailed", deployed_filter(place, mail, "email"), raw=False),
        chat=subscribe(place, outputs["QDeveloperTopicArn"], "chat"),
    )


@pytest.fixture
def inboxes(_inboxes: Inboxes, stack: Stack) -> Inboxes:
    """Return the queues without messages of earlier tests, and delete the alerts of the stack."""
    forget(stack)
    for queue in (_inboxes.alerts, _inboxes.mail, _inboxes.mailed, _inboxes.chat):
        queue.rest()
    return _inboxes


@pytest.fixture
def alerts(inboxes: Inboxes) -> Queue:
    """Return the queue that gets every alert."""
    return inboxes.alerts


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as started:
        yield started
