"""Reads SAM templates as data."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-sam" / "bin" / "python"


class _Loader(yaml.CSafeLoader):
    """Reads CloudFormation's short intrinsic functions as ``{"Fn::Name": value}``."""


def _intrinsic(loader: yaml.CSafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    raise TypeError(node)


_Loader.add_multi_constructor("!", _intrinsic)


def read_template(path: Path) -> dict[str, Any]:
    """Return a template with CloudFormation's short intrinsic functions as ``{"Name": value}``.

    Templates of the same text are one object, which nobody may change.
    """
    return _read(path.read_text())


@cache
def _read(text: str) -> dict[str, Any]:
    template: dict[str, Any] = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    return template


@cache
def translated_resources() -> dict[str, dict[str, Any]]:
    """Return the resources that AWS makes of the SAM template, with all conditions at once."""
    if not PYTHON.exists():
        pytest.fail("the SAM CLI's environment is not built: make template")
    command = [
        str(PYTHON),
        str(ROOT / "scripts" / "translate_template.py"),
        str(ROOT / "template.yaml"),
    ]
    ran = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)  # noqa: S603
    assert ran.returncode == 0, ran.stderr
    found: dict[str, dict[str, Any]] = json.loads(ran.stdout)["Resources"]
    return found
