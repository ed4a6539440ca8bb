"""One Slack thread for each problem: what the channel shows after each message and trouble."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import time_machine

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.model import Status
from flowverdict.core.errors import DeliveryError, StateError
from flowverdict.delivery.slack_bot import SlackBot
from flowverdict.delivery.slack_threads import CLAIM_SECONDS, SlackThreads, Thread
from tests.helpers.alert_samples import ALERT, NOW
from tests.helpers.notification_samples import FOUND_AT, NOTIFICATIONS, digest
from tests.helpers.slack_api import CHANNEL, FIRST_TS, TOKEN, SlackApi, refusal, slack_api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict.alerts.model import Alert, Notification

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

GOLDEN = Path(__file__).parents[1] / "golden" / "slack-thread.json"
HOUR = 3_600
FIRING = replace(ALERT, opened_at=NOW)
REMINDER = replace(FIRING, status=Status.REMINDER, records=7, flows=7)
FIXED = FIRING.with_status(Status.RESOLVED, "The rules let its packets pass.", Ending.FIXED)
CORRECTED = FIRING.with_status(Status.RESOLVED, "Corrected: nothing.", Ending.CORRECTED)


@dataclass(slots=True)
class Memory:
    """A store that may be broken, or in which another invocation is faster."""

    threads: dict[tuple[str, str], Thread] = field(default_factory=dict)
    unreadable: bool = False
    unwritable: bool = False
    is_late: bool = False

    def read(self, channel: str, fingerprint: str) -> Thread:
        if self.unreadable:
            raise StateError("no table")
        return self.threads.get((channel, fingerprint), Thread())

    def write(self, channel: str, fingerprint: str, thread: Thread) -> Thread | None:
        if self.unwritable:
            raise StateError("no table")
        known = self.threads.get((channel, fingerprint), Thread())
        if self.is_late or (known.version or 0) != (thread.version or 0):
            return None
        stored = replace(thread, version=(thread.version or 0) + 1)
        self.threads[channel, fingerprint] = stored
        return stored


@dataclass(slots=True)
class World:
    """A channel, and a function that posts there at a time."""

    slack: SlackApi
    bot: SlackBot
    store: Memory = field(default_factory=Memory)
    now: int = NOW
    degraded: list[str] = field(default_factory=list)

    def post(self, notification: Notification, after: int = 0) -> bool:
        self.now += after
        threads = SlackThreads(
            store=self.store,
            channel=CHANNEL,
            clock=lambda: self.now,
            on_degraded=self.degraded.append,
        )
        return threads.post(self.bot, notification)

    @property
    def shown(self) -> list[tuple[str, list[str]]]:
        """The first word of each first message, and of its replies; ``!`` for those broadcast."""
        return [
            (
                _word(first.text),
                [
                    f"{_word(reply.text)}{'!' if reply.is_in_channel else ''}"
                    for reply in self.slack.replies(first)
                ],
            )
            for first in self.slack.firsts
        ]


def _word(text: str) -> str:
    return text.partition(":")[0]


@pytest.fixture(scope="module")
def _served() -> Iterator[tuple[SlackApi, str]]:
    with slack_api() as served:
        yield served


@pytest.fixture
def world(_served: tuple[SlackApi, str], monkeypatch: pytest.MonkeyPatch) -> World:
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(variable, raising=False)
    state, address = _served
    state.messages, state.calls, state.script = [], [], {}
    state.first_ts = FIRST_TS
    return World(slack=state, bot=SlackBot(TOKEN, api=address))


def test_a_thread_equals_the_golden_file(world: World) -> None:
    """``UPDATE_GOLDEN=1`` writes the file, from which the picture of a thread is drawn."""
    minutes = {"critical": 0, "reminder": 22, "resolved": 34}
    for name, after in minutes.items():
        world.now = FOUND_AT + after * 60
        with time_machine.travel(datetime.fromtimestamp(FOUND_AT, UTC), tick=False):
            world.slack.first_ts = world.now - len(world.slack.calls) - 1
            world.post(NOTIFICATIONS[name]())
    thread = [
        {
            "at": f"{datetime.fromtimestamp(float(message.ts), UTC):%H:%M}",
            "is_reply": message.thread is not None,
            "is_in_channel": message.is_in_channel,
            **{key: message.shown[key] for key in ("text", "blocks", "attachments")},
        }
        for message in world.slack.messages
    ]
    text = json.dumps(thread, indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert GOLDEN.read_text() == text


def test_firing_reminder_and_end_are_one_thread_and_the_first_message_says_how_it_stands(
    world: World,
) -> None:
    assert world.post(FIRING)
    (first,) = world.slack.firsts
    assert first.shown["attachments"][0]["color"] == "#f5841f"
    assert world.post(REMINDER, after=4 * HOUR)
    assert _word(first.text) == "STILL HIGH"
    assert world.post(FIXED, after=HOUR)

    assert world.shown == [("FIXED", ["STILL HIGH!", "FIXED"])]
    assert first.updates == 2
    assert first.shown["attachments"][0]["color"] == "#2eb67d"
    small = first.shown["attachments"][0]["blocks"][2]["elements"][0]["text"]
    assert small.startswith("First told <!date^17953490")
    assert f" \N{MIDDLE DOT} Fixed <!date^{NOW + 5 * HOUR}^" in small
    assert world.degraded == []


def test_ends_of_one_sweep_add_no_message_to_the_channel(world: World) -> None:
    alerts = [replace(FIRING, fingerprint=f"{number:032x}") for number in range(5)]
    for alert in alerts:
        world.post(alert)
    for alert in alerts:
        world.post(alert.with_status(Status.RESOLVED, "Nothing more.", Ending.QUIET), after=60)
    assert world.shown == [("QUIET", ["QUIET"])] * 5
    assert sum(message.is_in_channel for message in world.slack.messages) == 5


def test_a_correction_after_the_end_belongs_to_the_thread(world: World) -> None:
    for notification in (FIRING, FIXED, CORRECTED):
        world.post(notification, after=60)
    assert world.shown == [("CORRECTED", ["FIXED", "CORRECTED"])]


def test_a_problem_that_comes_again_has_a_new_thread(world: World) -> None:
    world.post(FIRING)
    world.post(FIXED, after=HOUR)
    world.post(replace(FIRING, opened_at=NOW + 2 * HOUR), after=HOUR)
    assert world.shown == [("FIXED", ["FIXED"]), ("HIGH", [])]


def test_what_comes_after_the_end_of_its_own_episode_does_not_open_it_again(world: World) -> None:
    world.post(FIXED)
    world.post(FIRING, after=60)
    assert world.shown == [("FIXED", ["HIGH"])]


def test_each_digest_stands_by_itself(world: World) -> None:
    world.post(digest())
    world.post(replace(digest(), title="flowverdict digest: nothing"), after=24 * HOUR)
    assert len(world.slack.firsts) == 2


def test_a_message_delivered_twice_is_posted_once_and_the_same_text_hours_later_again(
    world: World,
) -> None:
    assert world.post(FIRING)
    assert not world.post(FIRING, after=60)
    assert world.post(REMINDER, after=60)
    assert not world.post(FIRING, after=60)
    assert world.post(REMINDER, after=4 * HOUR)
    assert world.shown == [("STILL HIGH", ["STILL HIGH!", "STILL HIGH!"])]


def test_while_one_invocation_posts_another_waits_for_its_next_try(world: World) -> None:
    key = (CHANNEL, FIRING.fingerprint)
    world.store.threads[key] = Thread(version=1, claimed_until=NOW + CLAIM_SECONDS)
    with pytest.raises(DeliveryError, match="another invocation posts to the same thread"):
        world.post(FIRING)
    assert world.slack.calls == []
    # The other died: its claim ends by itself, before Lambda's last try.
    assert world.post(FIRING, after=CLAIM_SECONDS)
    assert world.shown == [("HIGH", [])]


def test_of_two_that_claim_at_once_one_posts(world: World) -> None:
    world.store.is_late = True
    with pytest.raises(DeliveryError, match="another invocation posts to the same thread"):
        world.post(FIRING)
    assert world.slack.calls == []


def test_a_message_that_slack_does_not_take_can_be_tried_at_once(world: World) -> None:
    world.slack.script = {"chat.postMessage": [refusal("is_archived")]}
    with pytest.raises(DeliveryError, match="the channel is archived"):
        world.post(FIRING)
    assert world.post(FIRING, after=1)
    assert world.shown == [("HIGH", [])]


def test_after_a_failed_reply_the_first_message_is_changed_again_and_one_reply_comes(
    world: World,
) -> None:
    world.post(FIRING)
    world.slack.script = {"chat.postMessage": [refusal("internal_error")]}
    with pytest.raises(DeliveryError, match="Slack has a fault"):
        world.post(FIXED, after=60)
    assert world.post(FIXED, after=60)
    assert world.shown == [("FIXED", ["FIXED"])]


@pytest.mark.parametrize("gone", ["deleted", "channel_not_found", "thread_not_found"])
def test_where_the_first_message_is_gone_a_new_one_starts_a_thread(world: World, gone: str) -> None:
    world.post(FIRING)
    if gone == "deleted":
        world.slack.delete(world.slack.firsts[0])
    else:
        method = "chat.update" if gone == "channel_not_found" else "chat.postMessage"
        world.slack.script = {method: [refusal(gone)]}
    world.post(REMINDER, after=4 * HOUR)
    world.post(FIXED, after=HOUR)
    assert world.shown[-1] == ("FIXED", ["FIXED"])
    assert len(world.degraded) == 1


def test_where_the_first_message_cannot_be_changed_the_reply_comes(world: World) -> None:
    world.post(FIRING)
    world.slack.script = {"chat.update": [refusal("edit_window_closed")]}
    world.post(FIXED, after=HOUR)
    assert world.shown == [("HIGH", ["FIXED"])]
    (reason,) = world.degraded
    assert reason.startswith("the first message stays as it is: Slack does not let the message be")


@pytest.mark.parametrize("broken", ["unreadable", "unwritable"])
def test_without_the_table_the_message_comes(world: World, broken: str) -> None:
    setattr(world.store, broken, True)
    assert world.post(FIRING)
    setattr(world.store, broken, False)
    assert world.post(FIXED, after=HOUR)
    assert world.shown == [("HIGH", []), ("FIXED", [])]
    assert world.degraded


def test_where_slack_does_not_say_where_a_message_stands_the_next_starts_a_thread(
    world: World,
) -> None:
    world.slack.script = {
        "chat.postMessage": [replace(refusal("x"), body='{"ok": true, "ts": "soon"}')]
    }
    assert world.post(FIRING)
    assert world.post(FIXED, after=HOUR)
    assert world.shown == [("FIXED", [])]


def test_an_ending_that_is_unknown_is_no_call_for_attention(world: World) -> None:
    unknown: Alert = FIRING.with_status(Status.REMINDER, "Nobody knows.", Ending.UNKNOWN)
    world.post(FIRING)
    world.post(unknown, after=HOUR)
    assert world.shown == [("UNKNOWN", ["UNKNOWN"])]
