"""What the functions read from their environment."""

from __future__ import annotations

import json

import pytest

from flowverdict.app.observability import Observability
from flowverdict.app.settings import Missing, Settings
from flowverdict.core.errors import SettingsError
from flowverdict.flowlog.records import DEFAULT_FORMAT, RecordFormat
from flowverdict.lifecycle.intervals import Intervals

TOPIC = "arn:aws:sns:eu-west-1:123456789012:alerts"
NEEDED = {"ALERT_TOPIC_ARN": TOPIC, "ALERT_TABLE": "alerts"}


def test_all_variables_are_read() -> None:
    settings = Settings.from_environment(
        NEEDED | {"AWS_REGION": "eu-west-1", "LOG_FORMAT": "srcaddr action"}
    )
    assert (settings.alert_topic_arn, settings.region) == (TOPIC, "eu-west-1")
    assert settings.log_format == RecordFormat(("srcaddr", "action"))


def test_only_the_topic_and_the_table_are_required() -> None:
    settings = Settings.from_environment(NEEDED)
    assert settings == Settings(
        alert_topic_arn=TOPIC,
        email_topic_arn=None,
        chat_topic_arn=None,
        operator_topic_arn=None,
        alert_table="alerts",
        queue_url=None,
        signal_queue_url=None,
        signal_delay=90,
        evidence_bucket=None,
        intervals=Intervals(),
        messages_per_hour=30,
        policy=None,
        region=None,
        log_format=None,
        account_id="123456789012",
        partition="aws",
        reader_role_name=None,
        reader_external_id=None,
        reader_accounts=frozenset(),
    )


def test_the_reader_role_is_read() -> None:
    settings = Settings.from_environment(
        NEEDED
        | {
            "READER_ROLE_NAME": "flowverdict-reader",
            "READER_EXTERNAL_ID": "a-secret:1",
            "READER_ACCOUNTS": "123456789012,210987654321",
            "READER_ORGANIZATION": "o-a1b2c3d4e5",
        }
    )
    assert settings.reader_organization == "o-a1b2c3d4e5"
    assert (settings.reader_role_name, settings.reader_external_id, settings.reader_accounts) == (
        "flowverdict-reader",
        "a-secret:1",
        frozenset({"123456789012", "210987654321"}),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("READER_ROLE_NAME", "arn:aws:iam::123456789012:role/reader"),
        ("READER_ROLE_NAME", "path/reader"),
        ("READER_ORGANIZATION", "a1b2c3d4e5"),
        ("READER_ROLE_NAME", "x" * 65),
        ("READER_EXTERNAL_ID", "a b"),
        ("READER_EXTERNAL_ID", "x"),
        ("READER_ACCOUNTS", "123456789012, 210987654321"),
    ],
)
def test_a_reader_role_that_makes_no_sense_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: "):
        Settings.from_environment(NEEDED | {name: value})


def test_other_variables_do_not_matter() -> None:
    assert Settings.from_environment(NEEDED | {"PATH": "/bin"}) == Settings.from_environment(NEEDED)


@pytest.mark.parametrize(
    "arn",
    [
        TOPIC,
        "arn:aws-us-gov:sns:us-gov-west-1:123456789012:alerts",
        "arn:aws-cn:sns:cn-north-1:123456789012:Flow_Verdict-Alerts",
        f"arn:aws:sns:us-east-1:123456789012:{'a' * 256}",
    ],
)
def test_topic_of_any_partition_is_taken(arn: str) -> None:
    assert Settings.from_environment(NEEDED | {"ALERT_TOPIC_ARN": arn}).alert_topic_arn == arn


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"ALERT_TOPIC_ARN": ""},
        {"ALERT_TOPIC_ARN": "alerts"},
        {"ALERT_TOPIC_ARN": "arn:aws:sqs:eu-west-1:123456789012:alerts"},
        {"ALERT_TOPIC_ARN": "arn:aws:sns:eu-west-1:12345:alerts"},
        {"ALERT_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:"},
        {"ALERT_TOPIC_ARN": f"{TOPIC}:11111111-2222-3333-4444-555555555555"},
        {"ALERT_TOPIC_ARN": f"{TOPIC}\n"},
        {"ALERT_TOPIC_ARN": f" {TOPIC}"},
        {"ALERT_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:al erts"},
        {"ALERT_TOPIC_ARN": f"arn:aws:sns:us-east-1:123456789012:{'a' * 257}"},
    ],
)
def test_missing_or_wrong_topic_is_refused_by_its_name(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"^ALERT_TOPIC_ARN: "):
        Settings.from_environment(environment)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("   ", None),
        ("version srcaddr", RecordFormat(("version", "srcaddr"))),
        ("  version   srcaddr ", RecordFormat(("version", "srcaddr"))),
        ("${version} ${srcaddr}", RecordFormat(("version", "srcaddr"))),
        (" ".join(DEFAULT_FORMAT.names), DEFAULT_FORMAT),
        (
            f"{' '.join(DEFAULT_FORMAT.names)} tomorrows-field",
            RecordFormat((*DEFAULT_FORMAT.names, "tomorrows-field")),
        ),
    ],
)
def test_log_format_is_read_as_words_or_as_ec2_writes_it(
    text: str, expected: RecordFormat | None
) -> None:
    assert Settings.from_environment(NEEDED | {"LOG_FORMAT": text}).log_format == expected


