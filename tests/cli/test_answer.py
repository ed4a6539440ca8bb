"""What ``explain`` prints for people: problems, then noise, then what the input lacks."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from flowverdict.alerts.model import Alert
from flowverdict_cli import explain
from flowverdict_cli.answer import MAX_TITLES, MAX_WHOLE, answer_of
from flowverdict_cli.outputs import csv_lines
from flowverdict_cli.selection import Selection
from tests.helpers.command import HEADER, PING, PONG, RDP, SSH, write

if TYPE_CHECKING:
    from tests.helpers.command import Runner

SCENARIOS = Path(__file__).parents[1] / "scenarios"
GOLDEN = Path(__file__).parents[1] / "golden" / "answer"
SHOP = SCENARIOS / "shop.config.json"
CASES: dict[str, tuple[str | Path, ...]] = {
    "shop": ("--rules", SHOP, *sorted(SCENARIOS.glob("rules-*.log"))),
    "without-rules": (SCENARIOS / "aws-5-tcp-flags.log", SCENARIOS / "reject-only-log.log"),
    "rejects-only": (SCENARIOS / "reject-only-log.log",),
    "fixes": (
        "--rules",
        SCENARIOS / "fixes.config.json",
        *(SCENARIOS / f"fix-{name}.log" for name in ("one-problem", "restricted-egress", "scan")),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_answer_is_the_golden_file(run: Runner, name: str) -> None:
    outcome = run("explain", *CASES[name])
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(outcome.out)
    assert outcome.code == 0
    assert outcome.out == golden.read_text()


def test_every_rejected_record_is_in_a_problem_or_in_the_noise() -> None:
    logs = [str(path) for path in SCENARIOS.glob("*.log")]
    assert len(logs) > 100
    for log in logs:
        read = explain.read_files([log])
        answer = answer_of(explain.explained(read, None, Selection()))
        of_problems = sum(each.records for each in answer.problems if isinstance(each, Alert))
        assert of_problems + answer.noise_records == read.batch.counts.rejected, log


def test_problems_come_before_noise_and_what_is_lacking_comes_last(
    run: Runner, tmp_path: Path
) -> None:
    knock = RDP.replace(b"172.31.9.69", b"203.0.113.9")
    out = run("explain", write(tmp_path / "flow.log", HEADER, PING, PONG, SSH, knock)).out
    places = [
        out.index(text)
        for text in ("CRITICAL  Replies blocked", "Noise, nobody has to act", "What would make")
    ]
    assert places == sorted(places)
    assert "- 1 record  Requests blocked by network ACL or security group, from the internet" in out
    assert "The format lacks tcp-flags, flow-direction and reject-reason" in out


def test_a_command_is_one_line_however_narrow_the_answer_is(run: Runner) -> None:
    out = run("explain", "--rules", SHOP, SCENARIOS / "rules-inbound-request.log").out
    (command,) = [line for line in out.splitlines() if "authorize-security-group-ingress" in line]
    assert command.startswith("    aws ec2 ")
    assert command.endswith("'")
    others = [line for line in out.splitlines() if not line.startswith("    aws ")]
    assert max(map(len, others)) <= 100


def test_beyond_the_most_problems_each_is_a_line_and_the_rest_is_counted(
    run: Runner, tmp_path: Path
) -> None:
    many = MAX_WHOLE + MAX_TITLES + 7
    lines = [RDP.replace(b"eni-1235b8ca123456789", b"eni-%017d" % number) for number in range(many)]
    out = run("explain", write(tmp_path / "flow.log", HEADER, *lines)).out
    assert len(re.findall("^HIGH ", out, re.MULTILINE)) == MAX_WHOLE + MAX_TITLES
    assert out.count("  How much  ") == MAX_WHOLE
    assert "and 7 more problems: --flows has every flow" in out


FLOWS = (
    PING,
    PONG,
    RDP,
    RDP.replace(b"eni-1235b8ca123456789", b"eni-2235b8ca123456789"),
    RDP.replace(b"3389", b"5432").replace(b"172.31.9.69", b"203.0.113.9"),
)


@pytest.mark.parametrize(
    ("options", "ports"),
    [
        ((), [0, 3389, 3389, 5432]),
        (("--severity", "critical"), [0]),
        (("--severity", "high"), [0, 3389, 3389]),
        (("--interface", "eni-2235b8ca123456789"), [3389]),
        (("--vpc", "vpc-0a1b2c3d"), []),
        (("--remote", "203.0.113.0/25"), [0, 5432]),
        (("--remote", "172.31.9.69"), [3389, 3389]),
        (("--remote", "2001:db8::/32"), []),
        (("--port", "5432"), [5432]),
        (("--verdict", "network-acl"), [0]),
        (("--since", "2015-01-01"), [0]),
        (("--until", "2015-01-01"), [3389, 3389, 5432]),
        (("--since", "2014-12-14T04:07", "--until", "2014-12-14T04:08"), [3389, 3389, 5432]),
        (("--since", "2015-05-29T16:32:22", "--until", "2015-05-29T16:33"), [0]),
        (("--since", "2015-05-29T16:32:23"), []),
        (("--severity", "high", "--port", "3389", "--interface", "eni-1235b8ca123456789"), [3389]),
    ],
)
def test_a_filter_keeps_what_it_says(
    run: Runner, tmp_path: Path, options: tuple[str, ...], ports: list[int]
) -> None:
    log = write(tmp_path / "flow.log", HEADER, *FLOWS)
    outcome = run("explain", "--output", "json", *options, log)
    assert sorted(json.loads(line)["dstport"] for line in outcome.out.splitlines()) == ports
    assert outcome.code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--severity", "loud"), "'loud' is not one of critical, high, medium, low, info"),
        (("--remote", "10.0.0.256"), "'10.0.0.256' is not an address or a range"),
        (("--verdict", "firewall"), "'firewall' is not one of "),
        (("--port", "65536"), "65536 is not in the range 0<=x<=65535"),
    ],
)
def test_a_value_that_no_filter_takes_is_refused(
    run: Runner, options: tuple[str, str], said: str
) -> None:
    outcome = run("explain", *options, SCENARIOS / "inbound-request.log")
    assert outcome.code == 2
    assert said in outcome.err


def test_csv_has_a_row_for_each_flow_with_the_values_of_the_json(run: Runner) -> None:
    log = SCENARIOS / "rules-inbound-request.log"
    rows = list(
        csv.DictReader(
            io.StringIO(run("explain", "--output", "csv", "--rules", SHOP, log).out), strict=True
        )
    )
    (flow,) = map(
        json.loads, run("explain", "--output", "json", "--rules", SHOP, log).out.split("\n")[:-1]
    )
    (row,) = rows
    assert list(row) == list(flow)
    assert (row["dstport"], row["verdict"]) == ("5432", "security-group")
    assert json.loads(row["remedy"]) == flow["remedy"]


def test_no_text_is_a_formula_in_a_spreadsheet(monkeypatch: pytest.MonkeyPatch) -> None:
    formulas = ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1"]
    monkeypatch.setattr(
        "flowverdict_cli.outputs.to_json",
        lambda _: json.dumps({f"c{number}": text for number, text in enumerate(formulas)}),
    )
    read = explain.read_files([str(SCENARIOS / "inbound-request.log")])
    _, row = csv_lines(read.batch.explanations()[:1])
    assert next(csv.reader(io.StringIO(row, newline=""))) == [
        "'=1+1",
        "'+1",
        "'-1",
        "'@A1",
        "' =1",
        "' =1",
    ]


def test_markdown_has_a_heading_for_each_problem_and_commands_in_code(run: Runner) -> None:
    out = run("explain", "--output", "markdown", *CASES["shop"]).out
    tokens = MarkdownIt().parse(out)
    headings = [
        tokens[place + 1].content
        for place, token in enumerate(tokens)
        if token.type == "heading_open"
    ]
    assert headings[0].startswith("CRITICAL Replies blocked by acl-0aaa0000000000001")
    code = [token.content for token in tokens if token.type == "fence"]
    assert code
    assert all(line.startswith("aws ec2 ") for each in code for line in each.splitlines())


@pytest.mark.parametrize("output", ["email", "slack", "ocsf"])
def test_a_channels_form_has_every_problem(run: Runner, output: str) -> None:
    outcome = run("explain", "--output", output, "--severity", "critical", *CASES["shop"])
    assert outcome.code == 0
    assert "acl-0aaa0000000000001" in outcome.out
    assert "203.0.113.12" in outcome.out


def test_a_report_is_a_page_and_replaces_only_its_own_file(run: Runner, tmp_path: Path) -> None:
    page = tmp_path / "rejects.html"
    outcome = run("report", *CASES["shop"], "-o", page)
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.endswith("rejected in 18 flows\n")
    assert page.read_text() == run("explain", "--output", "html", *CASES["shop"]).out.removesuffix(
        "\n"
    )
    missing = run("report", *CASES["shop"], "-o", tmp_path / "none" / "x.html")
    assert missing.code == 2
    assert "no such file or directory" in missing.err
