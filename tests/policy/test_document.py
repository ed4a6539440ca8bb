"""The policy document: what it may say, how what it may not is told, and which flows it mutes."""

from __future__ import annotations

import io
import json
import os
import sys
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from flowverdict.alerts.model import Severity
from flowverdict.core.errors import PolicyError
from flowverdict.policy.document import MAX_DOCUMENT_BYTES, parse_policy, policy_schema
from flowverdict.policy.entries import Expected, Match, Silence
from flowverdict.policy.model import Policy
from flowverdict.policy.values import parse_time
from flowverdict.verdict.batch import Batch
from flowverdict.verdict.model import VerdictKind

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "schemas" / "policy.schema.json"
EXAMPLE = ROOT / "docs" / "policy.example.json"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
UNTIL = "2026-12-01T00:00:00Z"
FIELDS = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status "
    "vpc-id flow-direction"
)
INBOUND = "2 123456789012 eni-1 203.0.113.9 10.0.0.1 50122 22 6 1 60 1795348800 1795348860 REJECT OK vpc-1 ingress"


def document(**keys: object) -> str:
    return json.dumps({"version": 1, **keys})


def silence(**keys: object) -> dict[str, object]:
    return {"match": {"port": 22}, "until": UNTIL, "reason": "test", **keys}


def matching(**matchers: object) -> str:
    return document(expected=[{"match": matchers, "reason": "test"}])


