"""Draw the resources of the template, and the way of a flow log through them.

Boxes and arrows are the template's: an event source, a notification, a subscription, a rule's
target, and what a function's role lets it publish, send, write and remember. Alarms, roles, log
groups of functions and dead-letter queues are left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, Final

from scripts.pictures.svg import Box, Picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHOWN: Final = {
    "AWS::S3::Bucket": "S3 bucket",
    "AWS::SQS::Queue": "SQS queue",
    "AWS::SNS::Topic": "SNS topic",
    "AWS::DynamoDB::Table": "DynamoDB table",
    "AWS::Events::Rule": "EventBridge rule",
    "AWS::KinesisFirehose::DeliveryStream": "Firehose stream",
    "AWS::Serverless::Function": "Lambda function",
    "AWS::Logs::LogGroup": "log group",
}
FLOW_LOGS: Final = "VPC Flow Logs"  # stands for each EC2::FlowLog, and for those of others
EMAIL: Final = "email"
SCHEDULE: Final = "every SweepMinutes"
BUTTONS: Final = "buttons in Slack"
# Actions of a role that make an arrow from its function to the resource.
_SENDS: Final = {"sns:Publish", "sqs:SendMessage"}
_KEEPS: Final = {"s3:PutObject", "s3:GetObject", "dynamodb:PutItem", "dynamodb:Query"}
_PASSES: Final = "passes"  # a place of an arrow in a row that it only passes
_CAPTION: Final = 32  # characters
_ROW: Final = 92
_COLUMN: Final = 214


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What is drawn: captions by name, arrows of the way, and what a function keeps where."""

    captions: Mapping[str, str]
    arrows: frozenset[tuple[str, str]]
    kept: frozenset[tuple[str, str]]


def names_in(value: Any) -> Iterator[str]:  # noqa: ANN401 - a template's own data
    """Yield the logical ids that a part of the template refers to."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in {"Ref", "GetAtt"} and isinstance(inner, str):
                yield inner.partition(".")[0]
            elif name == "Sub":
                text = inner if isinstance(inner, str) else inner[0]
                yield from re.findall(r"\$\{(\w+)[.}]", text)
                yield from () if isinstance(inner, str) else names_in(inner[1])
            else:
                yield from names_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from names_in(inner)


def _statements(value: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - as above
    if isinstance(value, dict):
        if "Action" in value and "Resource" in value:
            yield value
        else:
            value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _statements(inner)


def read_stack(template: Mapping[str, Any]) -> Stack:
    """Return what the template has to draw."""
    resources: Mapping[str, dict[str, Any]] = template["Resources"]
    shown = _shown(resources)
    arrows = {
        arrow for name, resource in resources.items() for arrow in _arrows(name, resource, shown)
    }
    sent, kept = _allowed(resources, shown)
    # What a function gives back to the queue that starts it is no way on.
    arrows |= {(name, target) for name, target in sent if (target, name) not in arrows}
    # A bucket that sends its objects on is on the way, not a place where something is kept.
    on_the_way = {source for source, _ in arrows}
    kept = {(function, store) for function, store in kept if store not in on_the_way}
    captions = shown | {
        FLOW_LOGS: "of the stack, or your own",
        EMAIL: "subscribers",
        SCHEDULE: "EventBridge schedule",
        BUTTONS: "function URL",
    }
    for name in _functions(resources):
        captions[name] = resources[name]["Properties"].get("Description", shown[name])
    drawn = {name for pair in arrows | kept for name in pair}
    return Stack(
        captions={name: caption for name, caption in captions.items() if name in drawn},
        arrows=frozenset(arrows),
        kept=frozenset(kept),
    )


def _functions(resources: Mapping[str, Mapping[str, Any]]) -> list[str]:
    kind = "AWS::Serverless::Function"
    return [name for name, resource in resources.items() if resource["Type"] == kind]


def _shown(resources: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the resources on the way, with what they are."""
    beside = {"OperatorTopic"}  # of the alarms, which are left out
    for function in _functions(resources):
        beside |= set(names_in(resources[function]["Properties"].get("LoggingConfig")))
    return {
        name: SHOWN[resource["Type"]]
        for name, resource in resources.items()
        if resource["Type"] in SHOWN and "DeadLetter" not in name and name not in beside
    }


