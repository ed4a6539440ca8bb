"""The sample shop of ``tests/scenarios/shop.config.json``, and its flows explained by its rules."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flowverdict.flowlog.records import DEFAULT_FORMAT
from flowverdict.network.snapshot import load_snapshot
from flowverdict.verdict.batch import Batch, FixedConfig

if TYPE_CHECKING:
    from flowverdict.network.configuration import NetConfig
    from flowverdict.verdict.explanation import Explanation

SCENARIOS = Path(__file__).parents[1] / "scenarios"
SHOP = load_snapshot(SCENARIOS / "shop.config.json")
WEB, APP, NAT, DATABASE = (
    "eni-0aaaaaaaaaaaaaaa1",
    "eni-0aaaaaaaaaaaaaaa2",
    "eni-0ccccccccccccccc3",
    "eni-0bbbbbbbbbbbbbbb2",
)
NAMES = (
    *DEFAULT_FORMAT.names,
    "tcp-flags",
    "pkt-srcaddr",
    "pkt-dstaddr",
    "flow-direction",
    "reject-reason",
)


def line(interface: str, ends: str, ports: str, tail: str, *, more: str = "6 REJECT") -> str:
    """Write a record of the fields ``NAMES``; ``tail`` are those beyond the default format."""
    protocol, action = more.split()
    return (
        f"8 123456789012 {interface} {ends} {ports} {protocol} 3 180 "
        f"1795348800 1795348805 {action} OK {tail}"
    )


def batch_of(*lines: str) -> Batch:
    """Read the lines as one file."""
    batch = Batch()
    batch.add_file(io.BytesIO("\n".join([" ".join(NAMES), *lines]).encode()), name="x")
    return batch


def explain(*lines: str, config: NetConfig = SHOP) -> Explanation:
    """Explain the only rejected flow of the lines."""
    (explanation,) = batch_of(*lines).explanations(FixedConfig(config))
    return explanation


def with_interface(interface_id: str, **changes: object) -> NetConfig:
    """Return the shop with one interface changed."""
    interfaces = tuple(
        replace(interface, **changes)  # type: ignore[arg-type]
        if interface.interface_id == interface_id
        else interface
        for interface in SHOP.interfaces or ()
    )
    return replace(SHOP, interfaces=interfaces)
