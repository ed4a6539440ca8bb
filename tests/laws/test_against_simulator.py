"""Answers agree with the simulator where they can be known, and no certain answer is false.

Every sort of answer keeps the JSON contract of ``explain`` as well.

``make accuracy`` runs it over more seeds and prints two tables of the kinds: how many rejected
flows, how many of them can be known, and how often an answer is right, unsure or wrong; and what
the fixes do when all their commands are run one after another.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.published_schemas import validator
from tests.helpers.simulated import explained
from tests.simulator import (
    KINDS,
    REAL_NETWORKS,
    Outcome,
    falsely_certain,
    key_of_answer,
    mistakes,
    outcome,
    simulate,
)
from tests.simulator.fix_scoring import FIX_HEAD, FixScore, score_fixes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SEEDS = range(int(os.environ.get("SIMULATOR_SEEDS", "1")))
FORMATS = (
    pytest.param("v2", marks=pytest.mark.slow),
    "v5",
    pytest.param("v8", marks=pytest.mark.slow),
)


@dataclass(frozen=True, slots=True)
class Run:
    """A kind of simulation, and whether its records are stamped as AWS stamps them."""

    kind: str
    stamped_as_aws: bool = False

    def __str__(self) -> str:
        return f"{self.kind}, stamped" if self.stamped_as_aws else self.kind


# The kinds that `make test` simulates; `make test-all` simulates all.
EVERYDAY = ("plain", "fixes", "transit-gateway")
RUNS = (
    *(
        Run(kind) if kind in EVERYDAY else pytest.param(Run(kind), marks=pytest.mark.slow)
        for kind in KINDS
    ),
    *(
        pytest.param(Run(kind, stamped_as_aws=True), marks=pytest.mark.slow)
        for kind in KINDS
        if kind not in REAL_NETWORKS
    ),
)


@dataclass
class Score:
    flows: int = 0
    decidable: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    undetermined: int = 0
    wrong_answers: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    falsely_certain: Counter[str] = field(default_factory=Counter)
    certain: int = 0
    fixes: FixScore = field(default_factory=FixScore)

    @property
    def share_right(self) -> float:
        return 1 - self.wrong.total() / max(self.decidable, 1)

    def add(self, other: Score) -> None:
        self.flows += other.flows
        self.decidable += other.decidable
        self.outcomes += other.outcomes
        self.undetermined += other.undetermined
        self.wrong_answers += other.wrong_answers
        self.wrong += other.wrong
        self.falsely_certain += other.falsely_certain
        self.certain += other.certain
        self.fixes.add(other.fixes)

    def cells(self) -> list[str]:
        """Return the figures in the order of ``HEAD``."""
        every = max(self.flows, 1)
        return [
            f"{self.flows:,}",
            f"{self.decidable:,}",
            *(f"{self.outcomes[each] / every:.1%}" for each in Outcome),
            f"{self.undetermined / every:.1%}",
            f"{self.wrong_answers:,}",
            f"{self.certain:,}",
            f"{self.falsely_certain.total():,}",
        ]


def keep_the_contract(answers: Sequence[dict[str, Any]]) -> None:
    """Validate one answer of each sort against the schema; all would take minutes."""
    sorts = {
        (answer["verdict"], answer["leg"], answer["remedy"] is None, answer["path"]): answer
        for answer in answers
    }
    for answer in sorts.values():
        validator("explanation").validate(answer)


def score(run: Run, fmt: str, *, with_config: bool) -> Score:
    result = Score()
    for seed in SEEDS:
        simulation = simulate(seed, kind=run.kind, fmt=fmt, stamped_as_aws=run.stamped_as_aws)
        truths = {truth.key: truth for truth in simulation.truths}
        answers = explained(simulation, with_config=with_config)
        assert Counter(key_of_answer(answer) for answer in answers) == Counter(truths.keys()), (
            "every rejected flow once, no other"
        )
        if seed == SEEDS[0]:
            keep_the_contract(answers)
        for answer in answers:
            truth = truths[key_of_answer(answer)]
            result.flows += 1
            how_good = outcome(truth, answer, with_config=with_config)
            result.outcomes[how_good] += 1
            result.undetermined += answer["verdict"] == "undetermined"
            decidable = (
                truth.decidable_with_config if with_config else truth.decidable_without_config
            )
            result.decidable += decidable
            result.wrong_answers += decidable and how_good is Outcome.WRONG
            result.wrong.update(
                f"seed {seed} {truth.key}: {wrong}"
                for wrong in mistakes(truth, answer, with_config=with_config)
            )
            result.certain += answer["confidence"] == "certain"
            if falsely_certain(truth, answer):
                result.falsely_certain[
                    f"seed {seed} {truth.key}: {answer['verdict']}, but {truth.cause}"
                ] += 1
        result.fixes.add(score_fixes(simulation, answers, name=f"seed {seed}"))
    return result


# --- the table ---

HEAD = (
    "kind",
    "rules",
    "flows",
    "decidable",
    *Outcome,
    "undetermined",
    "decidable but wrong",
    "certain",
    "falsely certain",
)
type Table = dict[tuple[Run, bool], Score]


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    """Collect the scores of all formats, and print them as one table at the end."""
    rows: Table = {}
    yield rows
    print()  # noqa: T201 - `make accuracy` shows it
    print(verdicts_as_markdown(rows))  # noqa: T201
    print()  # noqa: T201
    print(fixes_as_markdown(rows))  # noqa: T201


def verdicts_as_markdown(rows: Table) -> str:
    lines = [
        [str(run), "with" if with_config else "without", *total.cells()]
        for (run, with_config), total in rows.items()
    ]
    return as_markdown([list(HEAD), *lines], words=2)


def fixes_as_markdown(rows: Table) -> str:
    every = FixScore()
    lines = []
    for (run, with_config), total in rows.items():
        if with_config:
            lines.append([str(run), *total.fixes.cells()])
            every.add(total.fixes)
    return as_markdown([["kind", *FIX_HEAD], *lines, ["all", *every.cells()]], words=1)


def as_markdown(table: Sequence[Sequence[str]], *, words: int) -> str:
    """Return a table as Markdown, with columns that line up in a terminal too.

    The first ``words`` columns are words, the others are figures.
    """
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    ruler = [
        "-" * width if column < words else "-" * (width - 1) + ":"
        for column, width in enumerate(widths)
    ]
    shown = [
        [
            cell.ljust(width) if column < words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in table
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (shown[0], ruler, *shown[1:]))


# --- the promises ---


def least_share(kind: str, *, with_config: bool) -> float:
    if kind != "plain":
        return 0.95
    return 0.999 if with_config else 0.995


BOTH_WAYS = pytest.mark.parametrize(
    "with_config", [False, True], ids=["without config", "with config"]
)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("run", RUNS, ids=str)
@BOTH_WAYS
def test_answers_are_right_and_certain_is_never_wrong(
    run: Run,
    fmt: str,
    with_config: bool,  # noqa: FBT001
    table: Table,
) -> None:
    result = score(run, fmt, with_config=with_config)
    table.setdefault((run, with_config), Score()).add(result)
    assert result.falsely_certain == Counter()
    fixes = result.fixes
    assert fixes.unsolved == Counter()
    assert fixes.beyond == Counter(), "a fix opens what it does not say"
    assert fixes.refused == Counter(), "EC2 would refuse a command"
    assert fixes.harmful == Counter(), "a reviewer would refuse a fix"
    assert with_config or fixes.offered == 0
    if run.kind in REAL_NETWORKS or run.stamped_as_aws:
        assert result.wrong == Counter()
    else:
        least = least_share(run.kind, with_config=with_config)
        assert result.share_right >= least, result.wrong
        assert result.wrong_answers == 0
        assert result.decidable or run.kind == "reject-only"
