"""Validate against the published JSON Schemas (``docs/schemas``)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import jsonschema

_FOLDER = Path(__file__).parents[2] / "docs" / "schemas"


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    """Return the validator of ``alert``, ``explanation`` or ``policy``.

    ``jsonschema.validate`` checks the schema itself each time, which takes 0.2 s.

    Raises
    ------
    jsonschema.SchemaError
        The published schema is not a JSON Schema.
    """
    schema = json.loads((_FOLDER / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
