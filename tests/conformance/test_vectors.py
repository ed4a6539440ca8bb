"""Evaluate the conformance vectors of this folder, whose format ``README.md`` explains."""

from __future__ import annotations

import copy
import json
import random  # noqa: TC003 - Hypothesis resolves the annotations of what it calls
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowverdict.core.availability import NotAvailable
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.acl import AclAnswer, evaluate_subnet_acl
from flowverdict.network.packet import Outcome, Packet
from flowverdict.network.security_groups import GroupsAnswer, evaluate_groups
from flowverdict.network.snapshot import parse_snapshot
from flowverdict.verdict.rules_check import check_rules
from tests.helpers.collected_records import only, reject
from tests.helpers.hypothesis_weight import examples

if TYPE_CHECKING:
    from flowverdict.network.model import SecurityGroupRule

type Json = dict[str, Any]

FOLDER = Path(__file__).parent
SCHEMA: Json = json.loads((FOLDER / "vector.schema.json").read_text())
FILES: dict[str, Json] = {
    path.stem: json.loads(path.read_text())
    for path in sorted(FOLDER.glob("*.json"))
    if path.name != "vector.schema.json"
}
VECTORS: dict[str, Json] = {
    vector["id"]: vector for file in FILES.values() for vector in file["vectors"]
}


# --- the answers of flowverdict, in the words of the vectors ----------------------------------


def _acl_layer(answer: AclAnswer | None) -> Json:
    if answer is None:
        return {"outcome": "not-evaluated", "rules": []}
    if answer.outcome is Outcome.UNKNOWN or answer.entry is None:
        return {"outcome": answer.outcome.value, "rules": []}
    entry = {
        "network_acl_id": answer.network_acl_id,
        "rule_number": answer.entry.rule_number,
        "egress": answer.entry.egress,
    }
    return {"outcome": answer.outcome.value, "rules": [entry]}


def _groups_layer(answer: GroupsAnswer) -> Json:
    if answer.outcome is Outcome.ALLOW and answer.rule is None:
        return {"outcome": "not-evaluated", "rules": []}  # allowed for want of a group
    rules = [] if answer.rule is None else [_rule(answer.rule)]
    return {"outcome": answer.outcome.value, "rules": rules}


def _rule(rule: SecurityGroupRule) -> Json:
    return {
        "group_id": rule.group_id,
        "egress": rule.egress,
        "protocol": rule.protocol,
        "from_port": rule.from_port,
        "to_port": rule.to_port,
        "peer": str(rule.peer),
    }


def _is_blocked_publicly(vector: Json) -> bool:
    """Return whether Block Public Access blocks the packet, by way of a record of it."""
    packet = vector["packet"]
    record = reject(
        packet["source"],
        packet["destination"],
        interface_id=vector["interface"],
        srcport=packet.get("source_port", 0),
        dstport=packet.get("destination_port", 0),
        protocol=packet["protocol"],
        flow_direction=FlowDirection(vector["direction"]),
    )
    check = check_rules(only(record), parse_snapshot(vector["config"]))
    assert not isinstance(check, NotAvailable)
    return check.block_public_access is not None


def answers(vector: Json) -> Json:
    """Return what each layer does with the packet of a vector."""
    config = parse_snapshot(vector["config"])
    interface = config.interface(vector["interface"])
    assert interface is not None
    values = vector["packet"]
    packet = Packet(
        source=ip_address(values["source"]),
        destination=ip_address(values["destination"]),
        protocol=values["protocol"],
        source_port=values.get("source_port"),
        destination_port=values.get("destination_port"),
        icmp_type=values.get("icmp_type"),
        icmp_code=values.get("icmp_code"),
    )
    direction = FlowDirection(vector["direction"])
    found = {
        "network_acl": _acl_layer(evaluate_subnet_acl(config, interface, packet, direction)),
        "security_groups": _groups_layer(evaluate_groups(config, interface, packet, direction)),
    }
    if "block_public_access" in vector["expected"]:
        found["block_public_access"] = {"blocks": _is_blocked_publicly(vector)}
    return found


def _agrees(layer: str, found: Json, expected: Json) -> bool:
    if layer == "block_public_access":
        # The program says only whether a mode blocks, not whether a mode concerns the packet.
        return found["blocks"] is (expected["outcome"] == "deny")
    if found["outcome"] != expected["outcome"]:
        return False
    if not expected["rules"]:
        return layer == "network_acl" or not found["rules"]
    return bool(found["rules"]) and all(rule in expected["rules"] for rule in found["rules"])


# --- the tests --------------------------------------------------------------------------------


def test_the_rules_are_evaluated_as_aws_documents_them() -> None:
    wrong = {
        f"{vector_id}, {layer}": {
            "found": found[layer],
            "expected": expected,
            "shows": vector["shows"],
        }
        for vector_id, vector in VECTORS.items()
        for found in [answers(vector)]
        for layer, expected in vector["expected"].items()
        if not _agrees(layer, found[layer], expected)
    }
    assert wrong == {}


def shuffled(value: Any, source: random.Random) -> Any:  # noqa: ANN401 - any JSON
    """Return JSON with the elements of every list in another order."""
    if isinstance(value, list):
        elements = [shuffled(element, source) for element in value]
        source.shuffle(elements)
        return elements
    if isinstance(value, dict):
        return {key: shuffled(element, source) for key, element in value.items()}
    return value


@examples(5)
@given(vector_id=st.sampled_from(sorted(VECTORS)), source=st.randoms(use_true_random=False))
def test_the_order_of_lists_never_matters(vector_id: str, source: random.Random) -> None:
    vector = VECTORS[vector_id]
    other = copy.copy(vector) | {"config": shuffled(vector["config"], source)}
    assert answers(other) == answers(vector)


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_the_documented_format(name: str) -> None:
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(
        FILES[name]
    )
    assert all(vector["id"].startswith(f"{name}/") for vector in FILES[name]["vectors"])


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_id_is_there_once() -> None:
    assert len(VECTORS) == sum(len(file["vectors"]) for file in FILES.values())
    assert len(VECTORS) >= 150


def test_a_denial_of_security_groups_names_no_rule_and_an_allowance_does() -> None:
    for vector in VECTORS.values():
        groups, acl = (vector["expected"][layer] for layer in ("security_groups", "network_acl"))
        assert bool(groups["rules"]) is (groups["outcome"] == "allow"), vector["id"]
        assert not acl["rules"] or acl["outcome"] in {"allow", "deny"}, vector["id"]
