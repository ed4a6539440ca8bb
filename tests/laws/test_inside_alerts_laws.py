"""An outsider changes no alert of inside traffic: not its content, not whether it is sent.

An outsider is a host of the internet that no host inside talks to. It chooses its address, port,
flags and packets, and causes records of its requests and of the replies to them, at interfaces and
in transit gateways. To the records of a scenario any such records are added that can be.

The one bound: the first accepted record of an interface, whoever causes it, shows that accepted
traffic is logged there at all, which is true and counts for every flow of the interface. So where
the outsider's records are accepted, the alerts are compared with those of a log that has such a
record of somebody else.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from flowverdict.alerts.grouping import group
from flowverdict.alerts.model import Alert
from flowverdict.core.addresses import address_of, is_inside
from flowverdict.flowlog.fields import PACKETS_LOST_FIELDS
from flowverdict.flowlog.records import DEFAULT_FORMATS, FlowDirection
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.manager import AlertManager
from flowverdict.lifecycle.rate_limit import may_be_from_outside
from flowverdict.network import packet as network
from flowverdict.network.acl import evaluate_subnet_acl
from flowverdict.network.snapshot import load_snapshot
from flowverdict.verdict.batch import Batch, FixedConfig
from tests.helpers.alert_samples import NOW, Outbox, a_window, record
from tests.helpers.hypothesis_weight import examples
from tests.helpers.memory_stores import MemoryStore
from tests.helpers.shop import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flowverdict.alerts.detection import Detection
    from flowverdict.network.configuration import NetConfig

MESSAGES_PER_HOUR = 30
LOST = tuple(PACKETS_LOST_FIELDS)
OUTSIDERS = {
    False: ("192.0.2.201", "203.0.113.202", "198.51.100.203", "198.51.100.204"),
    True: ("2001:db8:bad::1", "2001:db8:bad:1::2"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an outsider's packets arrive: a record to copy, and its end inside."""

    file: int
    fields: tuple[str, ...]
    values: tuple[str, ...]
    own_is_source: bool

    @property
    def interface(self) -> str | None:
        return dict(zip(self.fields, self.values, strict=True)).get("interface-id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    name: str
    files: tuple[str, ...] = field(repr=False)
    config: NetConfig | None = field(repr=False)
    places: tuple[Place, ...] = field(repr=False)
    accepting: frozenset[str | None]

    @property
    def bystanders(self) -> list[tuple[int, str]]:
        """An accepted record of a stranger at each interface that has no accepted record."""
        seen = {
            place.interface: (place.file, written(place, BYSTANDER))
            for place in self.places
            if place.interface not in self.accepting and "action" in place.fields
        }
        return [*seen.values()]


@cache
def scenario(name: str) -> Scenario:
    """Read a scenario, and where an outsider reaches it."""
    case = json.loads((SCENARIOS / f"{name}.json").read_text())
    files = tuple((SCENARIOS / each).read_text() for each in case["files"])
    config = load_snapshot(SCENARIOS / case["config"]) if "config" in case else None
    places = tuple(place for number, text in enumerate(files) for place in places_in(number, text))
    return Scenario(
        name=name,
        files=files,
        config=config,
        # No packet of an internet host reaches an interface endpoint: "Client IP preservation is
        # not supported when a target group contains AWS PrivateLink network interfaces"
        # (https://docs.aws.amazon.com/elasticloadbalancing/latest/network/edit-target-group-attributes.html).
        places=tuple(
            place
            for place in places
            if config is None or config.endpoint_of_interface(place.interface or "") is None
        ),
        accepting=frozenset(
            place.interface
            for place in places
            for line in "".join(files).splitlines()
            if " ACCEPT" in line and f"{place.interface}" in line
        ),
    )


def places_in(file: int, text: str) -> list[Place]:
    lines = [line.split() for line in text.splitlines()]
    fields: Sequence[str] = DEFAULT_FORMATS[0].names
    if lines and "srcaddr" in lines[0]:
        fields, lines = lines[0], lines[1:]
    if not {"action", *LOST} & {*fields}:
        return []
    places = []
    for line in lines:
        values = dict(zip(fields, line, strict=False))
        ends = [values.get("srcaddr", "-"), values.get("dstaddr", "-")]
        if len(line) != len(fields) or "-" in ends:
            continue
        # An attachment has both directions, and neither end.
        match values.get("flow-direction") if "action" in fields else None:
            case "ingress":
                own_is_source = False
            case "egress":
                own_is_source = True
            case _:
                inside = [is_inside(address_of(end)) for end in ends]
                if inside[0] == inside[1] and "action" in fields:
                    continue
                own_is_source = inside[0]
        places.append(
            Place(file=file, fields=tuple(fields), values=tuple(line), own_is_source=own_is_source)
        )
    return places


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """What an outsider's packet, or a reply to it, shows in the log."""

    is_reply: bool
    ports: tuple[int, int]  # of the outsider, of the host inside
    protocol: int
    flags: int
    packets: int
    action: str
    outsider: int


def written(place: Place, packet: Packet) -> str:
    """Write a record of a packet at a place."""
    before = dict(zip(place.fields, place.values, strict=True))
    own, far = ("src", "dst") if place.own_is_source else ("dst", "src")
    addresses = OUTSIDERS[":" in before[f"{own}addr"]]
    outsider = addresses[packet.outsider % len(addresses)]
    source, destination = ("own", "far") if packet.is_reply else ("far", "own")
    after = dict(before)
    for here, end in (("src", source), ("dst", destination)):
        after[f"{here}addr"] = outsider if end == "far" else before[f"{own}addr"]
        after[f"pkt-{here}addr"] = outsider if end == "far" else before.get(f"pkt-{own}addr", "-")
        after[f"{here}port"] = str(packet.ports[end == "own"] if has_ports(packet) else 0)
        after[f"pkt-{here}-aws-service"] = "-"
    after |= {
        "protocol": str(packet.protocol),
        "packets": str(packet.packets),
        "bytes": str(packet.packets * 60),
        "action": packet.action,
        "log-status": "OK",
        "flow-direction": "egress" if packet.is_reply else "ingress",
        "tcp-flags": str(packet.flags if packet.protocol == 6 else 0),
        "traffic-path": "8" if packet.is_reply else "-",
        "reject-reason": "-",
    } | {name: str(packet.packets if packet.action == "REJECT" else 0) for name in LOST}
    del far
    return " ".join(
        after[name] if is_logged(name, before) else before[name] for name in place.fields
    )


def is_logged(name: str, before: Mapping[str, str]) -> bool:
    """Return whether a record like the one before has the field, or counts such lost packets."""
    if name.endswith("addr"):
        return True
    return before[name] not in ({"0"} if name in LOST else {"-"})


BYSTANDER = Packet(
    is_reply=False,
    ports=(50_000, 443),
    protocol=6,
    flags=2,
    packets=1,
    action="ACCEPT",
    outsider=0,
)


def has_ports(packet: Packet) -> bool:
    return packet.protocol in {6, 17}


def can_be(packet: Packet, place: Place, case: Scenario) -> bool:
    """Return whether the rules may drop a packet: no security group drops a reply."""
    interface = None if case.config is None else case.config.interface(place.interface or "")
    if not packet.is_reply or case.config is None or interface is None:
        return True
    record = dict(zip(place.fields, written(place, packet).split(), strict=True))
    reply = network.Packet(
        source=address_of(record["srcaddr"]),
        destination=address_of(record["dstaddr"]),
        protocol=packet.protocol,
        source_port=packet.ports[1] if has_ports(packet) else None,
        destination_port=packet.ports[0] if has_ports(packet) else None,
    )
    answer = evaluate_subnet_acl(case.config, interface, reply, FlowDirection.EGRESS)
    return answer is not None and answer.outcome is not network.Outcome.ALLOW


LOW, SERVICES, HIGH = (25, 53, 80, 123, 443, 500), (22, 443, 5432, 8443), (1_024, 40_000, 50_122)


@st.composite
def doings(draw: st.DrawFn, case: Scenario, *, accepts_logged: bool) -> list[tuple[int, str]]:
    """Draw what an outsider does at a place: the numbers of files, and records to add to them."""
    place = draw(st.sampled_from(case.places))
    at_place = dict(zip(place.fields, place.values, strict=True))
    logged = [int(at_place[name]) for name in ("srcport", "dstport") if at_place[name] != "-"]
    own_port = draw(st.sampled_from((*logged, *SERVICES, *HIGH, *LOW)))
    ports = (draw(st.sampled_from((*LOW, *HIGH, *logged))), own_port)
    packet = Packet(
        is_reply=False,
        ports=ports,
        protocol=draw(st.sampled_from((6, 6, 17, 1))),
        flags=draw(st.sampled_from((2, 2, 16, 18, 3, 4))),
        packets=draw(st.sampled_from((1, 3, 9_000_000))),
        action="REJECT",
        outsider=draw(st.integers(0, 3)),
    )
    if draw(st.booleans()):
        doors = range(own_port, own_port + draw(st.sampled_from((1, 12))))
        shown = [replace(packet, ports=(ports[0], door)) for door in doors]
    else:
        reply = replace(
            packet,
            is_reply=True,
            flags=18,
            action=draw(st.sampled_from(("REJECT", "REJECT", "ACCEPT"))),
        )
        shown = [replace(packet, action="ACCEPT"), reply]
    if place.interface not in case.accepting and not accepts_logged:
        shown = [each for each in shown if each.action == "REJECT" and can_be(each, place, case)]
    return [(place.file, written(place, each)) for each in shown]


def detections(case: Scenario, added: Sequence[tuple[int, str]] = ()) -> list[Detection]:
    """Group the flows of a scenario, with records added to its files."""
    batch = Batch()
    for number, text in enumerate(case.files):
        more = "".join(f"{line}\n" for file, line in added if file == number)
        content = f"{text.rstrip()}\n{more}".encode()
        batch.add_file(io.BytesIO(content), name=str(number), headerless=DEFAULT_FORMATS)
    return group(batch.explanations(None if case.config is None else FixedConfig(case.config)))


def inside(found: Sequence[Detection]) -> list[Detection]:
    return [each for each in found if not each.is_from_outside]


def sent(found: Sequence[Detection]) -> list[str]:
    """Return the messages of inside traffic, but for the names of what they explain."""
    outbox = Outbox()
    manager = AlertManager(
        MemoryStore(), outbox, intervals=Intervals(), hourly_limit=MESSAGES_PER_HOUR
    )
    record(manager, found, a_window(), NOW)
    return sorted(
        (replace(each, explains=()) if isinstance(each, Alert) else each).to_json()
        for each in outbox.sent
        if not may_be_from_outside(each)
    )


NAMES = [
    path.stem for path in sorted(SCENARIOS.glob("*.json")) if not path.name.endswith(".config.json")
]


@cache
def alone(name: str, *, accepts_logged: bool) -> tuple[list[Detection], list[str]]:
    case = scenario(name)
    found = detections(case, case.bystanders if accepts_logged else ())
    return inside(found), sent(found)


@given(st.data())
@examples(1)
def test_no_outsider_changes_an_alert_of_inside_traffic(data: st.DataObject) -> None:
    case = scenario(data.draw(st.sampled_from([n for n in NAMES if scenario(n).places])))
    accepts_logged = data.draw(st.booleans())
    each = doings(case, accepts_logged=accepts_logged)
    added = [line for doing in data.draw(st.lists(each, min_size=1, max_size=4)) for line in doing]
    before = case.bystanders if accepts_logged else []
    found = detections(case, [*before, *added])
    assert (inside(found), sent(found)) == alone(case.name, accepts_logged=accepts_logged)
