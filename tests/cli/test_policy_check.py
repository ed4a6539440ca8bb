"""``flowverdict policy check`` as a person or a script meets it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from flowverdict_cli.commands import cli

if TYPE_CHECKING:
    from click.testing import Result

ROOT = Path(__file__).parents[2]
SCENARIOS = ROOT / "tests" / "scenarios"
EXAMPLE = ROOT / "docs" / "policy.example.json"
NOW = "2026-11-22T12:00:00Z"
# Requests to 10.0.3.30:5432 and from 10.0.2.20 to port 443, and a closed connection to port 443.
LOGS = [
    str(SCENARIOS / f"{name}.log")
    for name in ("outbound-request", "inbound-request", "closed-connection")
]
POLICY = {
    "version": 1,
    "minimum_severity": "low",
    "silences": [
        {"match": {"port": 443}, "until": "2026-11-22T12:00:00Z", "reason": "over"},
        {
            "match": {"cidr": "10.0.2.20"},
            "until": "2026-11-29T12:00:00Z",
            "reason": "[red]soon[/red]",
        },
        {"match": {"cidr": "10.0.2.0/24"}, "until": "2026-11-29T12:00:01Z", "reason": "behind"},
    ],
    "expected": [{"match": {"port": 25}, "reason": "no mail"}],
}


def run(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, ["policy", "check", *map(str, arguments)], input=stdin)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(POLICY))
    return path


def checked(*arguments: str | Path) -> dict[str, Any]:
    result = run("--output", "json", "--at", NOW, *arguments)
    assert (result.exit_code, result.stdout.count("\n")) == (0, 1)
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_entries_of_a_valid_document_are_counted_and_ends_are_marked(policy: Path) -> None:
    result = run("--at", NOW, policy)
    assert (result.exit_code, result.stderr) == (0, "")
    headline, blank, header, *rows = result.stdout.splitlines()
    assert (
        headline == f"{policy}: valid, 3 silences (1 ended, 1 ending within a week), 1 expected, "
        "minimum severity low"
    )
    assert (blank, header.split()) == ("", ["entry", "until", "(UTC)", "reason", "remark"])
    assert [re.split(r"  +", row.strip()) for row in rows] == [
        ["silences[0]", "2026-11-22 12:00:00", "over", "ended less than a day ago"],
        ["silences[1]", "2026-11-29 12:00:00", "[red]soon[/red]", "ends in 7 days"],
        ["silences[2]", "2026-11-29 12:00:01", "behind"],
        ["expected[0]", "no end", "no mail"],
    ]


def test_with_logs_it_says_what_each_entry_mutes_and_what_is_left(policy: Path) -> None:
    result = run("--at", NOW, policy, *LOGS)
    assert result.exit_code == 0
    rows, effect = result.stdout.split("\n\n")[1:]
    assert [re.split(r"  +", row.strip()) for row in rows.splitlines()[1:]] == [
        [
            "silences[0]",
            "2026-11-22 12:00:00",
            "0",
            "0",
            "over",
            "ended less than a day ago, would match 2 flows",
        ],
        ["silences[1]", "2026-11-29 12:00:00", "1", "1", "[red]soon[/red]", "ends in 7 days"],
        [
            "silences[2]",
            "2026-11-29 12:00:01",
            "0",
            "0",
            "behind",
            "matches only flows that earlier entries mute",
        ],
        ["expected[0]", "no end", "0", "0", "no mail", "matches no flow here"],
    ]
    assert effect.splitlines() == [
        "muted:   1 of 3 flows, 1 of 3 records",
        "dropped: 1 info, below minimum severity low",
        "alerts:  3 without the policy, 1 with it",
    ]
    assert result.stderr.endswith("rejected in 3 flows\n")


def test_routes_are_tried_on_the_alerts_that_are_left(tmp_path: Path) -> None:
    topic = "arn:aws:sns:eu-west-1:123456789012:database-team"
    routes = [
        {"match": {"owner": "team=payments"}, "topic": f"{topic}-payments"},
        {"match": {"port": 5432}, "topic": topic, "slack_channel": "#database"},
        {"match": {"port": [5432, 443]}, "topic": f"{topic}-later"},
    ]
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"version": 1, "routes": routes[:2]}))
    answer = checked(path, *LOGS)
    assert answer["routes"] == 2
    routed = answer["effect"]["routed"]
    assert [(one["place"], one["topic"]) for one in routed if "5432" in one["title"]] == [
        ("routes[1]", topic)
    ]
    assert {one["slack_channel"] for one in routed if "5432" in one["title"]} == {"#database"}
    others = [one for one in routed if "5432" not in one["title"]]
    assert {(one["topic"], one["slack_channel"]) for one in others} == {(None, None)}
    path.write_text(json.dumps({"version": 1, "routes": routes}))
    shown = run("--at", NOW, path, *LOGS).stdout
    assert "2 routes" not in shown
    assert "3 routes, minimum severity" in shown
    table = [re.split(r"  +", line.strip()) for line in shown.split("\n\n")[-1].splitlines()]
    assert table[0] == ["route", "text goes to", "Slack", "severity", "alert"]
    assert ["routes[1]", "database-team", "#database", "high"] in [row[:4] for row in table]
    assert ["routes[2]", "database-team-later", "the stack's channel"] in [row[:3] for row in table]
    assert {row[1] for row in table[1:]} >= {"database-team", "database-team-later"}


def test_json_has_the_same_for_machines(policy: Path) -> None:
    answer = checked(policy, *LOGS)
    assert answer == {
        "policy": str(policy),
        "at": NOW,
        "minimum_severity": "low",
        "silences": 3,
        "expected": 1,
        "routes": 0,
        "entries": [
            entry("silences[0]", "ended", NOW, "over", (2, 0, 0)),
            entry("silences[1]", "ends soon", "2026-11-29T12:00:00Z", "[red]soon[/red]", (1, 1, 1)),
            entry("silences[2]", "active", "2026-11-29T12:00:01Z", "behind", (1, 0, 0)),
            entry("expected[0]", "active", None, "no mail", (0, 0, 0)),
        ],
        "effect": {
            "flows": 3,
            "records": 3,
            "muted_flows": 1,
            "muted_records": 1,
            "alerts": 3,
            "alerts_of_kept_flows": 2,
            "alerts_below_minimum_severity": {"info": 1},
            "alerts_sent": 1,
            "routed": answer["effect"]["routed"],
        },
    }
    alone = checked(policy)
    assert alone["effect"] is None
    assert {one["matched_flows"] for one in alone["entries"]} == {None}


def entry(
    place: str, state: str, until: str | None, reason: str, flows: tuple[int, int, int]
) -> dict[str, object]:
    counts = dict(zip(("matched_flows", "muted_flows", "muted_records"), flows, strict=True))
    return {"place": place, "state": state, "until": until, "reason": reason, **counts}


def test_rules_change_what_a_verdict_matcher_mutes(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(
        json.dumps(
            {
                "version": 1,
                "expected": [{"match": {"verdict": "security-group"}, "reason": "closed"}],
            }
        )
    )
    log = SCENARIOS / "rules-inbound-request.log"
    assert checked(path, log)["effect"]["muted_flows"] == 0
    assert (
        checked("--config", SCENARIOS / "shop.config.json", path, log)["effect"]["muted_flows"] == 1
    )


def test_lines_without_a_header_are_read_in_the_format_that_is_given(
    policy: Path, tmp_path: Path
) -> None:
    lines = tmp_path / "lines.log"
    lines.write_text("REJECT 25 50122 6 10.0.0.2 10.0.0.1 eni-1\n")
    fields = "action dstport srcport protocol dstaddr srcaddr interface-id"
    assert checked("--log-format", fields, policy, lines)["entries"][-1]["muted_flows"] == 1


def test_an_empty_policy_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text('{"version": 1}')
    result = run(path, *LOGS)
    assert result.stdout.splitlines() == [
        f"{path}: valid, 0 silences, 0 expected, minimum severity info",
        "",
        "muted:   0 of 3 flows, 0 of 3 records",
        "dropped: no alerts, below minimum severity info",
        "alerts:  3 without the policy, 3 with it",
    ]


def test_the_document_may_come_from_standard_input() -> None:
    result = run("-", stdin=b'{"version": 1}')
    assert (result.exit_code, result.stdout) == (
        0,
        "standard input: valid, 0 silences, 0 expected, minimum severity info\n",
    )


# --- what goes wrong


def test_each_problem_is_a_line_on_standard_error_and_exit_2(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(
        '{"version": 1, "silences": [{"match": {"port": "22\\u001b[31m"}, "reason": "x"}]}'
    )
    result = run("--output", "json", path, *LOGS)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        (
            f'{path}: silences[0].match.port[0]: "22\\u001b[31m" is no port: '
            "a whole number from 0 to 65535 is"
        ),
        f"{path}: silences[0].until: missing",
    ]


def test_a_file_of_any_size_is_refused_without_reading_it_all() -> None:
    result = run("/dev/zero")
    assert (result.exit_code, result.stderr) == (
        2,
        "/dev/zero: the document: larger than 65,536 bytes\n",
    )


@pytest.mark.parametrize("at", ["2026-11-22T12:00:00", "tomorrow"])
def test_time_that_is_not_valid_or_lacks_a_zone_is_wrong_usage(policy: Path, at: str) -> None:
    result = run("--at", at, policy)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Invalid value for '--at'" in result.stderr


def test_files_that_cannot_be_read_are_named(policy: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    commands: list[list[str | Path]] = [
        [missing],
        [policy, missing],
        ["--config", missing, policy, *LOGS],
    ]
    for arguments in commands:
        result = run(*arguments)
        assert result.exit_code != 0
        assert str(result.exception).lower() == f"{missing}: no such file or directory"


# --- as documented


@pytest.mark.parametrize(
    "command",
    [
        "docs/policy.example.json",
        "--at 2026-11-30T00:00:00Z docs/policy.example.json",
        "docs/policy.example.json tests/scenarios/*.log",
        (
            "--output json --config tests/scenarios/shop.config.json docs/policy.example.json "
            "tests/scenarios/rules-*.log"
        ),
    ],
)
def test_the_example_works_with_the_scenarios(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    words = [
        str(path)
        for word in shlex.split(command)
        for path in (sorted(Path().glob(word)) if "*" in word else [word])
    ]
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "Penetration test" in result.stdout


def test_the_example_mutes_something_of_the_scenarios() -> None:
    answer = checked(EXAMPLE, *sorted(SCENARIOS.glob("*.log")))
    assert answer["effect"]["muted_flows"] > 0
    assert answer["effect"]["alerts_sent"] < answer["effect"]["alerts"]


def test_help_mentions_arguments_and_options() -> None:
    assert "Check policy documents" in CliRunner().invoke(cli, ["--help"]).output
    help_text = run("--help").output
    wanted = [
        "FILE [LOGS]...",
        "--output [table|json]",
        "--at TIME",
        "--rules, --config FILE",
        "--log-format FIELDS",
        "Exit status",
    ]
    assert [words for words in wanted if words not in help_text] == []
    assert len(re.findall(r"^ +flowverdict policy check ", help_text, re.MULTILINE)) == 3
