"""``flowverdict explain``: what it reads, what it prints and how it ends."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flowverdict_cli import explain
from flowverdict_cli.options import EXIT_USAGE
from tests.helpers import shop
from tests.helpers.command import HEADER, PING, PONG, RDP, SSH, SUMMARY, write

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.helpers.command import Runner

SCENARIOS = Path(__file__).parents[1] / "scenarios"


def verdicts(out: str) -> list[tuple[str, str]]:
    """Return the leg and the verdict of each line of JSON."""
    return [(line["leg"], line["verdict"]) for line in map(json.loads, out.splitlines())]


@pytest.mark.parametrize(
    "content",
    [HEADER + PING + PONG, gzip.compress(HEADER + PING + PONG), PING + PONG],
    ids=["text", "gzip", "pasted"],
)
@pytest.mark.parametrize("source", ["file", "stdin"])
def test_explain_reads_text_gzip_and_pasted_lines_from_a_file_or_standard_input(
    run: Runner, tmp_path: Path, content: bytes, source: str
) -> None:
    path = write(tmp_path / "some.name", content)
    outcome = (
        run("explain", "--output", "json", path)
        if source == "file"
        else run("explain", "--output", "json", "-", stdin=content)
    )
    assert outcome.code == 0
    assert verdicts(outcome.out) == [("response", "network-acl")]
    assert outcome.err == SUMMARY


def test_explain_shows_a_row_for_each_flow_if_asked(run: Runner, tmp_path: Path) -> None:
    outcome = run("explain", "--flows", write(tmp_path / "flow.log", HEADER, SSH, RDP))
    assert outcome.code == 0
    assert "TCP 172.31.9.69:49761 -> 172.31.9.12:3389" in outcome.out
    assert "2014-12-14 04:06:50" in outcome.out
    header, row, *_ = outcome.out.splitlines()
    assert header.split()[4:6] == ["interface", "account"]
    assert "  eni-1235b8ca123456789  123456789010  " in row
    assert outcome.err == SUMMARY


def test_flows_are_readable_on_a_terminal_of_80_columns(tmp_path: Path) -> None:
    read = explain.read_files([str(write(tmp_path / "flow.log", HEADER, SSH, RDP))])
    first, place, *why = "".join(explain.blocks(read.batch.explanations(), 80)).splitlines()
    assert first == "2014-12-14 04:06:50  TCP 172.31.9.69:49761 -> 172.31.9.12:3389"
    assert place.startswith("  request at eni-1235b8ca123456789, account 123456789010: ")
    assert 1 < len(why) < 8
    assert all(line.startswith("  ") and len(line) <= 80 for line in why)


def test_explain_gives_one_object_a_line_for_each_rejected_flow(
    run: Runner, tmp_path: Path
) -> None:
    other = RDP.replace(b"3389", b"3390")
    outcome = run(
        "explain", "--output", "json", write(tmp_path / "flow.log", HEADER, RDP, RDP, SSH, other)
    )
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert [(line["dstport"], line["records"]) for line in lines] == [(3389, 2), (3390, 1)]


@pytest.mark.slow
def test_explain_evaluates_the_most_flows_and_counts_the_others_together(
    run: Runner, tmp_path: Path
) -> None:
    lines = [
        RDP.replace(b"49761", b"%d" % port) for port in range(40_000, 42_000)
    ]  # enough to be read by column
    small, large = (write(tmp_path / f"{many}.log", HEADER, *lines[:many]) for many in (30, 2_000))
    for path, many in ((small, 30), (large, 2_000)):
        outcome = run("explain", "--output", "json", "--most", "20", path)
        printed = [json.loads(line) for line in outcome.out.splitlines()]
        assert len(printed) == 20
        assert outcome.err == (
            f"eni-1235b8ca123456789: {many - 20:,} further rejected records, counted together: "
            f"TCP to port 3389: {many - 20:,} records\n"
            f"{many:,} records: 0 accepted, {many:,} rejected in 20 flows and more, "
            "counted together\n"
        )
        assert len(run("explain", "--output", "json", "--most", "0", path).out.splitlines()) == many


def test_ten_interfaces_with_most_aggregated_records_are_named(run: Runner, tmp_path: Path) -> None:
    names = [b"eni-%d" % number for number in range(13) for _ in range(number + 2)]
    lines = [
        RDP.replace(b"eni-1235b8ca123456789", name).replace(b"49761", b"%d" % place)
        for place, name in enumerate(names)
    ]
    printed = run(
        "explain", "--output", "json", "--most", "1", write(tmp_path / "flow.log", HEADER, *lines)
    ).err.splitlines()
    assert len(printed) == 12
    assert printed[11] == (
        f"{len(names)} records: 0 accepted, {len(names)} rejected in 1 flow and more, "
        "counted together"
    )
    assert re.fullmatch(r"3 further interfaces: \d+ such records", printed[10])
    named = [int(re.fullmatch(r"eni-\d+: (\d+) further .*", line)[1]) for line in printed[:10]]  # type: ignore[index]
    assert named == sorted(named, reverse=True)


def test_explain_evaluates_all_files_together(run: Runner, tmp_path: Path) -> None:
    request, reply = (
        write(tmp_path / "1.log", HEADER, PING),
        write(tmp_path / "2.log", HEADER, PONG),
    )
    assert verdicts(run("explain", "--output", "json", reply, request).out) == [
        ("response", "network-acl")
    ]
    assert verdicts(run("explain", "--output", "json", reply).out) != [("response", "network-acl")]


@pytest.mark.parametrize("output", ["json", "table"])
def test_explain_prints_nothing_to_standard_output_where_nothing_was_rejected(
    run: Runner, tmp_path: Path, output: str
) -> None:
    outcome = run("explain", "--output", output, write(tmp_path / "flow.log", HEADER, SSH))
    assert (outcome.code, outcome.out, outcome.err) == (
        0,
        "",
        "1 record: 1 accepted, 0 rejected in 0 flows\n",
    )


def test_explain_prints_malformed_lines_and_unknown_fields_to_standard_error(
    run: Runner, tmp_path: Path
) -> None:
    path = write(
        tmp_path / "flow.log",
        HEADER.replace(b"log-status", b"log-status tomorrows-field"),
        b"nonsense\n",
    )
    outcome = run("explain", "--output", "json", path)
    assert (outcome.code, outcome.out) == (0, "")
    sample, unknown, summary = outcome.err.splitlines()
    assert re.fullmatch(
        rf"{re.escape(str(path))}: line \d: field-count: 1 fields, the format has 15", sample
    )
    assert unknown == f"{path}: unknown fields, ignored: tomorrows-field"
    assert summary == "1 record: 0 accepted, 0 rejected in 0 flows, 1 malformed"


NEITHER = "not a VPC flow log: its first line is neither a header nor a record"
NOT_READABLE: Iterable[tuple[str, bytes | None, str]] = [
    ("missing.log", None, "no such file or directory"),
    ("picture.png", b"\x89PNG\r\n\x1a\n", NEITHER),
    ("empty.log", b"", "empty, so not a VPC flow log"),
    (
        "table.parquet",
        b"PAR1....PAR1",
        "broken Parquet, or too large: Footer length error in the file",
    ),
    (
        "cut.log.gz",
        gzip.compress(HEADER + RDP)[:-9],
        "truncated gzip: it ends before its end-of-stream marker",
    ),
    (
        "misspelt.log",
        HEADER.replace(b"action", b"acton") + RDP,
        (
            "not a VPC flow log: its header is wrong: 'acton' is not a field name; "
            "action is the nearest"
        ),
    ),
]


@pytest.mark.parametrize(("name", "content", "reason"), NOT_READABLE)
def test_explain_of_a_file_that_is_not_a_flow_log_is_one_line_and_exit_2(
    run: Runner, tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    outcome = run("explain", path)
    assert (outcome.code, outcome.out, outcome.err) == (2, "", f"flowverdict: {path}: {reason}\n")


@pytest.mark.parametrize("output", ["json", "table", "terraform"])
def test_files_that_cannot_be_read_are_named_and_the_others_explained_with_exit_3(
    run: Runner, tmp_path: Path, output: str
) -> None:
    missing, picture = tmp_path / "missing.log", write(tmp_path / "picture.png", b"\x89PNG\r\n")
    good = write(tmp_path / "good.log", HEADER, RDP)
    alone = run("explain", "--output", output, good)
    assert alone.code == 0
    answers, remarks = len(alone.out.splitlines()), alone.err.splitlines()
    outcome = run("explain", "--output", output, missing, good, picture)
    assert outcome.code == 3
    assert outcome.err.splitlines() == [
        f"flowverdict: {missing}: no such file or directory",
        f"flowverdict: {picture}: {NEITHER}",
        *remarks,
    ]
    assert len(outcome.out.splitlines()) == answers


def test_what_depends_on_a_file_that_cannot_be_read_is_said_with_less_confidence(
    run: Runner, tmp_path: Path
) -> None:
    ends = "203.0.113.9 10.0.1.220"
    lines = (
        shop.line(
            shop.NAT,
            "10.0.1.220 203.0.113.9",
            "40000 443",
            "2 10.0.1.220 203.0.113.9 egress -",
            more="6 ACCEPT",
        ),
        shop.line(shop.NAT, ends, "443 40000", f"18 {ends} ingress -"),
    )
    good = write(tmp_path / "good.log", "\n".join([" ".join(shop.NAMES), *lines]).encode())
    confidences = []
    for files in ([good], [tmp_path / "missing.log", good]):
        outcome = run(
            "explain", "--config", SCENARIOS / "shop.config.json", "--output", "json", *files
        )
        (explanation,) = map(json.loads, outcome.out.splitlines())
        confidences.append(explanation["confidence"])
    assert confidences == ["certain", "likely"]


def test_explain_names_standard_input_that_is_not_a_flow_log(run: Runner) -> None:
    outcome = run("explain", "-", stdin=b"hello\n")
    assert outcome.code == 2
    assert outcome.err.startswith("flowverdict: standard input: not a VPC flow log")


# --- with the rules of an account


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"hello", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"NetworkAcls": {}}', "NetworkAcls"),
        (b"{}", "none of the keys NetworkInterfaces"),
        (b'{"eu-west-1": {"Subnets": []}}', "keyed by Region (eu-west-1)"),
        (b'{"securityGroups": []}', "AWS Config's spelling"),
    ],
)
def test_rules_of_the_wrong_shape_are_one_line_and_exit_2(
    run: Runner, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    config = tmp_path / "rules.json"
    if content is not None:
        config.write_bytes(content)
    outcome = run("explain", "--config", str(config), str(SCENARIOS / "inbound-request.log"))
    assert outcome.code == EXIT_USAGE
    assert (outcome.err.count("\n"), outcome.out) == (1, "")
    assert str(config) in outcome.err
    assert reason in outcome.err


@pytest.mark.parametrize("command", ["explain", "policy"])
def test_what_the_rules_lack_is_told_and_the_rest_is_used(
    run: Runner, tmp_path: Path, command: str
) -> None:
    shop = json.loads((SCENARIOS / "shop.config.json").read_text())
    place, group = next(
        (place, group)
        for place, group in enumerate(shop["SecurityGroups"])
        if group["GroupId"] == "sg-0ccc0000000000003"
    )
    group["IpPermissions"][0]["FromPort"] = "\x1b[2J443"
    shop["VpcEndpoints"].append("\N{RIGHT-TO-LEFT OVERRIDE}")
    config = tmp_path / "rules.json"
    config.write_text(json.dumps(shop))
    log = str(SCENARIOS / "rules-inbound-request.log")
    outcome = (
        run("explain", "--output", "json", "--config", str(config), log)
        if command == "explain"
        else run("policy", "check", "--config", str(config), "docs/policy.example.json", log)
    )
    assert outcome.code == 0
    for_group, for_endpoint = outcome.err.splitlines()[:2]
    assert for_group == (
        f"{config}: SecurityGroups[{place}].IpPermissions[0].FromPort: '\\x1b[2J443' is not a "
        f"whole number; SecurityGroups[{place}] is skipped, and what depends on it is not known"
    )
    assert for_endpoint.startswith(
        f"{config}: VpcEndpoints[{len(shop['VpcEndpoints']) - 1}]: '\\u202e'"
    )
    if command == "explain":
        kinds = {evidence["kind"] for evidence in json.loads(outcome.out)["evidence"]}
        assert "network-acl-allows" in kinds
        assert not kinds & {"security-groups-deny", "security-groups-allow"}


def test_empty_configuration_does_not_change_the_verdict(run: Runner, tmp_path: Path) -> None:
    config = tmp_path / "rules.json"
    config.write_text('{"Subnets": []}')
    outcome = run(
        "explain",
        "--output",
        "json",
        "--config",
        str(config),
        str(SCENARIOS / "inbound-request.log"),
    )
    verdict = json.loads(outcome.out)
    assert (outcome.code, verdict["verdict"], verdict["remedy"]) == (
        0,
        "network-acl-or-security-group",
        None,
    )
    assert verdict["evidence"][-1]["kind"] == "rules-not-read"


def test_lines_without_a_header_are_read_in_the_format_that_is_given(
    run: Runner, tmp_path: Path
) -> None:
    lines = tmp_path / "lines.log"
    lines.write_text("REJECT 443 50122 6 10.0.0.2 10.0.0.1 eni-1\n")
    for fields in (
        "action dstport srcport protocol dstaddr srcaddr interface-id",
        "${action} ${dstport} ${srcport} ${protocol} ${dstaddr} ${srcaddr} ${interface-id}",
    ):
        outcome = run("explain", "--output", "json", "--log-format", fields, str(lines))
        assert (outcome.code, json.loads(outcome.out)["dstport"]) == (0, 443)
    assert run("explain", "--log-format", "default", str(lines)).code == EXIT_USAGE
    wrong = run("explain", "--log-format", "made-up", str(lines))
    assert (wrong.code, wrong.err) == (
        EXIT_USAGE,
        "flowverdict: the format names no flow log field\n",
    )


def test_the_table_names_the_rule_and_the_fix_stands_below_it_in_one_line(run: Runner) -> None:
    out = run(
        "explain",
        "--flows",
        "--config",
        str(SCENARIOS / "shop.config.json"),
        str(SCENARIOS / "rules-inbound-request.log"),
    ).out
    row, command = (
        next(line for line in out.splitlines() if text in line)
        for text in ("inbound request", "aws ec2")
    )
    assert "no inbound rule of sg-0ccc0000000000003 lets it in" in row
    assert command.startswith(
        "  aws ec2 authorize-security-group-ingress --region eu-west-1 "
        "--group-id sg-0ccc0000000000003 "
    )


def test_explain_prints_the_fixes_as_terraform(run: Runner) -> None:
    outcome = run(
        "explain",
        "--output",
        "terraform",
        "--config",
        str(SCENARIOS / "fixes.config.json"),
        str(SCENARIOS / "fix-one-problem.log"),
    )
    assert outcome.code == 0
    assert outcome.out.count('resource "aws_network_acl_rule" ') == 2
    assert "# Fix for TCP 10.60.1.20:40108 -> 10.60.2.10:8443 and 1 more flow\n" in outcome.out
    assert "# This lets TCP to port 8443 into subnet-0f6002 (1 interface) from 10.60.1.20/31." in (
        outcome.out
    )


def test_explain_tells_a_fix_once_with_its_undo_and_what_manages_the_rule(run: Runner) -> None:
    outcome = run(
        "explain",
        "--flows",
        "--config",
        str(SCENARIOS / "fixes.config.json"),
        str(SCENARIOS / "fix-one-problem.log"),
        str(SCENARIOS / "fix-restricted-egress.log"),
    )
    assert outcome.out.count("create-network-acl-entry") == 2
    assert outcome.out.count("delete-network-acl-entry") == 2
    assert "  managed by CloudFormation stack network-base: change it there\n" in outcome.out
    assert "If this is wanted: fix for TCP 10.60.1.30:40101 -> 203.0.113.90:443" in outcome.out
