"""The published JSON Schema and the example agree with the code that reads a policy document."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from flowverdict.policy.document import parse_policy, policy_schema
from flowverdict.policy.entries import Match
from flowverdict.policy.model import Policy
from tests.helpers.policy_documents import REFUSED, document, matching, silence
from tests.helpers.published_schemas import validator

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "schemas" / "policy.schema.json"
EXAMPLE = ROOT / "docs" / "policy.example.json"


def test_the_published_schema_is_what_the_code_says() -> None:
    """``UPDATE_GOLDEN=1 make test`` rewrites the file; read the difference before the commit."""
    generated = json.dumps(policy_schema(), indent=2) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        SCHEMA.write_text(generated)
    assert SCHEMA.read_text() == generated


def test_the_schema_is_one_and_describes_every_property() -> None:
    schema: dict[str, Any] = policy_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert {"$schema", "$id", "title", "description"} <= schema.keys()
    parts = [schema, *(part for part in schema["$defs"].values() if part["type"] == "object")]
    assert len(parts) == 5
    for part in parts:
        assert part["additionalProperties"] is False
        assert part["description"]
        assert [
            name for name, about in part["properties"].items() if not about.get("description")
        ] == []


GOOD = [
    document(),
    document(minimum_severity="critical", silences=[silence()], expected=[]),
    matching(
        cidr=["0.0.0.0/0", "::/0", "::ffff:10.0.0.1", "10.0.0.1"],
        port=0,
        verdict=["rules-allow"],
        vpc_id="vpc-1",
    ),
    EXAMPLE.read_text(),
]


@pytest.mark.parametrize("text", GOOD, ids=["least", "silence", "matchers", "example"])
def test_what_the_code_reads_the_schema_accepts(text: str) -> None:
    parse_policy(text)
    validator("policy").validate(json.loads(text))


# What JSON Schema cannot express, or the JSON parser has already dropped.
BEYOND_SCHEMA = {
    "a key twice",
    "a day that is none",
    "beyond all time",
    "host bits",
    "host bits of IPv6",
    "long prefix",
    "half a character",
}
NO_JSON = {"empty", "cut", "no text", "deep", "long number", "too large", "too large in bytes"}


@pytest.mark.parametrize(
    ("name", "text"), [case[:2] for case in REFUSED if case[0] not in BEYOND_SCHEMA | NO_JSON]
)
def test_what_the_code_refuses_the_schema_refuses(name: str, text: str) -> None:
    if name == "ports":  # to JSON Schema 22.0 is an integer
        text = text.replace("22.0", "22.5")
    if name == "version true":
        text = text.replace("true", "null")
    with pytest.raises(jsonschema.ValidationError):
        validator("policy").validate(json.loads(text))


def test_the_example_shows_every_key() -> None:
    example = parse_policy(EXAMPLE.read_bytes())
    entries = example.entries().values()
    assert {name for entry in entries for name in entry.match.model_fields_set} == set(
        Match.model_fields
    )
    assert example.model_fields_set == set(Policy.model_fields)