def problems(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    assert "\n" not in str(caught.value)
    return caught.value.problems


# --- valid documents --------------------------------------------------------------------------------------------------


def test_a_document_of_every_key_is_read() -> None:
    policy = parse_policy(
        document(
            minimum_severity="low",
            silences=[
                silence(
                    match={
                        "cidr": ["203.0.113.0/24", "2001:db8::1"],
                        "port": [0, 65_535],
                        "interface_id": ["eni-0a"],
                        "vpc_id": ["vpc-0a"],
                        "verdict": ["network-acl"],
                    },
                    until="2026-12-01T01:30:00+01:00",
                    reason=" pen test ",
                )
            ],
            expected=[{"match": {"cidr": "10.0.0.0/8"}, "reason": "egress filter"}],
        )
    )
    assert policy == Policy(
        minimum_severity=Severity.LOW,
        silences=(
            Silence(
                match=Match(
                    cidr=(ip_network("203.0.113.0/24"), ip_network("2001:db8::1/128")),
                    port=(0, 65_535),
                    interface_id=("eni-0a",),
                    vpc_id=("vpc-0a",),
                    verdict=(VerdictKind.NETWORK_ACL,),
                ),
                until=datetime(2026, 12, 1, 0, 30, tzinfo=UTC),
                reason="pen test",
            ),
        ),
        expected=(Expected(match=Match(cidr=(ip_network("10.0.0.0/8"),)), reason="egress filter"),),
    )
    assert policy.silences[0].until.tzinfo is UTC


def test_a_document_may_say_nothing_but_its_version() -> None:
    assert parse_policy(document()) == Policy()
    assert Policy().entries() == {}
    assert all(Policy().allows(severity) for severity in Severity)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_bytes_are_read_in_the_encodings_that_shells_write(encoding: str) -> None:
    (entry,) = parse_policy(
        document(expected=[{"match": {"port": 1}, "reason": "Prüfung"}]).encode(encoding)
    ).expected
    assert entry.reason == "Prüfung"


@pytest.mark.parametrize(
    ("name", "scalar"),
    [
        ("cidr", "10.0.0.0/8"),
        ("port", 22),
        ("interface_id", "eni-0a"),
        ("vpc_id", "vpc-0a"),
        ("verdict", "undetermined"),
    ],
)
def test_a_single_value_is_a_list_of_one(name: str, scalar: object) -> None:
    assert parse_policy(matching(**{name: scalar})) == parse_policy(matching(**{name: [scalar]}))


def test_as_much_as_the_bounds_allow_is_read() -> None:
    policy = parse_policy(
        document(
            silences=[silence(match={"port": [*range(100)]}, reason="x" * 500)] + [silence()] * 199,
            expected=[{"match": {"port": 1}, "reason": "x"}] * 200,
        )
    )
    assert (len(policy.silences), len(policy.expected)) == (200, 200)
    assert parse_policy(document().ljust(MAX_DOCUMENT_BYTES)) == Policy()


def test_minimum_severity_lets_what_is_as_severe_or_more_pass() -> None:
    policy = parse_policy(document(minimum_severity="medium"))
    assert [severity for severity in Severity if policy.allows(severity)] == [
        Severity.CRITICAL,
        Severity.HIGH,
        Severity.MEDIUM,
    ]


# --- what is refused --------------------------------------------------------------------------------------------------

VERDICTS = (
    "'security-group', 'network-acl', 'network-acl-and-security-group', 'network-acl-or-security-group', "
    "'block-public-access', 'encryption-controls', 'closed-connection', 'rules-allow' or 'undetermined'"
)
NO_CIDR = "is no address and no CIDR block"
HOST_BITS = "has bits beyond its prefix"
WHOLE, ONE = "for the whole block", "for the one address"
NO_PORT = "is no port: a whole number from 0 to 65535 is"
NO_TIME = "is no time like 2026-12-01T00:00:00Z"
NO_ZONE = "does not say in which time zone: end it with Z for UTC, or an offset like +01:00"
BAD: list[tuple[str, str | bytes, list[str]]] = [
    # the whole
    ("empty", "", ["the document: not JSON: Expecting value at line 1, column 1"]),
    (
        "cut",
        '{"version": 1,\n',
        [
            "the document: not JSON: Expecting property name enclosed in double quotes at line 2, column 1"
        ],
    ),
    ("no text", b"\xff\x00\xff", ["the document: not JSON that can be read"]),
    ("deep", "[" * 60_000, ["the document: not JSON that can be read"]),
    ("long number", "1" * 5_000, ["the document: not JSON that can be read"]),
    ("list", "[]", ["the document: an object is wanted, not a list"]),
    ("text, whatever it may be", '"hunter2"', ["the document: an object is wanted, not a text"]),
    ("null", "null", ["the document: an object is wanted, not null"]),
    (
        "too large",
        document().ljust(MAX_DOCUMENT_BYTES + 1),
        ["the document: larger than 65,536 bytes"],
    ),
    (
        "too large in bytes",
        document(reason="é" * 11_000),
        ["the document: larger than 65,536 bytes"],
    ),
    (
        "a key twice",
        '{"version": 1, "expected": [], "expected": []}',
        ['the document: "expected" is given twice in one object'],
    ),
    ("no version", "{}", ["version: missing"]),
    ("version 2", '{"version": 2}', ["version: 2 is no version known here: 1 is"]),
    ("version true", '{"version": true}', ["version: true is no version known here: 1 is"]),
    ("unknown key", document(silence=[]), ["silence: no such key"]),
    (
        "unknown key of another kind",
        document(**{"a\n" + "b" * 99: 1}),
        ['"a\\n' + "b" * 33 + "...: no such key"],
    ),
    (
        "severity",
        document(minimum_severity="LOW"),
        ["minimum_severity: \"LOW\" is not one of 'critical', 'high', 'medium', 'low' or 'info'"],
    ),
    ("no list", document(silences={}), ["silences: a list is wanted, not an object"]),
    (
        "too many",
        document(silences=[silence()] * 201),
        ["silences: 201 values, at most 200 are read"],
    ),
    # entries
    ("no object", document(silences=[7]), ["silences[0]: an object is wanted, not a number"]),
    (
        "nothing",
        document(silences=[{}]),
        ["silences[0].match: missing", "silences[0].until: missing", "silences[0].reason: missing"],
    ),
    (
        "until of what is expected",
        document(expected=[silence()]),
        ["expected[0].until: no such key"],
    ),
    (
        "blank reason",
        document(silences=[silence(reason=" ")]),
        ["silences[0].reason: blank; say why, for whoever reads this next year"],
    ),
    (
        "long reason",
        document(silences=[silence(reason="x" * 501)]),
        ["silences[0].reason: 501 characters, at most 500 are read"],
    ),
    (
        "reason of two lines",
        document(silences=[silence(reason="a\nb")]),
        ["silences[0].reason: has line breaks or control characters; one line of text is wanted"],
    ),
    (
        "reason of a number",
        document(silences=[silence(reason=3)]),
        ["silences[0].reason: 3 is no text"],
    ),
    (
        "half a character",
        document(silences=[silence(reason="\ud800")]),
        ["silences[0].reason: has half a surrogate pair, which is no character"],
    ),
    (
        "naive",
        document(silences=[silence(until="2026-12-01T00:00:00")]),
        [f'silences[0].until: "2026-12-01T00:00:00" {NO_ZONE}'],
    ),
    (
        "date",
        document(silences=[silence(until="2026-12-01")]),
        [f'silences[0].until: "2026-12-01" {NO_TIME}'],
    ),
    (
        "seconds",
        document(silences=[silence(until=1_795_348_800)]),
        [f"silences[0].until: 1795348800 {NO_TIME}"],
    ),
    (
        "a day that is none",
        document(silences=[silence(until="2026-02-30T00:00:00Z")]),
        ['silences[0].until: "2026-02-30T00:00:00Z" is no time that exists'],
    ),
    (
        "beyond all time",
        document(silences=[silence(until="9999-12-31T23:59:59-23:00")]),
        ['silences[0].until: "9999-12-31T23:59:59-23:00" is no time that exists'],
    ),
    # matchers
    (
        "no matcher",
        matching(),
        [
            "expected[0].match: empty, so it would match every flow; give at least one of cidr, port, interface_id, vpc_id, verdict"
        ],
    ),
    (
        "no value",
        matching(port=[]),
        [
            "expected[0].match.port: an empty list matches nothing; leave the key out to match everything"
        ],
    ),
    (
        "too many values",
        matching(port=[*range(101)]),
        ["expected[0].match.port: 101 values, at most 100 are read"],
    ),
    (
        "null matcher",
        matching(vpc_id=None),
        ["expected[0].match.vpc_id[0]: null is no id of a VPC: vpc- and letters or digits"],
    ),
    (
        "host bits",
        matching(cidr=["10.0.0.1", "203.0.113.9/24"]),
        [
            f'expected[0].match.cidr[1]: "203.0.113.9/24" {HOST_BITS}: write 203.0.113.0/24 {WHOLE}, 203.0.113.9 {ONE}'
        ],
    ),
    (
        "host bits of IPv6",
        matching(cidr="2001:DB8::1/32"),
        [
            f'expected[0].match.cidr[0]: "2001:DB8::1/32" {HOST_BITS}: write 2001:db8::/32 {WHOLE}, 2001:db8::1 {ONE}'
        ],
    ),
    (
        "netmask",
        matching(cidr="10.0.0.0/255.0.0.0"),
        [f'expected[0].match.cidr[0]: "10.0.0.0/255.0.0.0" {NO_CIDR}'],
    ),
    (
        "long prefix",
        matching(cidr="10.0.0.0/33"),
        [f'expected[0].match.cidr[0]: "10.0.0.0/33" {NO_CIDR}'],
    ),
    (
        "zone",
        matching(cidr="fe80::1%eth0"),
        [f'expected[0].match.cidr[0]: "fe80::1%eth0" {NO_CIDR}'],
    ),
    ("number", matching(cidr=[1]), [f"expected[0].match.cidr[0]: 1 {NO_CIDR}"]),
    (
        "ports",
        matching(port=["22", -1, 65_536, 22.0, True]),
        [
            f"expected[0].match.port[{at}]: {value} {NO_PORT}"
            for at, value in enumerate(('"22"', "-1", "65536", "22.0", "true"))
        ],
    ),
    (
        "interface",
        matching(interface_id=["{problem}"]),
        [
            'expected[0].match.interface_id[0]: "{problem}" is no id of an interface: eni- and letters or digits'
        ],
    ),
    (
        "verdict",
        matching(verdict="acl"),
        [f'expected[0].match.verdict[0]: "acl" is not one of {VERDICTS}'],
    ),
    (
        "long value",
        matching(vpc_id="\u202e" * 99),
        [
            'expected[0].match.vpc_id[0]: "'
            + "\\u202e" * 6
            + "... is no id of a VPC: vpc- and letters or digits"
        ],
    ),
    (
        "several",
        '{"version": 0, "silences": [{"match": {"cidr": ["x"], "ports": 1}, "reason": "r"}], "expected": 0}',
        [
            "version: 0 is no version known here: 1 is",
            f'silences[0].match.cidr[0]: "x" {NO_CIDR}',
            "silences[0].match.ports: no such key",
            "silences[0].until: missing",
            "expected: a list is wanted, not a number",
        ],
    ),
]


@pytest.mark.parametrize(
    ("text", "expected"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_every_problem_is_told_with_its_place(text: str | bytes, expected: list[str]) -> None:
    assert list(problems(text)) == expected


def test_the_text_of_the_error_lists_the_problems_and_does_not_go_on_for_ever() -> None:
    with pytest.raises(
        PolicyError,
        match=r"^silences\[0\]\.until: missing; silences\[1\]\.match\.cidr\[0\]: 1 is no address",
    ):
        parse_policy(
            document(silences=[{"match": {"port": 1}, "reason": "x"}, silence(match={"cidr": 1})])
        )
    with pytest.raises(PolicyError, match=r"; and 30 more$"):
        parse_policy(matching(port=["x"] * 50))


def test_a_time_is_read_as_in_the_document() -> None:
    assert parse_time("2026-12-01T00:00+01:00") == datetime(2026, 11, 30, 23, tzinfo=UTC)
    with pytest.raises(PolicyError, match=r"^\"now\" is no time like"):
        parse_time("now")


# --- sifting ----------------------------------------------------------------------------------------------------------


def batch_of(*lines: str) -> Batch:
    batch = Batch()
    batch.add_file(io.BytesIO("\n".join((FIELDS, *lines)).encode()), name="flow.log")
    return batch


def places(text: str, line: str = INBOUND, at: datetime = NOW) -> list[str]:
    return [
        muted.place for muted in parse_policy(text).sift(batch_of(line).explanations(), at).muted
    ]


@pytest.mark.parametrize(
    ("matchers", "muted"),
    [
        ({"cidr": "203.0.113.9"}, True),
        ({"cidr": ["198.51.100.0/24", "203.0.113.0/24"]}, True),
        ({"cidr": "0.0.0.0/0"}, True),
        ({"cidr": "203.0.113.8"}, False),
        ({"cidr": "10.0.0.1"}, False),  # the near end
        ({"cidr": "::/0"}, False),
        ({"port": 22}, True),
        ({"port": [23, 22]}, True),
        ({"port": 50122}, False),  # never the ephemeral one
        ({"interface_id": "eni-1"}, True),
        ({"interface_id": "eni-2"}, False),
        ({"vpc_id": "vpc-1"}, True),
        ({"vpc_id": "vpc-2"}, False),
        ({"verdict": "network-acl-or-security-group"}, True),
        ({"verdict": "network-acl"}, False),
        ({"cidr": "203.0.113.9", "port": 22, "interface_id": "eni-1", "vpc_id": "vpc-1"}, True),
        ({"cidr": "203.0.113.9", "port": 23}, False),
    ],
)
def test_all_matchers_have_to_hold_and_any_value_is_enough(
    matchers: dict[str, object], *, muted: bool
) -> None:
    assert places(matching(**matchers)) == ["expected[0]"] * muted


def test_ipv6_is_matched_by_its_leading_bits() -> None:
    line = INBOUND.replace("203.0.113.9", "2001:db8:1::9").replace("10.0.0.1", "2600:1::1")
    assert places(matching(cidr="2001:db8::/32"), line) == ["expected[0]"]
    assert places(matching(cidr="2001:db9::/32"), line) == []
    assert places(matching(cidr="0.0.0.0/0"), line) == []


def test_where_the_direction_is_not_known_either_end_may_match() -> None:
    line = INBOUND.replace("203.0.113.9", "10.0.0.2").replace("ingress", "-")
    (explanation,) = batch_of(line).explanations()
    assert explanation.flow.direction is None
    for end in ("10.0.0.1", "10.0.0.2"):
        assert places(matching(cidr=end), line) == ["expected[0]"]
    assert places(matching(cidr="10.0.0.3"), line) == []


def test_where_no_port_tells_either_logged_one_may_match() -> None:
    line = INBOUND.replace(" 50122 22 ", " 40001 40000 ")
    ports = [port for port in (40_000, 40_001, 40_002) if places(matching(port=port), line)]
    assert ports == [40_000, 40_001]


def test_the_first_entry_that_matches_is_named_silences_before_what_is_expected() -> None:
    text = document(
        expected=[{"match": {"port": 22}, "reason": "always"}],
        silences=[silence(match={"port": 23}), silence(reason="first"), silence(reason="second")],
    )
    policy = parse_policy(text)
    (muted,) = policy.sift(batch_of(INBOUND).explanations(), NOW).muted
    assert (muted.place, muted.entry) == ("silences[1]", policy.silences[1])
    assert policy.matching(muted.explanation) == ("silences[1]", "silences[2]", "expected[0]")
    assert list(policy.entries()) == ["silences[0]", "silences[1]", "silences[2]", "expected[0]"]


@pytest.mark.parametrize(
    ("until", "muted"),
    [
        ("2026-11-22T12:00:00Z", False),
        ("2026-11-22T12:00:01Z", True),
        ("2026-11-22T12:30:00+01:00", False),
    ],
)
def test_a_silence_ends_at_its_time(until: str, *, muted: bool) -> None:
    assert places(document(silences=[silence(until=until)])) == ["silences[0]"] * muted


def test_a_naive_time_is_refused_where_it_matters() -> None:
    with pytest.raises(TypeError):
        parse_policy(document(silences=[silence()])).sift((), NOW.replace(tzinfo=None))


def calls_of(do: Callable[[], object]) -> int:
    """Count the Python functions that are called."""
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        do()
    finally:
        sys.setprofile(None)
    return calls


def test_a_flow_costs_a_few_look_ups_however_many_entries_a_policy_has() -> None:
    blocks = [
        f"{first}.{second}.0.0/{length}"
        for first in (20, 21, 22)
        for second, length in ((0, 14), (64, 16), (128, 20))
    ]
    policy = parse_policy(
        document(
            silences=[
                silence(match={"cidr": blocks, "port": [22, number]})
                for number in range(1_000, 1_050)
            ],
            expected=[
                {"match": {"cidr": f"198.51.100.{number}"}, "reason": "x"} for number in range(200)
            ],
        )
    )
    (explanation,) = batch_of(INBOUND).explanations()
    once = calls_of(lambda: policy.sift([explanation], NOW))
    often = calls_of(lambda: policy.sift([explanation] * 1_001, NOW))
    assert (often - once) / 1_000 < 50 < len(policy.silences) + len(policy.expected)
    assert len(policy.sift([explanation] * 1_000, NOW).kept) == 1_000


# --- schema and example -----------------------------------------------------------------------------------------------


def test_the_published_schema_is_what_the_code_says() -> None:
    """``UPDATE_GOLDEN=1 make test`` writes the file anew; read the difference before committing it."""
    generated = json.dumps(policy_schema(), indent=2) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        SCHEMA.write_text(generated)
    assert SCHEMA.read_text() == generated


def test_the_schema_is_one_and_describes_every_property() -> None:
    schema: dict[str, Any] = policy_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert {"$schema", "$id", "title", "description"} <= schema.keys()
    parts = [schema, *(part for part in schema["$defs"].values() if part["type"] == "object")]
    assert len(parts) == 4
    for part in parts:
        assert part["additionalProperties"] is False
        assert part["description"]
        assert [
            name for name, about in part["properties"].items() if not about.get("description")
        ] == []


GOOD = [
    document(),
    document(minimum_severity="critical", silences=[silence()], expected=[]),
    matching(
        cidr=["0.0.0.0/0", "::/0", "::ffff:10.0.0.1", "10.0.0.1"],
        port=0,
        verdict=["rules-allow"],
        vpc_id="vpc-1",
    ),
    EXAMPLE.read_text(),
]


@pytest.mark.parametrize("text", GOOD, ids=["least", "silence", "matchers", "example"])
def test_what_the_code_reads_the_schema_accepts(text: str) -> None:
    parse_policy(text)
    jsonschema.validate(
        json.loads(text), policy_schema(), format_checker=jsonschema.FormatChecker()
    )


# What JSON Schema has no words for, or json has already dropped.
BEYOND_SCHEMA = {
    "a key twice",
    "a day that is none",
    "beyond all time",
    "host bits",
    "host bits of IPv6",
    "long prefix",
    "half a character",
}
NO_JSON = {"empty", "cut", "no text", "deep", "long number", "too large", "too large in bytes"}


@pytest.mark.parametrize(
    ("name", "text"), [case[:2] for case in BAD if case[0] not in BEYOND_SCHEMA | NO_JSON]
)
def test_what_the_code_refuses_the_schema_refuses(name: str, text: str) -> None:
    if name == "ports":  # to JSON Schema 22.0 is an integer
        text = text.replace("22.0", "22.5")
    if name == "version true":
        text = text.replace("true", "null")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(text), policy_schema())


def test_the_example_shows_every_key() -> None:
    example = parse_policy(EXAMPLE.read_bytes())
    entries = example.entries().values()
    assert {name for entry in entries for name in entry.match.model_fields_set} == set(
        Match.model_fields
    )
    assert example.model_fields_set == set(Policy.model_fields)
