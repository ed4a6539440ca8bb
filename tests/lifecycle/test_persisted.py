"""Every version reads the alert states, rate limits and contributions that earlier versions stored.

``tests/persisted/<version>/`` holds the bytes. ``UPDATE_GOLDEN=1`` writes those of ``CURRENT``.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from flowverdict.alerts.codec import notification_from_json
from flowverdict.alerts.ending import Ending
from flowverdict.alerts.matching import Key, parse_value
from flowverdict.alerts.model import Alert, Notice, Severity, Status
from flowverdict.alerts.probe import Probe
from flowverdict.core.errors import NotificationError, StateError
from flowverdict.lifecycle.dynamodb import DynamoDbStore
from flowverdict.lifecycle.dynamodb_items import (
    feed_of,
    pack_contribution,
    pack_offers,
    pack_rate_limit,
    pack_silences,
    pack_state,
    silences_of,
    stored_offers_of,
    unpack_contribution,
    unpack_rate_limit,
    unpack_state,
)
from flowverdict.lifecycle.feeds import Feed, UnreadSpan
from flowverdict.lifecycle.history import Event, What
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.on_call import Silence, Silences
from flowverdict.lifecycle.rate_limit import RateLimit, hour_of
from flowverdict.lifecycle.state_machine import AlertState, Suppressed
from flowverdict.lifecycle.store import Commit
from flowverdict.verdict.remediation.offers import Offer, StoredOffers
from tests.helpers.alert_samples import ALERT, LOST, NOW, ONE_OF_EACH, SAMPLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowverdict.alerts.model import Notification
    from flowverdict.lifecycle.dynamodb_source_items import Item
    from flowverdict_cli.local_aws import LocalAws

FOLDER = Path(__file__).parents[1] / "persisted"
FIRST, CURRENT, LATEST = "0.1.0", "0.2.0", "0.3.0"
HOUR = hour_of(NOW)

type Stored = AlertState | RateLimit | Notification


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How one kind of stored value is read and written."""

    unpack: Callable[[bytes], Stored]
    pack: Callable[[Any], bytes]


FORMATS = {
    "state": Format(
        unpack=lambda body: unpack_state(ALERT.fingerprint, 3, body, "firing", NOW), pack=pack_state
    ),
    "rate-limit": Format(
        unpack=lambda body: unpack_rate_limit(HOUR, 3, body), pack=pack_rate_limit
    ),
    "contribution": Format(
        unpack=lambda body: unpack_contribution(ALERT.fingerprint, body), pack=pack_contribution
    ),
}


def format_of(path: Path) -> Format:
    return next(known for kind, known in FORMATS.items() if path.name.startswith(kind))


def files(version: str = "*") -> list[Path]:
    return [path for kind in FORMATS for path in sorted(FOLDER.glob(f"{version}/{kind}-*.bin"))]


def read(name: str, version: str = FIRST) -> Any:  # noqa: ANN401 - one of three kinds, by its name
    path = FOLDER / version / f"{name}.bin"
    return format_of(path).unpack(path.read_bytes())


def state(name: str) -> AlertState:
    found = read(f"state-{name}")
    assert isinstance(found, AlertState)
    return found