def _listed(actions: str | list[str]) -> list[str]:
    return [actions] if isinstance(actions, str) else actions


def _allowed(
    resources: Mapping[str, dict[str, Any]], shown: Mapping[str, str]
) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return to what each function may send, and where it may keep something, by its role."""
    sent: set[tuple[str, str]] = set()
    kept: set[tuple[str, str]] = set()
    for name in _functions(resources):
        for statement in _of_role(resources[name], resources):
            actions = set(_listed(statement["Action"]))
            pairs = {(name, target) for target in set(names_in(statement["Resource"])) & set(shown)}
            if actions & _SENDS:
                sent |= pairs
            elif actions & _KEEPS:
                kept |= pairs
    return sent, kept


def _of_role(function: Mapping[str, Any], resources: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    (role,) = names_in(function["Properties"]["Role"])
    properties = resources[role]["Properties"]
    yield from _statements(properties.get("Policies"))
    for policy in set(names_in(properties.get("ManagedPolicyArns"))) & resources.keys():
        yield from _statements(resources[policy]["Properties"])


def _arrows(
    name: str, resource: Mapping[str, Any], shown: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield the arrows that a resource's own properties make."""
    properties = resource["Properties"]
    sources, targets = {name}, set[str]()
    match resource["Type"]:
        case "AWS::EC2::FlowLog":
            sources, targets = {FLOW_LOGS}, set(names_in(properties))
        case "AWS::S3::Bucket":
            targets = set(names_in(properties.get("NotificationConfiguration")))
        case "AWS::Events::Rule":
            yield FLOW_LOGS, name
            targets = set(names_in(properties["Targets"]))
        case "AWS::Logs::SubscriptionFilter":
            sources = set(names_in(properties["LogGroupName"]))
            targets = set(names_in(properties["DestinationArn"]))
        case "AWS::KinesisFirehose::DeliveryStream":
            targets = {name for name in names_in(properties) if shown.get(name) == "S3 bucket"}
        case "AWS::SNS::Subscription" if properties["Protocol"] == "email":
            sources, targets = set(names_in(properties["TopicArn"])), {EMAIL}
        case "AWS::Serverless::Function":
            yield from _starts(name, properties, shown)
    known = {*shown, FLOW_LOGS, EMAIL}
    yield from product(sources & known, targets & known)


