"""The owner of an interface and the next hop, as records name them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from flowverdict.flows.observed import NOTHING_OBSERVED, ObservedValues
from flowverdict.verdict.owners import describe_next_hop, name_local_end, owners_of, tags_of
from tests.helpers.collected_records import only, reject

if TYPE_CHECKING:
    from flowverdict.flows.model import RejectedFlow

ARN = "arn:aws:ecs:eu-west-1:123456789012"


def flow(**values: str) -> RejectedFlow:
    """Return a flow of one record with these fields, named with underscores."""
    return only(reject(**values))


def flow_of_several(**values: set[str | None]) -> RejectedFlow:
    """Return a flow whose records have these values."""
    named = {name.replace("_", "-"): found for name, found in values.items()}
    return replace(flow(), observed=ObservedValues.of(named))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"ecs_task_id": "4f0c"}, "ECS task 4f0c, eni-1"),
        (
            {"ecs_task_id": "4f0c", "ecs_service_name": "web", "ecs_cluster_name": "prod"},
            "ECS task 4f0c of service web (cluster prod), eni-1",
        ),
        (
            {
                "ecs_task_arn": f"{ARN}:task/prod/4f0c",
                "ecs_cluster_arn": f"{ARN}:cluster/prod",
                "ecs_task_definition_arn": f"{ARN}:task-definition/web:12",
            },
            "ECS task 4f0c of task definition web:12 (cluster prod), eni-1",
        ),
        (  # the service says more than the task definition
            {"ecs_service_name": "web", "ecs_task_definition_arn": f"{ARN}:task-definition/w:1"},
            "ECS task of service web, eni-1",
        ),
        (
            {"ecs_task_id": "4f0c", "ecs_container_instance_id": "0b1c"},
            "ECS task 4f0c (container instance 0b1c), eni-1",
        ),
        (
            {"ecs_task_id": "4f0c", "ecs_container_instance_arn": f"{ARN}:container-instance/p/0b"},
            "ECS task 4f0c (container instance 0b), eni-1",
        ),
        (  # containers stand for a task without an id
            {"ecs_container_id": "9a8b7c6d5e4f3021", "ecs_second_container_id": "112233"},
            "ECS task (container 9a8b7c6d5e4f and 112233), eni-1",
        ),
        ({"ecs_task_id": "4f0c", "ecs_container_id": "9a8b"}, "ECS task 4f0c, eni-1"),
        ({"ecs_task_arn": f"{ARN}:task/"}, None),
        ({"instance_tag": "team%2Fshop"}, "eni-1 (team/shop)"),
        ({"instance_tag": "shop", "asg_tag": "shop"}, "eni-1 (shop)"),
        ({}, None),
    ],
)
def test_records_alone_name_the_owner(values: dict[str, str], expected: str | None) -> None:
    assert name_local_end(flow(**values), None) == expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("ECS task, eni-1", "ECS task 4f0c, eni-1"),
        ("instance i-1 (web), eni-1", "ECS task 4f0c on instance i-1 (web), eni-1"),
        ("eni-1 (web)", "ECS task 4f0c, eni-1 (web)"),
    ],
)
def test_the_task_stands_before_what_the_rules_show(shown: str, expected: str) -> None:
    assert name_local_end(flow(ecs_task_id="4f0c"), shown) == expected


def test_without_a_task_the_rules_have_the_word() -> None:
    shown = "instance i-1 (web), eni-1"
    assert name_local_end(flow(instance_tag="shop"), shown) == shown


def test_a_task_without_an_interface_is_named_alone() -> None:
    assert name_local_end(flow(interface_id="-", ecs_task_id="4f0c"), None) == "ECS task 4f0c, -"
    nameless = only(reject(interface_id=None, ecs_task_id="4f0c"))
    assert name_local_end(nameless, None) == "ECS task 4f0c"


def test_tags_are_decoded_and_cleaned_and_cut() -> None:
    assert tags_of(flow(instance_tag="a%20b%0Ac", interface_tag_2="x" * 100, asg_tag="%20")) == (
        ("instance tag", "a b c"),
        ("second interface tag", "x" * 64),
    )
    assert tags_of(flow(instance_tag="%FF")) == (("instance tag", "�"),)
    assert tags_of(flow()) == ()


def test_the_service_comes_before_the_tags() -> None:
    both = flow(ecs_service_name="web", instance_tag="shop")
    assert owners_of(both) == (("ECS service", "web"), ("instance tag", "shop"))
    assert owners_of(flow()) == ()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {
                "next_hop_interface_id": "eni-2",
                "next_hop_interface_type": "transit_gateway",
                "next_hop_subnet_id": "subnet-2",
                "next_hop_vpc_id": "vpc-2",
                "next_hop_az_id": "euw1-az1",
            },
            "interface eni-2, a transit gateway's, in subnet-2, vpc-2, euw1-az1",
        ),
        ({"next_hop_az_id": "euw1-az1"}, "an interface, in euw1-az1"),
        ({"next_hop_interface_type": "new_kind"}, "an interface, of type new_kind"),
        ({"next_hop_interface_id": "eni-2"}, "interface eni-2"),
    ],
)
def test_the_next_hop_is_a_note(values: dict[str, str], expected: str) -> None:
    assert describe_next_hop(flow(**values)) == f"the next hop is {expected}"


def test_nothing_is_said_of_what_is_not_logged_or_not_agreed_on() -> None:
    assert describe_next_hop(flow()) is None
    torn = flow_of_several(ecs_task_id={"4f0c", "5a1d"}, next_hop_interface_id={"eni-2", "eni-3"})
    assert (name_local_end(torn, None), describe_next_hop(torn)) == (None, None)
    unobserved = replace(flow(), observed=NOTHING_OBSERVED)
    assert (name_local_end(unobserved, None), describe_next_hop(unobserved)) == (None, None)


def test_a_record_without_the_field_does_not_contradict() -> None:
    assert name_local_end(flow_of_several(ecs_task_id={"4f0c", None}), None) == (
        "ECS task 4f0c, eni-1"
    )
