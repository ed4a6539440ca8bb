"""What is missing from a log never makes anything certain that the whole log contradicts.

Simulated logs are explained whole, and again with some of their accepted records damaged: cut
short, with a word that its field cannot have, or of another width.
"""

from __future__ import annotations

import io
import random  # noqa: TC003 - Hypothesis resolves the annotations of what it calls
from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from flowverdict.core.errors import ObjectError
from flowverdict.network.snapshot import parse_snapshot
from flowverdict.verdict.batch import Batch, FixedConfig
from flowverdict.verdict.model import Confidence
from tests.helpers.hypothesis_weight import examples
from tests.simulator import Simulation, simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.flowlog.flow_key import FlowKey
    from flowverdict.verdict.explanation import Explanation

KINDS = ("skipdata", "load-balancer", "plain")


@cache
def simulation_of(kind: str, seed: int) -> Simulation:
    return simulate(seed, kind=kind, fmt="v11")


def explained(
    simulation: Simulation, files: Sequence[str], *, with_config: bool
) -> dict[FlowKey, Explanation]:
    batch = Batch()
    for number, text in enumerate(files):
        batch.add_file(io.BytesIO(text.encode()), name=f"{number}.log")
    config = FixedConfig(parse_snapshot(simulation.config)) if with_config else None
    return {one.flow.key: one for one in batch.explanations(config)}


def damaged(line: str, way: int) -> str:
    words = line.split()
    match way:
        case 0:
            return line[: len(line) // 2]
        case 1:
            return f"{line} more"
        case 2:
            words[5] = "9O9"  # a port
        case _:
            words[11] = "-1"  # the end
    return " ".join(words)


@pytest.mark.slow
@examples(0.5)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2),
    with_config=st.booleans(),
    share=st.sampled_from([1, 3, 20]),
    source=st.randoms(use_true_random=False),
)
def test_damaged_records_make_nothing_certain(
    kind: str,
    seed: int,
    share: int,
    source: random.Random,
    *,
    with_config: bool,
) -> None:
    simulation = simulation_of(kind, seed)
    whole = explained(simulation, simulation.files, with_config=with_config)
    files = []
    for text in simulation.files:
        header, *lines = text.splitlines()
        files.append(
            "\n".join(
                [
                    header,
                    *(
                        damaged(line, source.randrange(4))
                        if " ACCEPT " in line and source.randrange(share) == 0
                        else line
                        for line in lines
                    ),
                ]
            )
        )
    try:
        part = explained(simulation, files, with_config=with_config)
    except ObjectError:  # a file of which no line is left
        return
    assert part.keys() == whole.keys()
    for key, one in part.items():
        before = whole[key].verdict
        sure = one.verdict.confidence is Confidence.CERTAIN
        event(f"certain: {before.confidence is Confidence.CERTAIN} -> {sure}")
        # Where both ends' subnet shows in lost records only, more is left open than before.
        assert not sure or (before.causes <= one.verdict.causes and before.leg is one.verdict.leg)