@pytest.mark.parametrize(
    "text",
    [
        "made-up",
        "default-format",
        "version version",
        "version, srcaddr",
        "VERSION SRCADDR",
        "${}",
        "${made-up}",
        "$version",
    ],
)
def test_log_format_that_makes_no_sense_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^LOG_FORMAT: "):
        Settings.from_environment(NEEDED | {"LOG_FORMAT": text})


@pytest.mark.parametrize("region", [None, ""])
def test_region_that_is_unset_or_empty_is_none(region: str | None) -> None:
    environment = NEEDED | ({} if region is None else {"AWS_REGION": region})
    assert Settings.from_environment(environment).region is None


def test_intervals_and_the_cap_are_read() -> None:
    told = {
        "REPEAT_MINUTES": "60",
        "RESOLVE_MINUTES": "15",
        "DIGEST_HOURS": "12",
        "MESSAGES_PER_HOUR": "7",
        "FUNCTION_SECONDS": "120 900 300",
    }
    settings = Settings.from_environment(NEEDED | told)
    assert (settings.intervals.repeat, settings.intervals.resolve, settings.intervals.digest) == (
        3_600,
        900,
        43_200,
    )
    assert settings.intervals.outbox == 900
    assert settings.messages_per_hour == 7


@pytest.mark.parametrize("text", ["ten", "300,900", "300 0"])
def test_time_outs_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^FUNCTION_SECONDS: "):
        Settings.from_environment(NEEDED | {"FUNCTION_SECONDS": text})


@pytest.mark.parametrize(
    "name", ["REPEAT_MINUTES", "RESOLVE_MINUTES", "DIGEST_HOURS", "MESSAGES_PER_HOUR"]
)
@pytest.mark.parametrize("text", ["0", "-1", "1.5", "ten", " 1", "1000000"])
def test_a_number_that_makes_no_sense_is_refused_by_its_name(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: "):
        Settings.from_environment(NEEDED | {name: text})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ALERT_TABLE", ""),
        ("ALERT_TABLE", "a table"),
        ("EMAIL_TOPIC_ARN", "someone@example.com"),
        ("CHAT_TOPIC_ARN", "arn:aws:sqs:eu-west-1:123456789012:chat"),
        ("POLICY", "/flowverdict/policy"),
        ("POLICY", "appconfig:only-two/parts"),
        ("POLICY", "s3:bucket/key"),
    ],
)
def test_other_wrong_values_are_refused_by_their_names(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: "):
        Settings.from_environment(NEEDED | {name: text})


@pytest.mark.parametrize("text", ["ssm:/flowverdict/policy", "appconfig:flowverdict/prod/policy"])
def test_where_the_policy_is(text: str) -> None:
    assert Settings.from_environment(NEEDED | {"POLICY": text}).policy == text


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("", ()),
        (" ", ()),
        ("recipient ", (Missing.RECIPIENT,)),
        (" source", (Missing.SOURCE,)),
        ("recipient source", (Missing.RECIPIENT, Missing.SOURCE)),
    ],
)
def test_what_the_stack_leaves_out_is_read_and_logged(
    text: str, missing: tuple[Missing, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings.from_environment(NEEDED | {"MISSING": text})
    assert settings.missing == missing
    observability = Observability("sweep_alerts")
    for what in settings.missing:
        observability.missing(what)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["level"], line["message"], line["missing"]) for line in lines] == [
        ("WARNING", "not in this stack", what) for what in missing
    ]


def test_a_word_that_is_missing_from_what_can_be_missing_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^MISSING: 'alarm'"):
        Settings.from_environment(NEEDED | {"MISSING": "alarm"})
