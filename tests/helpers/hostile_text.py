"""Hypothesis strategies of text that attacks its reader, in records, tags and descriptions."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from flowverdict.alerts.grouping import group
from flowverdict.alerts.notices import lost_records
from flowverdict.core.untrusted import is_account_id
from flowverdict.flowlog.fields import FIELDS as FIELDS_BY_NAME
from flowverdict.flowlog.fields import FieldKind
from flowverdict.network.snapshot import parse_snapshot
from flowverdict.verdict.batch import Batch, FixedConfig

if TYPE_CHECKING:
    from flowverdict.alerts.model import Notification
    from flowverdict.verdict.explanation import Explanation

SCENARIOS = Path(__file__).parents[1] / "scenarios"
SHOP = json.loads((SCENARIOS / "shop.config.json").read_text())
PIECES = [
    *(
        "<!channel>",
        "<@U012AB3CD>",
        "<https://evil.example|click>",
        "[click](https://evil.example)",
        "&lt;",
        "&amp;",
        "```",
        "`id`",
    ),
    *(
        "*Fix*",
        "_x_",
        "|",
        ":rotating_light:",
        "$(touch pwned)",
        "${IFS}",
        ";touch pwned;",
        "'",
        '"',
        "\\",
        "&&",
        ">pwned",
        "#",
    ),
    *(
        "? aws ec2 evil",
        " aws s3 rb s3://x",
        "--endpoint-url=https://evil.example",
        "file:///etc/passwd",
        "},{GroupId=sg-0",
        "*",
        "%0a",
    ),
    *(
        "\n",
        "\r",
        "\t",
        "\x00",
        "\x1b[2J",
        "\x9b2J",
        "\x85",
        "\u2028",
        "\u2029",
        "\u202e",
        "\u2066",
        "\u200b",
        "\ufeff",
        "\u0430ws",
    ),
    *(
        "\N{FIRE}",
        "\u05e9",
        "\ud800",
        "[flowverdict CRITICAL]",
        '{"level":"INFO"}',
        "evil.com/#",
        "..",
        "/",
        "x" * 300,
    ),
]
FREE = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=6).map("".join)
_WORDS = ["".join(one for one in piece if "!" <= one <= "~") for piece in PIECES]
WORD = st.lists(st.sampled_from([word for word in _WORDS if word]), min_size=1, max_size=4).map(
    "".join
)
FIELDS = (
    "account-id",
    "interface-id",
    "vpc-id",
    "subnet-id",
    "instance-id",
    "region",
    "pkt-src-aws-service",
    "reject-reason",
)
LOGS = (
    "rules-outbound-response",
    "rules-inbound-request",
    "rules-both-layers",
    "rules-gateway-endpoint",
    "inbound-request",
)
TRANSIT_GATEWAY_LOGS = tuple(
    f"transit-gateway-{name}"
    for name in ("no-route", "blackhole-route", "mtu-exceeded", "ttl-expired")
)
TRANSIT_GATEWAY_NAMES = (
    "account-id",
    "tgw-id",
    "tgw-attachment-id",
    "tgw-src-vpc-id",
    "tgw-dst-vpc-id",
    "tgw-src-subnet-id",
    "region",
)


def hostile_log(name: str, edits: dict[str, str]) -> bytes:
    """Return a scenario's flow log with other values in some fields, or with more fields.

    An id keeps its prefix, and an account id stays one: a line with another is malformed.
    """
    header, *lines = (SCENARIOS / f"{name}.log").read_text().splitlines()
    names = header.split()
    rows = [line.split() for line in lines]
    for field, free in edits.items():
        if FIELDS_BY_NAME[field].kind is FieldKind.ACCOUNT and not is_account_id(free):
            continue
        value = FIELDS_BY_NAME[field].prefix + free
        if field in names:
            for row in rows:
                row[names.index(field)] = value
        else:
            names.append(field)
            for row in rows:
                row.append(value)
    return "\n".join(" ".join(row) for row in [names, *rows]).encode()


def hostile_shop(tag: str, description: str) -> dict[str, Any]:
    """Return the shop's configuration with hostile text wherever its owners write freely."""
    shop: dict[str, Any] = json.loads(json.dumps(SHOP))
    tags = [{"Key": key, "Value": tag} for key in ("Name", "Owner", "team", tag)]
    for listed in shop.values():
        for item in listed if isinstance(listed, list) else ():
            item |= {"TagSet": tags, "Tags": tags, "Description": description}
            if "GroupName" in item:
                item["GroupName"] = tag
            for permission in item.get("IpPermissions", []):
                for one in permission.get("IpRanges", []):
                    one["Description"] = description
    return shop


EXPLAINED = st.builds(
    lambda log, shop, key: (
        hostile_log(log[0], {"region": "eu-west-1"} | log[1]),
        shop,
        key,
    ),
    st.tuples(st.sampled_from(LOGS), st.dictionaries(st.sampled_from(FIELDS), WORD, max_size=3))
    | st.tuples(
        st.sampled_from(TRANSIT_GATEWAY_LOGS),
        st.dictionaries(st.sampled_from(TRANSIT_GATEWAY_NAMES), WORD, max_size=3),
    ),
    st.none()
    | st.builds(hostile_shop, FREE, FREE),  # without rules there is no fix, but more next steps
    FREE,
)
type Input = tuple[bytes, dict[str, Any] | None, str]
# Examples of hostile text may be large, or slow to build.
lenient = settings(suppress_health_check=list(HealthCheck))


def explained(given_: Input) -> tuple[list[Explanation], Batch]:
    """Return the explanations of an example's rejected flows, and the batch that read it."""
    log, shop, key = given_
    batch = Batch()
    batch.add_file(io.BytesIO(log), name=f"s3://bucket/{key}")
    return batch.explanations(None if shop is None else FixedConfig(parse_snapshot(shop))), batch


def notifications(given_: Input) -> list[Notification]:
    """Return the alerts and notices of an example, of which there is at least one."""
    explanations, batch = explained(given_)
    found = [
        detection.notification
        for detection in (*group(explanations), *lost_records(batch.flows.lost()))
    ]
    assert found
    return found