@pytest.mark.parametrize("path", files(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_any_version_stored_reads_and_is_stored_again_without_loss(path: Path) -> None:
    known = format_of(path)
    value = known.unpack(path.read_bytes())
    assert known.unpack(known.pack(value)) == value


@pytest.mark.parametrize("path", files(FIRST), ids=lambda path: path.stem)
def test_the_current_version_stores_the_same_values(path: Path) -> None:
    current = FOLDER / CURRENT / path.name
    known = format_of(path)
    value = known.unpack(path.read_bytes())
    if "UPDATE_GOLDEN" in os.environ and not current.exists():
        current.write_bytes(known.pack(value))
    assert known.unpack(current.read_bytes()) == value


def test_states_mean_what_they_meant() -> None:
    new = state("new")
    assert (new.notification, new.notified_at, new.messages) == (ALERT, None, 0)
    firing = state("firing")
    assert (len(firing.windows), len(firing.samples), firing.messages) == (2, 2, 2)
    assert firing.samples[1].source_port is None
    assert state("pending").windows[0] == ""
    assert state("inhibited").suppressed is Suppressed.INHIBITED
    assert state("rate-limited").suppressed is Suppressed.RATE_LIMITED
    closed = state("closed")
    assert (closed.is_open, closed.closed_by_rules) == (False, True)
    assert closed.notification.status is Status.RESOLVED
    assert state("notice").messages == 1


def test_rate_limits_and_contributions_mean_what_they_meant() -> None:
    assert read("rate-limit-empty") == RateLimit(hour=HOUR, version=3)
    suppressed = read("rate-limit-held")
    assert (suppressed.used, suppressed.announced) == (20, 5)
    assert suppressed.suppressed == {Severity.CRITICAL: 1, Severity.HIGH: 12}
    assert read("contribution-alert") == ALERT
    assert read("contribution-scan").targets is not None
    assert read("contribution-digest").sections
    assert read("contribution-notice").kind is LOST.kind


def test_offers_of_fixes_mean_what_they_meant() -> None:
    path = FOLDER / "0.3.0" / "offers.bin"
    offers = (
        Offer(
            change="6 8443 None 10.60.1.20/32",
            problem="0123456789abcdef",
            title="TCP 8443 requests blocked by acl-0a1b rule *",
            rule_number=350,
            until=NOW,
        ),
        Offer(
            change="tcp 9000 9000 sg-0a1b",
            problem="fedcba9876543210",
            title="TCP 9000 requests blocked by sg-0a1c",
            rule_number=None,
            until=NOW,
        ),
    )
    if "UPDATE_GOLDEN" in os.environ and not path.exists():
        path.write_bytes(pack_offers(offers))
    item: Item = {"pk": {"S": "offers#x"}, "body": {"B": path.read_bytes()}, "version": {"N": "2"}}
    assert stored_offers_of(item) == StoredOffers(version=2, offers=offers)
    with pytest.raises(StateError, match="not readable"):
        stored_offers_of({**item, "body": {"B": b"x"}})


def test_shares_of_the_hour_and_what_is_from_outside_mean_what_they_meant() -> None:
    outside = replace(ALERT, from_outside=True)
    stored = {
        "rate-limit-shares": RateLimit(hour=HOUR, version=3).use(ALERT).use(outside),
        "contribution-from-outside": outside,
        "contribution-named": replace(ALERT, names=(("acl-0a1b", "prod-public"),)),
    }
    for name, value in stored.items():
        path = FOLDER / "0.3.0" / f"{name}.bin"
        if "UPDATE_GOLDEN" in os.environ and not path.exists():
            path.write_bytes(format_of(path).pack(value))
        assert read(name, "0.3.0") == value
    assert dict(read("rate-limit-shares", "0.3.0").used_by_place) == {"123456789012/vpc-0a1b": 2}


STATE = replace(
    AlertState(
        fingerprint=ALERT.fingerprint,
        version=3,
        notification=ALERT,
        windows=("place#1",),
        samples=(SAMPLE,),
        observed_at=NOW,
    ),
    pending=Status.FIRING,
    pending_at=NOW,
)
ENDED: dict[Ending, dict[str, Any]] = {
    Ending.FIXED: {"accepted_at": NOW - 60},
    Ending.QUIET: {},
    Ending.UNKNOWN: {},
    Ending.CLOSED: {},
    Ending.CORRECTED: {},
}
FEED = Feed(
    name="123456789012#eu-west-1#fl-0a1b",
    version=7,
    read_to=NOW - 420,
    read_at=NOW,
    gaps=12,
    longest_gap=310,
)


def ended(ending: Ending) -> AlertState:
    status = Status.REMINDER if ending is Ending.UNKNOWN else Status.RESOLVED
    probe = Probe(
        interface="eni-0a1b",
        direction="ingress",
        source="10.0.2.20",
        destination="10.0.3.30",
        packet_source="10.0.2.20",
        packet_destination="10.0.3.30",
        source_port=None,
        destination_port=5432,
    )
    return replace(
        STATE,
        notification=ALERT.with_status(status, "as it ended", ending),
        feeds=(FEED.name, "123456789012#eu-west-1#/vpc/flow-logs"),
        probes=(probe, replace(probe, source_port=41_000)),
        closed_at=NOW,
        **ENDED[ending],
    )


@pytest.mark.parametrize("ending", Ending)
def test_endings_feeds_and_probes_mean_what_they_meant(ending: Ending) -> None:
    path = FOLDER / LATEST / f"state-{ending}.bin"
    if "UPDATE_GOLDEN" in os.environ and not path.exists():
        path.write_bytes(pack_state(ended(ending)))
    assert FORMATS["state"].unpack(path.read_bytes()) == ended(ending)


ACKNOWLEDGED = Event(
    at=NOW, what=What.ACKNOWLEDGED, by="arn:aws:iam::123456789012:user/ana", reason="on it"
)
SILENCES = Silences(
    version=4,
    silences=(
        Silence(
            silence_id="0a1b2c3d",
            asked={key: (parse_value(key, text),) for key, text in ONE_OF_EACH.items()},
            until=NOW + 3_600,
            reason="a test",
            by="arn:aws:iam::123456789012:user/ana",
            created_at=NOW,
        ),
    ),
)


def stored_once(name: str, body: bytes) -> bytes:
    path = FOLDER / LATEST / name
    if "UPDATE_GOLDEN" in os.environ and not path.exists():
        path.write_bytes(body)
    return path.read_bytes()


def test_what_people_said_of_an_alert_means_what_it_meant() -> None:
    fired = Event(at=NOW - 60, what=What.FIRING, reason="it was seen")
    state = replace(STATE, acknowledged=ACKNOWLEDGED, history=(fired, ACKNOWLEDGED))
    body = stored_once("state-acknowledged.bin", pack_state(state))
    assert FORMATS["state"].unpack(body) == state


def test_an_event_of_a_later_version_is_left_out_of_the_history() -> None:
    stored = json.loads(zlib.decompress(pack_state(replace(STATE, history=(ACKNOWLEDGED,)))))
    stored["history"].append({"at": NOW, "what": "forwarded", "by": "somebody"})
    stored["history"][0]["later"] = 1
    state = FORMATS["state"].unpack(zlib.compress(json.dumps(stored).encode()))
    assert isinstance(state, AlertState)
    assert state.history == (ACKNOWLEDGED,)


def test_silences_mean_what_they_meant_and_ask_for_every_key() -> None:
    item: Item = {
        "pk": {"S": "silences"},
        "version": {"N": "4"},
        "body": {"B": stored_once("silences.bin", pack_silences(SILENCES))},
    }
    assert silences_of(item) == SILENCES
    assert [*SILENCES.silences[0].asked] == [*Key]


def test_a_silence_with_a_key_of_a_later_version_holds_nothing_back() -> None:
    stored = json.loads(zlib.decompress(pack_silences(SILENCES)))
    stored["silences"].append({**stored["silences"][0], "match": {"zone": ["a"], "port": ["443"]}})
    body = zlib.compress(json.dumps(stored).encode())
    assert silences_of({"body": {"B": body}}).silences == SILENCES.silences


@pytest.mark.parametrize("path", [*files(FIRST), *files(CURRENT)], ids=lambda path: path.stem)
def test_states_of_before_endings_feeds_and_probes_have_none(path: Path) -> None:
    value = format_of(path).unpack(path.read_bytes())
    if isinstance(value, AlertState):
        assert value.notification.ending is None
        assert (value.feeds, value.probes, value.accepted_at) == ((), (), None)
        assert (value.acknowledged, value.history) == (None, ())


# What DynamoDB holds of a feed and of a source has attributes, and no bytes.
HELD_BACK = UnreadSpan(start=NOW - 600, end=NOW - 300)


def test_items_of_feeds_and_sources_mean_what_they_meant(aws: LocalAws) -> None:
    client = boto3.client("dynamodb")
    store = DynamoDbStore(client, aws.table)
    path = FOLDER / LATEST / "items.json"
    if "UPDATE_GOLDEN" in os.environ and not path.exists():
        store.commit(Commit(feed=replace(FEED, version=0)), NOW, Intervals())
        store.record_source("read", (5_984_496, 5_984_497), NOW)
        store.hold_back("failed", FEED.name, HELD_BACK, NOW)
        store.record_source("postponed", (5_984_496,), NOW)
        store.hold_back("postponed", FEED.name, HELD_BACK, NOW)
        items = client.scan(TableName=aws.table)["Items"]
        lines = [json.dumps(item, sort_keys=True) for item in items]
        path.write_text("".join(f"{line}\n" for line in sorted(lines)))
        for item in items:
            client.delete_item(TableName=aws.table, Key={"pk": item["pk"]})
    for line in path.read_text().splitlines():
        client.put_item(TableName=aws.table, Item=json.loads(line))

    assert store.load_feeds([FEED.name]) == {FEED.name: replace(FEED, version=1)}
    assert [*store.silent_feeds(NOW + 86_400, 10)] == [FEED.name]
    assert store.windows_of("read") == (5_984_496, 5_984_497)
    assert (store.windows_of("failed"), store.windows_of("postponed")) == (None, (5_984_496,))
    assert store.unread(FEED.name, 0, 10) == [HELD_BACK] * 2


def test_a_feed_of_which_only_the_times_are_stored_has_no_rhythm() -> None:
    item: Item = {"pk": {"S": f"feed#{FEED.name}"}, "read_to": {"N": "600"}, "read_at": {"N": "1"}}
    assert feed_of(item) == Feed(name=FEED.name, read_to=600, read_at=1)


# --- keys that another version has or lacks -------------------------------------------------------


def keys_of(body: bytes) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(zlib.decompress(body))
    return stored


def bytes_of(stored: object) -> bytes:
    return zlib.compress(json.dumps(stored).encode())


# A state that lacks one of these keys cannot be read; each other key has a default.
REQUIRED = {"document", "observed_at"}


@pytest.mark.parametrize("key", sorted(keys_of(pack_state(STATE))))
def test_a_key_that_a_state_lacks_gets_its_default(key: str) -> None:
    stored = keys_of(pack_state(STATE))
    del stored[key]
    unpack = FORMATS["state"].unpack
    if key in REQUIRED:
        with pytest.raises(StateError, match=key):
            unpack(bytes_of(stored))
        return
    lists: dict[str, Any] = {key: ()} if key in {"windows", "samples"} else {}
    assert unpack(bytes_of(stored)) == replace(STATE, **lists)


@pytest.mark.parametrize("path", files(FIRST), ids=lambda path: path.stem)
def test_a_key_that_only_a_later_version_knows_is_ignored(path: Path) -> None:
    known, stored = format_of(path), keys_of(path.read_bytes())
    assert known.unpack(bytes_of(stored | {"later": [1]})) == known.unpack(path.read_bytes())


def test_an_empty_rate_limit_is_an_unused_one() -> None:
    assert unpack_rate_limit(HOUR, 3, bytes_of({})) == RateLimit(hour=HOUR, version=3)


@pytest.mark.parametrize("notification", [ALERT, LOST], ids=["alert", "notice"])
def test_a_key_that_a_notification_lacks_gets_its_default(notification: Notification) -> None:
    stored = json.loads(notification.to_json())
    missing = set()
    for key in stored:
        rest = json.dumps({name: value for name, value in stored.items() if name != key})
        try:
            notification_from_json(rest)
        except NotificationError:
            missing.add(key)
    assert missing == REQUIRED_OF[type(notification)]


REQUIRED_OF = {
    Alert: {
        *("schema_version", "kind", "fingerprint", "severity", "severity_reason", "summary"),
        *("headline", "near", "connection", "leg", "verdict", "verdict_caption", "confidence"),
        "service",
    },
    Notice: {
        *("schema_version", "kind", "fingerprint", "severity", "severity_reason", "summary"),
        "title",
    },
}


def test_samples_of_which_one_is_not_readable_are_left_out() -> None:
    # The rules would have to let fewer packets pass, and the alert could be resolved too early.
    stored = keys_of(pack_state(replace(STATE, samples=(SAMPLE, SAMPLE))))
    del stored["samples"][1]["leg"]
    assert FORMATS["state"].unpack(bytes_of(stored)) == replace(STATE, samples=())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        zlib.compress(b"garbage"),
        bytes_of([]),
        bytes_of({"document": 5, "observed_at": NOW}),
        bytes_of({"document": ALERT.to_json(), "observed_at": "noon"}),
        bytes_of({"document": ALERT.to_json(), "observed_at": NOW, "messages": "two"}),
        bytes_of({"document": ALERT.to_json(), "observed_at": NOW, "held": "of a later version"}),
        bytes_of({"document": '{"schema_version": 99}', "observed_at": NOW}),
    ],
)
def test_bytes_that_no_version_wrote_are_an_error_of_the_state(body: bytes) -> None:
    with pytest.raises(StateError, match=r"^alert .*: the stored state is not readable: "):
        FORMATS["state"].unpack(body)
