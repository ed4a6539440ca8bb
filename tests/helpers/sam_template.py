"""Reads SAM templates as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path


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
    """Return a template with CloudFormation's short intrinsic functions as ``{"Name": value}``."""
    template: dict[str, Any] = yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506 - a safe loader
    return template
