"""Parse load balancers, target groups and targets, in the shapes of ``elasticloadbalancing`` v2.

https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_Types.html. Each function
raises ``ConfigError`` with the path of a value of the wrong shape.

The answers of ``describe-target-health`` and ``describe-target-group-attributes`` do not name
their target group. Their keys of a snapshot, ``TargetHealthDescriptions`` and
``TargetGroupAttributes``, therefore hold one of these forms (``INNER`` is
``TargetHealthDescriptions`` or ``Attributes``):

- an object from ARN to list, ``{"arn:...": [...]}``, or to answer, ``{"arn:...": {INNER: [...]}}``;
- a list of answers with the ARN added, ``[{"TargetGroupArn": "arn:...", INNER: [...]}]``;
- of targets also a list with the ARN in each element,
  ``[{"TargetGroupArn": "arn:...", "Target": {...}}]``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from flowverdict.core.errors import ConfigError
from flowverdict.network.json_object import as_object, shown
from flowverdict.network.load_balancers import LoadBalancer, Target, TargetGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict.network.json_object import JsonObject
    from flowverdict.network.snapshot_lists import ListReader


TARGETS = "TargetHealthDescriptions"
ATTRIBUTES = "TargetGroupAttributes"
_ARN = "TargetGroupArn"
_PRESERVE_CLIENT_IP = "preserve_client_ip.enabled"
_FLAGS = {"true": True, "false": False}


def load_balancer(item: JsonObject) -> LoadBalancer:
    """Parse a load balancer."""
    return LoadBalancer(
        arn=item.identifier("LoadBalancerArn"),
        name=item.text("LoadBalancerName"),
        load_balancer_type=item.text("Type"),
        scheme=item.text("Scheme"),
        vpc_id=item.text("VpcId"),
        group_ids=item.identifiers("SecurityGroups"),
    )


# --- target groups ----------------------------------------------------------------------------


def target_group(item: JsonObject, attributes: Mapping[str, bool | None]) -> TargetGroup:
    """Parse a target group.

    Whether client addresses are preserved follows from the element's own ``Attributes``, by the
    ``attributes`` of ``client_ip_attributes``, or by AWS's default, in this order.
    """
    arn = item.identifier(_ARN)
    target_type, protocol = item.text("TargetType"), item.text("Protocol")
    preserves = _client_ip_attribute(item, "Attributes")
    if preserves is None:
        preserves = (
            attributes[arn] if arn in attributes else preserves_by_default(target_type, protocol)
        )
    return TargetGroup(
        arn=arn,
        name=item.text("TargetGroupName"),
        protocol=protocol,
        port=item.number("Port"),
        vpc_id=item.text("VpcId"),
        target_type=target_type,
        load_balancer_arns=item.identifiers("LoadBalancerArns"),
        preserve_client_ip=preserves,
    )


_TCP_OR_TLS = {"TCP", "TLS"}
_OF_NETWORK_LOAD_BALANCERS = _TCP_OR_TLS | {"UDP", "TCP_UDP", "QUIC", "TCP_QUIC"}
_OF_APPLICATION_LOAD_BALANCERS = {"HTTP", "HTTPS"}


def preserves_by_default(target_type: str | None, protocol: str | None) -> bool | None:
    """Return whether the targets see the clients' addresses where no attribute tells.

    ``None`` if the type or protocol is missing or new to this program, for addresses with TCP and
    TLS, where it is off but can be switched on, and for gateway load balancers, whose targets
    receive whole packets in GENEVE.

    Network load balancers: "disabled if the target group type is IP address and the target group
    protocol is TCP or TLS. Otherwise, the default is enabled",
    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetGroupAttribute.html
    and https://docs.aws.amazon.com/elasticloadbalancing/latest/network/edit-target-group-attributes.html.
    An application load balancer opens connections of its own, from its own address:
    https://docs.aws.amazon.com/global-accelerator/latest/dg/preserve-client-ip-address.headers.html.
    """
    if protocol in _OF_APPLICATION_LOAD_BALANCERS:
        return False
    if protocol not in _OF_NETWORK_LOAD_BALANCERS:
        return None
    match target_type:
        case "instance" | "alb":
            return True
        case "ip":
            # Off by default, but it can be switched on, which no answer shows here.
            return None if protocol in _TCP_OR_TLS else True
        case _:
            return None


def client_ip_attributes(lists: ListReader) -> Mapping[str, bool | None]:
    """Return by ARN what the attributes of target groups say of client addresses.

    ``None`` if they cannot be read or contradict each other. An ARN without this attribute is left
    out.
    """
    found: defaultdict[str, set[bool | None]] = defaultdict(set)
    for place, value in _by_target_group(lists.root, ATTRIBUTES, "Attributes"):
        with lists.skipping("target_groups", place):
            group = as_object(place, value)
            arn = group.identifier(_ARN)
            try:
                flag = _client_ip_attribute(group, "Attributes")
            except ConfigError:
                found[arn].add(None)
                raise
            if flag is not None:
                found[arn].add(flag)
    return {arn: flags.pop() if len(flags) == 1 else None for arn, flags in found.items()}


def _client_ip_attribute(item: JsonObject, key: str) -> bool | None:
    for attribute in item.objects(key):
        if attribute.text("Key") == _PRESERVE_CLIENT_IP:
            text = attribute.text("Value")
            if text not in _FLAGS:
                raise attribute.wrong("Value", "neither 'true' nor 'false'")
            return _FLAGS[text]
    return None


# --- targets ----------------------------------------------------------------------------------


def targets(lists: ListReader) -> tuple[Target, ...] | None:
    """Return the registered targets, each once; ``None`` if the snapshot has no list of them."""
    if lists.root.fields.get(TARGETS) is None:
        return None
    found: dict[Target, None] = {}
    for place, value in _by_target_group(lists.root, TARGETS, TARGETS):
        with lists.skipping("targets", place):
            group = as_object(place, value)
            arn = group.identifier(_ARN)
            if group.fields.get(TARGETS) is None:
                found[_target(group, arn)] = None
            for inner_place, inner in group.places(TARGETS):
                with lists.skipping("targets", inner_place):
                    found[_target(as_object(inner_place, inner), arn)] = None
    return tuple(found)


def _target(item: JsonObject, arn: str) -> Target:
    target = item.nested("Target")
    if target is None:
        raise item.missing("Target")
    return Target(
        target_group_arn=arn, target_id=target.identifier("Id"), port=target.number("Port")
    )


def _by_target_group(root: JsonObject, key: str, inner: str) -> Iterator[tuple[str, object]]:
    """Return what a key holds, each with its place, as ``{"TargetGroupArn": ..., INNER: [...]}``.

    Raises
    ------
    ConfigError
        The value of the key is neither an object nor a list.
    """
    value = root.fields.get(key)
    if not isinstance(value, Mapping):
        yield from root.places(key)
        return
    for arn, of_group in value.items():
        answer = of_group if isinstance(of_group, Mapping) else {inner: of_group}
        yield f"{key}[{shown(arn)}]", {**answer, _ARN: arn}
