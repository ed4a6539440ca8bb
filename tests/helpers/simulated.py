"""Answers to the files of a simulation, as ``explain --output json`` prints them."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from flowverdict.network.snapshot import parse_snapshot
from flowverdict.verdict.batch import Batch, FixedConfig
from flowverdict.verdict.contract import to_json

if TYPE_CHECKING:
    from tests.simulator import Simulation


def explained(simulation: Simulation, *, with_config: bool) -> list[dict[str, Any]]:
    """Explain all rejected flows of a simulation, with or without the snapshot of its world."""
    batch = Batch()
    world = simulation.world
    for number, text in enumerate(simulation.files):
        name = (
            f"{world.account_id}_vpcflowlogs_{world.region}_fl-0a1b_20261122T1200Z_{number:08x}.log"
        )
        batch.add_file(io.BytesIO(text.encode()), name=name)
    configs = FixedConfig(parse_snapshot(simulation.config)) if with_config else None
    return [json.loads(to_json(one)) for one in batch.explanations(configs)]
