"""Answers agree with the simulator where they can be known, and no certain answer is false.

Every sort of answer keeps the JSON contract of ``explain`` as well.

``make accuracy`` runs it over more seeds and prints a table of the kinds: how many rejected flows,
how many of them can be known, and how often an answer is right, unsure or wrong, over all flows.
"""

from __future__ import annotations

import io
import json
import os
import shlex
from collections import Counter
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from flowverdict.network.snapshot import parse_snapshot
from flowverdict.verdict.batch import Batch, FixedConfig
from flowverdict.verdict.contract import to_json
from tests.simulator import (
    KINDS,
    REAL_NETWORKS,
    Outcome,
    Simulation,
    Truth,
    falsely_certain,
    key_of_answer,
    mistakes,
    outcome,
    simulate,
)
from tests.simulator.truth import lets_through
from tests.simulator.world import AclEntry, GroupRule, World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SEEDS = range(int(os.environ.get("SIMULATOR_SEEDS", "1")))
FORMATS = (
    pytest.param("v2", marks=pytest.mark.slow),
    "v5",
    pytest.param("v8", marks=pytest.mark.slow),
)
SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "schemas" / "explanation.schema.json").read_text()
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def explained(simulation: Simulation, *, with_config: bool) -> list[dict[str, Any]]:
    batch = Batch()
    world = simulation.world
    for number, text in enumerate(simulation.files):
        name = (
            f"{world.account_id}_vpcflowlogs_{world.region}_fl-0a1b_20261122T1200Z_{number:08x}.log"
        )
        batch.add_file(io.BytesIO(text.encode()), name=name)
    configs = FixedConfig(parse_snapshot(simulation.config)) if with_config else None
    return [json.loads(to_json(one)) for one in batch.explanations(configs)]


@dataclass(frozen=True, slots=True)
class Run:
    """A kind of simulation, and whether its records are stamped as AWS stamps them."""

    kind: str
    stamped_as_aws: bool = False

    def __str__(self) -> str:
        return f"{self.kind}, stamped" if self.stamped_as_aws else self.kind


RUNS = (
    *(Run(kind) for kind in KINDS),
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
    remediations: int = 0
    failing_remediations: Counter[str] = field(default_factory=Counter)

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
        self.remediations += other.remediations
        self.failing_remediations += other.failing_remediations

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
            f"{self.remediations:,}",
            f"{self.failing_remediations.total():,}",
        ]


def keep_the_contract(answers: Sequence[dict[str, Any]]) -> None:
    """Validate one answer of each sort against the schema; all would take minutes."""
    sorts = {
        (answer["verdict"], answer["leg"], answer["remedy"] is None, answer["path"]): answer
        for answer in answers
    }
    for answer in sorts.values():
        VALIDATOR.validate(answer)


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
            if answer["remedy"] is not None:
                result.remediations += 1
                known = decidable or not truth.in_real_network
                if known and not remediation_works(simulation.world, truth, answer):
                    result.failing_remediations[
                        f"seed {seed} {truth.key} {truth.leg}: {answer['remedy']['commands']}"
                    ] += 1
    return result


# --- remedies, applied to the world as the printed commands say -----------------------------------


def remediation_works(world: World, truth: Truth, answer: dict[str, Any]) -> bool:
    for command in answer["remedy"]["commands"]:
        world = applied(world, command)
    # Where a reply was taken for a request, packet and reply are exchanged too.
    return all(lets_through(world, truth))


def applied(world: World, command: str) -> World:
    """Do to the world what the AWS CLI command would do to an account."""
    program, service, operation, *words = shlex.split(command)
    assert (program, service) == ("aws", "ec2")
    flags = {"--ingress", "--egress"} & set(words)
    values = [word for word in words if word not in flags]
    options = dict(zip(values[::2], values[1::2], strict=True))
    assert options["--region"] == world.region
    if operation == "create-network-acl-entry":
        return with_entry(world, options, egress="--egress" in flags)
    assert operation in {"authorize-security-group-ingress", "authorize-security-group-egress"}
    return with_rule(world, options, egress=operation.endswith("egress"))


def pairs(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(","))


def with_entry(world: World, options: dict[str, str], *, egress: bool) -> World:
    acl = world.acls[options["--network-acl-id"]]
    number = int(options["--rule-number"])
    assert number not in {entry.number for entry in acl.entries if entry.egress is egress}, (
        "EC2 refuses a number twice"
    )
    assert 1 <= number <= 32_766
    ports = pairs(options["--port-range"]) if "--port-range" in options else None
    entry = AclEntry(
        number=number,
        egress=egress,
        allow=options["--rule-action"] == "allow",
        protocol=int(options["--protocol"]),
        block=ip_network(options.get("--cidr-block") or options["--ipv6-cidr-block"]),
        ports=None if ports is None else (int(ports["From"]), int(ports["To"])),
    )
    return world.with_acl(replace(acl, entries=(*acl.entries, entry)))


NUMBERS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}


def with_rule(world: World, options: dict[str, str], *, egress: bool) -> World:
    group = world.groups[options["--group-id"]]
    text = options["--ip-permissions"].replace("[{", "").replace("}]", "")
    for inner in ("GroupId=", "CidrIpv6=", "CidrIp=", "PrefixListId="):
        text = text.replace(f"={inner}", "=")
    permission = pairs(text)
    first = permission.get("FromPort")
    peer = permission.get("IpRanges") or permission.get("Ipv6Ranges")
    rule = GroupRule(
        egress=egress,
        protocol=NUMBERS.get(permission["IpProtocol"]) or int(permission["IpProtocol"]),
        from_port=None if first in {None, "-1"} else int(str(first)),
        to_port=None if first in {None, "-1"} else int(permission["ToPort"]),
        block=None if peer is None else ip_network(peer),
        prefix_list_id=permission.get("PrefixListIds"),
        group_id=permission.get("UserIdGroupPairs"),
    )
    return world.with_group(replace(group, rules=(*group.rules, rule)))


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
    "fixes",
    "fixes that fail",
)
type Table = dict[tuple[Run, bool], Score]


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    """Collect the scores of all formats, and print them as one table at the end."""
    rows: Table = {}
    yield rows
    print()  # noqa: T201 - `make accuracy` shows it
    print(as_markdown(rows))  # noqa: T201


def as_markdown(rows: Table) -> str:
    """Return the table as Markdown, with columns that line up in a terminal too."""
    lines = [
        [str(run), "with" if with_config else "without", *total.cells()]
        for (run, with_config), total in rows.items()
    ]
    table = [list(HEAD), *lines]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEAD))]
    ruler = [
        "-" * width if column < 2 else "-" * (width - 1) + ":"
        for column, width in enumerate(widths)
    ]
    shown = [
        [
            cell.ljust(width) if column < 2 else cell.rjust(width)
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
    assert result.failing_remediations == Counter()
    if run.kind in REAL_NETWORKS or run.stamped_as_aws:
        assert result.wrong == Counter()
    else:
        least = least_share(run.kind, with_config=with_config)
        assert result.share_right >= least, result.wrong
        assert result.wrong_answers == 0
        assert result.decidable or run.kind == "reject-only"