def _starts(
    function: str, properties: Mapping[str, Any], shown: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield an arrow from each thing that starts a function, and to the buttons that it posts."""
    if "FunctionUrlConfig" in properties:
        yield BUTTONS, function
    if "SLACK_BUTTONS" in properties.get("Environment", {}).get("Variables", {}):
        yield function, BUTTONS
    for event in properties.get("Events", {}).values():
        if event["Type"] == "Schedule":
            yield SCHEDULE, function
        sources = set(names_in(event["Properties"])) & shown.keys()
        yield from ((source, function) for source in sources)


def _ranks(stack: Stack) -> dict[str, int]:
    """Return the row of each box on the way: below everything that leads to it."""
    stores = {store for _, store in stack.kept}
    rank = dict.fromkeys(set(stack.captions) - stores, 0)
    for _ in rank:
        for source, target in stack.arrows:
            rank[target] = max(rank[target], rank[source] + 1)
    if max(rank.values()) >= len(rank):
        raise ValueError("the way through the stack has a circle")
    # What no arrow holds up stands beside the others of its kind, just above what it leads to.
    for name in sorted(rank, key=rank.__getitem__, reverse=True):
        below = [rank[target] for start, target in stack.arrows if start == name]
        if below and name != FLOW_LOGS:
            rank[name] = min(below) - 1
    return rank


def draw(template: Mapping[str, Any]) -> Picture:
    """Draw the template's resources from top to bottom, what is kept at the right."""
    stack = read_stack(template)
    rank = _ranks(stack)
    ways = {(source, target): _way(source, target, rank) for source, target in stack.arrows}
    rows: defaultdict[int, set[str]] = defaultdict(set)
    for name, row in rank.items():
        rows[row].add(name)
    for way in ways.values():
        for row, name in enumerate(way[1:-1], rank[way[0]] + 1):
            rows[row].add(name)
    widths = {row: sum(map(_room, names)) for row, names in rows.items()}
    middle = max(widths.values()) / 2
    place = _places(rows, ways, widths)
    stores = sorted({store for _, store in stack.kept})
    width = 2 * middle + (_COLUMN + 50 if stores else 0)
    boxes = {name: _box(name, place[name], 36 + rank[name] * _ROW, stack) for name in rank}
    users = [boxes[function].y for function, _ in stack.kept]
    for number, name in enumerate(stores):
        y = (min(users) + max(users)) / 2 + (number - (len(stores) - 1) / 2) * 1.4 * _ROW
        boxes[name] = _box(name, width - _COLUMN / 2, y, stack)
    picture = Picture(
        width=width,
        height=36 + max(rows) * _ROW + 36,
        about="Resources of the stack, from flow logs at the top to messages at the bottom",
    )
    for source, target in sorted(stack.kept):
        (x1, y1), (x2, y2) = boxes[source].side(right=True), boxes[target].side(right=False)
        picture.path(f"M{x1:g},{y1:g} C{x1 + 50:g},{y1:g} {x2 - 50:g},{y2:g} {x2:g},{y2:g}", "link")
    for (source, target), way in sorted(ways.items()):
        point = boxes[source].bottom
        for row, name in enumerate(way[1:-1], rank[source] + 1):
            passed = (place[name], 36.0 + row * _ROW)
            picture.down(point, passed, head=False)
            point = passed
        picture.down(point, boxes[target].top)
    for name in sorted(boxes):
        picture.box(boxes[name])
    return picture


def _places(
    rows: Mapping[int, set[str]],
    ways: Mapping[tuple[str, str], tuple[str, ...]],
    widths: Mapping[int, float],
) -> dict[str, float]:
    """Return the middle of each box, and of each arrow in a row that it passes, from the left."""
    middle = max(widths.values()) / 2
    place: dict[str, float] = {}
    for row in sorted(rows):
        x = middle - widths[row] / 2
        for name in sorted(rows[row], key=lambda name: (_above(name, ways, place, middle), name)):
            place[name] = x + _room(name) / 2
            x += _room(name)
    return place


def _way(source: str, target: str, rank: Mapping[str, int]) -> tuple[str, ...]:
    """Return the places that an arrow passes, one in each row between its ends."""
    between = range(rank[source] + 1, rank[target])
    return (source, *(f"{_PASSES} {source} {target} {row}" for row in between), target)


def _room(name: str) -> float:
    """Return the width that a box, or an arrow that passes its row, takes."""
    return 34 if name.startswith(_PASSES) else _COLUMN


def _above(
    name: str,
    ways: Mapping[tuple[str, str], tuple[str, ...]],
    place: Mapping[str, float],
    middle: float,
) -> float:
    """Return the mean place of what leads to a box from the row above."""
    places = [
        place[before]
        for way in ways.values()
        for before, after in pairwise(way)
        if after == name and before in place
    ]
    return sum(places) / len(places) if places else middle


def _box(name: str, x: float, y: float, stack: Stack) -> Box:
    caption = stack.captions[name]
    if name in {FLOW_LOGS, EMAIL, SCHEDULE}:
        kind = "outside"
    elif name.endswith("Function"):
        kind = "work"
    elif any(name == store for _, store in stack.kept):
        kind = "store"
    else:
        kind = "box"
    title = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).removesuffix(" Function")
    return Box(x=x, y=y, kind=kind, title=title, caption=_cut(caption))


def _cut(text: str) -> str:
    return text if len(text) <= _CAPTION else f"{text[: _CAPTION - 1].rstrip()}…"
