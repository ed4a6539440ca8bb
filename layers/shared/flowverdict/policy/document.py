"""Parse a policy document and create its JSON Schema.

All problems of a document are reported at once, each with its place.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema

from flowverdict.core.errors import PolicyError
from flowverdict.policy.entries import Match, Route
from flowverdict.policy.model import Policy
from flowverdict.policy.values import MAX_SHOWN, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails


# Some 300 entries with their reasons. Parameter Store holds 8 KiB at most, AppConfig more.
MAX_DOCUMENT_BYTES = 65_536


def parse_policy(text: str | bytes) -> Policy:
    """Parse a document.

    Parameters
    ----------
    text
        JSON, at most 64 KiB of it; bytes may be UTF-8, UTF-16 or UTF-32.

    Raises
    ------
    PolicyError
        The document is not valid. The error lists every problem with its place. Values and keys are
        shown cut and escaped, and only where a value of the kind is expected.
    """
    size = len(text) if isinstance(text, bytes) else len(text.encode(errors="surrogatepass"))
    if size > MAX_DOCUMENT_BYTES:
        raise PolicyError([f"the document: larger than {MAX_DOCUMENT_BYTES:,} bytes"])
    problems: list[str] = []

    def no_key_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
        # json keeps the last of two, and half of the silences would be gone without a word.
        given = dict(pairs)
        if len(given) < len(pairs):
            twice = sorted({key for key in given if sum(key == name for name, _ in pairs) > 1})
            problems.extend(
                f"the document: {shown(key)} is given twice in one object" for key in twice
            )
        return given

    try:
        document = json.loads(text, object_pairs_hook=no_key_twice)
    except json.JSONDecodeError as error:
        raise PolicyError(
            [f"the document: not JSON: {error.msg} at line {error.lineno}, column {error.colno}"]
        ) from error
    except (ValueError, RecursionError) as error:
        raise PolicyError(["the document: not JSON that can be read"]) from error
    if isinstance(document, dict) and "version" not in document:
        problems.append("version: missing")  # a later version would otherwise be read as this one
    try:
        policy = Policy.model_validate(document)
    except ValidationError as error:
        problems.extend(_problem(detail) for detail in error.errors(include_url=False))
        raise PolicyError(problems) from error
    if problems:
        raise PolicyError(problems)
    return policy


def _problem(error: ErrorDetails) -> str:
    return f"{_place(error['loc'])}: {_what_is_wrong(error)}"


def _place(location: tuple[int | str, ...]) -> str:
    place = ""
    for step in location:
        if isinstance(step, int):
            place += f"[{step}]"
        else:
            # A key that the author chose is shown as JSON unless it is a plain word.
            plain = len(step) <= MAX_SHOWN and re.fullmatch(r"\w+", step, re.ASCII)
            place += ("." if place else "") + (step if plain else shown(step))
    return place or "the document"


def _what_is_wrong(error: ErrorDetails) -> str:
    value, context = error["input"], cast("Mapping[str, object]", error.get("ctx", {}))
    match error["type"]:
        case "missing":
            return "missing"
        case "extra_forbidden":
            return "no such key"
        case "model_type":
            return f"an object is wanted, not {_kind(value)}"
        case "tuple_type":
            return f"a list is wanted, not {_kind(value)}"
        case "too_long":
            return (
                f"{context['actual_length']:,} values, at most {context['max_length']:,} are read"
            )
        case "enum":
            return f"{shown(value)} is not one of {context['expected']}"
        case _:
            return error["msg"]


def _kind(value: object) -> str:
    """Name the JSON type found in place of an object or a list; never the value, maybe a secret."""
    kinds: Mapping[type, str] = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "a truth value",
        type(None): "null",
    }
    return kinds.get(type(value), "a number")


class _Schema(GenerateJsonSchema):
    """A generator without the titles that pydantic makes from names."""

    def field_title_should_be_set(self, schema: Any) -> Literal[False]:  # noqa: ANN401, ARG002 - as pydantic declares it
        return False


def policy_schema() -> dict[str, object]:
    """Return the document's JSON Schema (draft 2020-12).

    What it accepts may still be refused, where JSON Schema has no words for it: bits beyond a
    prefix, a day that does not exist.
    """
    schema = Policy.model_json_schema(schema_generator=_Schema)
    for name, part in _objects(schema):
        # The first paragraph of the docstring; the others are about Python.
        part["description"] = " ".join(part["description"].partition("\n\n")[0].split())
        if name == Match.__name__:
            part["minProperties"] = 1
            for matcher in part["properties"].values():
                # The default is an empty list, which nobody may write. The bounds are a list's, and
                # stand there already.
                for key in ("default", "minLength", "maxLength"):
                    matcher.pop(key)
        if name == Route.__name__:
            places = [key for key, place in part["properties"].items() if "default" in place]
            part["anyOf"] = [{"required": [key]} for key in places]
            for key in places:
                part["properties"][key].pop("default")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "policy.schema.json",
        **schema,
        "title": "What users tell flowverdict without deploying: "
        "silences, expected rejects, least severity",
        "required": ["version"],
    }


def _objects(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield Policy.__name__, schema
    for name, part in schema["$defs"].items():
        if part.get("type") == "object":
            yield name, part
