"""Name the owner of a rejected flow's interface, and the next hop, as its records tell them.

The fields are of versions 7 (ECS tasks in the network mode ``awsvpc``) and 11 (tags of the
instance, the interface and the Auto Scaling group; the next hop of what leaves):
https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html. They need no rules. Where
the records of a flow do not agree on a value, nothing is said of it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

from flowverdict.core.untrusted import one_line
from flowverdict.verdict.names import shown_name

if TYPE_CHECKING:
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.flows.observed import ObservedValues

_MAX_NAME = 255  # the longest name of an ECS service or cluster
_CONTAINER_ID = 12  # digits of a container's id, as Docker shows it
_ECS_TASK = "ECS task"

_TAGS = {
    "instance-tag": "instance tag",
    "instance-tag-2": "second instance tag",
    "interface-tag": "interface tag",
    "interface-tag-2": "second interface tag",
    "asg-tag": "Auto Scaling group tag",
    "asg-tag-2": "second Auto Scaling group tag",
}
_HOPS = {
    "nat_gateway": "a NAT gateway's",
    "regional_nat_gateway": "a regional NAT gateway's",
    "network_load_balancer": "a network load balancer's",
    "transit_gateway": "a transit gateway's",
    "vpc_endpoint": "a VPC endpoint's",
}


def name_local_end(flow: RejectedFlow, shown: str | None) -> str | None:
    """Name what the interface belongs to.

    Parameters
    ----------
    shown
        What the rules as read show: ``instance i-... (shop-web), eni-...``; ``None`` if they were
        not read.

    Returns
    -------
    str or None
        ``ECS task ... of service shop-web (cluster prod), eni-...``; ``shown`` where the records
        name no task. Without both, the interface with its tags; ``None`` if there are none.
    """
    task = _ecs_task(flow.observed)
    interface = shown if shown is not None else flow.interface_id
    if task is not None:
        if interface is None:
            return task
        rest = interface.removeprefix(f"{_ECS_TASK}, ")
        return f"{task}{' on ' if rest.startswith('instance ') else ', '}{rest}"
    tags = [value for _, value in tags_of(flow)]
    if shown is not None or flow.interface_id is None or not tags:
        return shown
    return f"{flow.interface_id} ({', '.join(dict.fromkeys(tags))})"


def owners_of(flow: RejectedFlow) -> tuple[tuple[str, str], ...]:
    """Return who to ask, as the records show it: the ECS service, then tags; what, and its name."""
    service = _named(flow.observed, "ecs-service-name")
    return (*(() if service is None else (("ECS service", service),)), *tags_of(flow))


def tags_of(flow: RejectedFlow) -> tuple[tuple[str, str], ...]:
    """Return the tags that the records show: whose tag, and its value. Records have no tag keys."""
    return _tags_of(flow.observed)


@lru_cache(maxsize=1_024)  # the flows of an interface share their values, as below
def _tags_of(observed: ObservedValues) -> tuple[tuple[str, str], ...]:
    found = ((words, _value(observed, name)) for name, words in _TAGS.items())
    # AWS writes special characters of tags percent-encoded.
    return tuple(
        (words, text)
        for words, value in found
        if value is not None and (text := shown_name(unquote(value, errors="replace")))
    )


def describe_next_hop(flow: RejectedFlow) -> str | None:
    """Return a note on the path: where the packet was to go next; ``None`` if it is not logged."""
    return _next_hop(flow.observed)


@lru_cache(maxsize=1_024)
def _next_hop(observed: ObservedValues) -> str | None:
    kind = _value(observed, "next-hop-interface-type")
    interface = _value(observed, "next-hop-interface-id")
    hop = None if kind is None else _HOPS.get(kind, f"of type {kind}")
    named = f"interface {interface}" if interface is not None else "an interface"
    places = [
        value
        for name in ("next-hop-subnet-id", "next-hop-vpc-id", "next-hop-az-id")
        if (value := _value(observed, name)) is not None
    ]
    if interface is None and hop is None and not places:
        return None
    what = named if hop is None else f"{named}, {hop}"
    return f"the next hop is {what}" + (f", in {', '.join(places)}" if places else "")


@lru_cache(maxsize=1_024)
def _ecs_task(observed: ObservedValues) -> str | None:
    task = _named(observed, "ecs-task-id", "ecs-task-arn")
    service = _named(observed, "ecs-service-name")
    definition = _named(observed, "ecs-task-definition-arn")
    cluster = _named(observed, "ecs-cluster-name", "ecs-cluster-arn")
    host = _named(observed, "ecs-container-instance-id", "ecs-container-instance-arn")
    containers = [
        container[:_CONTAINER_ID]
        for name in ("ecs-container-id", "ecs-second-container-id")
        if (container := _named(observed, name)) is not None
    ]
    if not any((task, service, definition, cluster, host, containers)):
        return None
    words = [_ECS_TASK] if task is None else [f"{_ECS_TASK} {task}"]
    if service is not None:
        words.append(f"of service {service}")
    elif definition is not None:
        words.append(f"of task definition {definition}")
    details = [
        f"cluster {cluster}" if cluster is not None else "",
        f"container instance {host}" if host is not None else "",
        # A task is found by its id; without the id, by its containers.
        f"container {' and '.join(containers)}" if containers and task is None else "",
    ]
    shown = ", ".join(filter(None, details))
    return " ".join([*words, f"({shown})"] if shown else words)


def _named(observed: ObservedValues, *names: str) -> str | None:
    """Return the first of the fields that is logged: a name or id, or the end of an ARN."""
    for name in names:
        value = _value(observed, name)
        if value is not None:
            return value.rpartition("/")[2][:_MAX_NAME] or None
    return None


def _value(observed: ObservedValues, name: str) -> str | None:
    """Return a field's value, as text that cannot fake a line, if the records agree on it."""
    values = observed.texts(name) - {None}
    if len(values) != 1:
        return None
    (value,) = values
    return None if value is None else one_line(value)
