"""Policy documents for tests: builders, and each document that is refused, with its problems."""

from __future__ import annotations

import json

from flowverdict.policy.document import MAX_DOCUMENT_BYTES

UNTIL = "2026-12-01T00:00:00Z"


def document(**keys: object) -> str:
    return json.dumps({"version": 1, **keys})


def silence(**keys: object) -> dict[str, object]:
    return {"match": {"port": 22}, "until": UNTIL, "reason": "test", **keys}


def matching(**matchers: object) -> str:
    return document(expected=[{"match": matchers, "reason": "test"}])


VERDICTS = (
    "'security-group', 'network-acl', 'network-acl-and-security-group', "
    "'network-acl-or-security-group', 'block-public-access', 'encryption-controls', "
    "'closed-connection', 'rules-allow', 'no-route', 'blackhole-route', 'mtu-exceeded', "
    "'ttl-expired' or 'undetermined'"
)
NO_CIDR = "is no address and no CIDR block"
HOST_BITS = "has bits beyond its prefix"
WHOLE, ONE = "for the whole block", "for the one address"
NO_PORT = "is no port: a whole number from 0 to 65535 is"
NO_TIME = "is no time like 2026-12-01T00:00:00Z"
NO_ZONE = "does not say in which time zone: end it with Z for UTC, or an offset like +01:00"
REFUSED: list[tuple[str, str | bytes, list[str]]] = [
    # the whole
    ("empty", "", ["the document: not JSON: Expecting value at line 1, column 1"]),
    (
        "cut",
        '{"version": 1,\n',
        [
            (
                "the document: not JSON: Expecting property name enclosed in double quotes "
                "at line 2, column 1"
            )
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
            (
                "expected[0].match: empty, so it would match every flow; "
                "give at least one of cidr, port, interface_id, vpc_id, verdict, account_id, "
                "region, subnet_id, security_group_id, network_acl_id, protocol, owner, severity, "
                "fingerprint"
            )
        ],
    ),
    (
        "no value",
        matching(port=[]),
        [
            (
                "expected[0].match.port: an empty list matches nothing; "
                "leave the key out to match everything"
            )
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
            (
                f'expected[0].match.cidr[1]: "203.0.113.9/24" {HOST_BITS}: '
                f"write 203.0.113.0/24 {WHOLE}, 203.0.113.9 {ONE}"
            )
        ],
    ),
    (
        "host bits of IPv6",
        matching(cidr="2001:DB8::1/32"),
        [
            (
                f'expected[0].match.cidr[0]: "2001:DB8::1/32" {HOST_BITS}: '
                f"write 2001:db8::/32 {WHOLE}, 2001:db8::1 {ONE}"
            )
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
            (
                'expected[0].match.interface_id[0]: "{problem}" is no id of an interface: '
                "eni- and letters or digits"
            )
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
        (
            '{"version": 0, "silences": [{"match": {"cidr": ["x"], "ports": 1}, "reason": "r"}], '
            '"expected": 0}'
        ),
        [
            "version: 0 is no version known here: 1 is",
            f'silences[0].match.cidr[0]: "x" {NO_CIDR}',
            "silences[0].match.ports: no such key",
            "silences[0].until: missing",
            "expected: a list is wanted, not a number",
        ],
    ),
]
