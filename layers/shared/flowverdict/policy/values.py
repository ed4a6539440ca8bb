"""Define the values of a policy document: their checks, error texts and JSON Schema.

Values are checked strictly: a wrong value is refused with a text that says what is expected.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_interface
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from flowverdict.alerts.matching import Key, parse_value
from flowverdict.alerts.model import Severity
from flowverdict.core.errors import PolicyError
from flowverdict.core.untrusted import SLACK_CHANNEL, is_slack_channel
from flowverdict.verdict.model import VerdictKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowverdict.core.addresses import Network


MAX_VALUES = 100  # of a matcher
MAX_REASON = 500  # characters: a reason stands in one line
MAX_SHOWN = 40  # characters of a wrong value or key; enough to find it by

# As its schema says it: the digits of an address, never a netmask or a zone.
_CIDR = re.compile(r"[0-9a-fA-F:.]{2,45}(/[0-9]{1,3})?")
# RFC 3339 but for the offset, whose lack is worth a message of its own.
_TIME = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(?P<offset>Z|[+-]\d{2}:\d{2})?", re.ASCII
)
_TOPIC_ARN = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}")
# Neither control characters nor anything else that ends a line.
_LINE = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*"


def shown(value: object) -> str:
    """Return a value as JSON in ASCII, cut to ``MAX_SHOWN`` characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def wrong(problem: str) -> PydanticCustomError:
    """Return the error of a wrong value, with this text."""
    # Passed as a value, so that pydantic does not read braces in it as placeholders.
    return PydanticCustomError("policy", "{problem}", {"problem": problem})


def _to_network(value: object) -> Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if not isinstance(value, str) or not _CIDR.fullmatch(value):
        raise wrong(f"{shown(value)} is no address and no CIDR block")
    try:
        interface = ip_interface(value)
    except ValueError as error:
        raise wrong(f"{shown(value)} is no address and no CIDR block") from error
    if interface.ip != interface.network.network_address:
        raise wrong(
            f"{shown(value)} has bits beyond its prefix: write {interface.network} "
            f"for the whole block, {interface.ip} for the one address"
        )
    return interface.network


def _to_port(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 65_535:  # noqa: PLR2004 - 16 bits
        raise wrong(f"{shown(value)} is no port: a whole number from 0 to 65535 is")
    return value


def _to_identifier(prefix: str, what: str) -> Callable[[object], str]:
    pattern = re.compile(rf"{prefix}-[0-9a-z]{{1,40}}")

    def check(value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise wrong(f"{shown(value)} is no id of {what}: {prefix}- and letters or digits")
        return value

    return check


def _to_text(key: Key, what: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if isinstance(value, str):
            with suppress(ValueError):
                return str(parse_value(key, value))
        raise wrong(f"{shown(value)} is not {what}")

    return check


def _to_protocol(value: object) -> int:
    if isinstance(value, int | str) and not isinstance(value, bool):
        with suppress(ValueError):
            number = parse_value(Key.PROTOCOL, str(value))
            if isinstance(number, int):
                return number
    raise wrong(f"{shown(value)} is no protocol: a number up to 255 is, or TCP, UDP, ICMP")


def _to_topic(value: object) -> str:
    if not isinstance(value, str) or not _TOPIC_ARN.fullmatch(value):
        raise wrong(f"{shown(value)} is not the ARN of an SNS topic")
    return value


def _to_slack_channel(value: object) -> str:
    if not isinstance(value, str) or not is_slack_channel(value):
        raise wrong(
            f"{shown(value)} is not a channel of Slack: its id like C012AB3CD, or #name in small "
            "letters"
        )
    return value


def _to_time(value: object) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise wrong(f"{shown(value)} is no time like 2026-12-01T00:00:00Z")
    if match["offset"] is None:
        raise wrong(
            f"{shown(value)} does not say in which time zone: "
            "end it with Z for UTC, or an offset like +01:00"
        )
    try:
        return datetime.fromisoformat(match[0]).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise wrong(f"{shown(value)} is no time that exists") from error


def _to_reason(value: object) -> str:
    if not isinstance(value, str):
        raise wrong(f"{shown(value)} is no text")
    if not value.strip():
        raise wrong("blank; say why, for whoever reads this next year")
    if len(value) > MAX_REASON:
        raise wrong(f"{len(value):,} characters, at most {MAX_REASON} are read")
    if not re.fullmatch(_LINE, value):
        raise wrong("has line breaks or control characters; one line of text is wanted")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise wrong("has half a surrogate pair, which is no character") from error
    return value.strip()


def to_version(value: object) -> int:
    """Check the version of a document."""
    if type(value) is not int or value != 1:  # a bool equals an int too
        raise wrong(f"{shown(value)} is no version known here: 1 is")
    return value


def to_list(value: object) -> object:
    """Return a list as a tuple, and a single value as a tuple of that value."""
    if isinstance(value, list | tuple):
        if not value:
            raise wrong("an empty list matches nothing; leave the key out to match everything")
        return tuple(value)
    return (value,)


Cidr = Annotated[
    IPv4Network | IPv6Network,
    PlainValidator(_to_network),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{_CIDR.pattern}$",
            "description": "CIDR block without bits beyond its prefix, or address; IPv4 or IPv6",
        }
    ),
]
Port = Annotated[
    int,
    PlainValidator(_to_port),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 65_535, "description": "port"}),
]
InterfaceId = Annotated[
    str,
    PlainValidator(_to_identifier("eni", "an interface")),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^eni-[0-9a-z]{1,40}$",
            "description": "id of a network interface",
        }
    ),
]
VpcId = Annotated[
    str,
    PlainValidator(_to_identifier("vpc", "a VPC")),
    WithJsonSchema(
        {"type": "string", "pattern": "^vpc-[0-9a-z]{1,40}$", "description": "id of a VPC"}
    ),
]
SubnetId = Annotated[
    str,
    PlainValidator(_to_identifier("subnet", "a subnet")),
    WithJsonSchema(
        {"type": "string", "pattern": "^subnet-[0-9a-z]{1,40}$", "description": "id of a subnet"}
    ),
]
SecurityGroupId = Annotated[
    str,
    PlainValidator(_to_identifier("sg", "a security group")),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^sg-[0-9a-z]{1,40}$",
            "description": "id of a security group",
        }
    ),
]
NetworkAclId = Annotated[
    str,
    PlainValidator(_to_identifier("acl", "a network ACL")),
    WithJsonSchema(
        {"type": "string", "pattern": "^acl-[0-9a-z]{1,40}$", "description": "id of a network ACL"}
    ),
]
AccountId = Annotated[
    str,
    PlainValidator(_to_text(Key.ACCOUNT, "an account ID: 12 digits")),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]{12}$", "description": "account ID"}),
]
Region = Annotated[
    str,
    PlainValidator(_to_text(Key.REGION, "a Region like eu-west-1")),
    WithJsonSchema({"type": "string", "description": "Region"}),
]
Protocol = Annotated[
    int,
    PlainValidator(_to_protocol),
    WithJsonSchema(
        {
            "type": ["integer", "string"],
            "minimum": 0,
            "maximum": 255,
            "description": "protocol: its number, or TCP, UDP, ICMP ...",
        }
    ),
]
Owner = Annotated[
    str,
    PlainValidator(_to_text(Key.OWNER, "NAME=VALUE of a tag, or a tag's value, in one line")),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": 256,
            "description": "NAME=VALUE of a tag that names an owner, or the value of any such tag",
        }
    ),
]
FingerprintText = Annotated[
    str,
    PlainValidator(_to_text(Key.FINGERPRINT, "a fingerprint: 32 hexadecimal digits")),
    WithJsonSchema(
        {"type": "string", "pattern": "^[0-9a-f]{32}$", "description": "fingerprint of an alert"}
    ),
]
TopicArn = Annotated[
    str | None,
    PlainValidator(_to_topic),
    WithJsonSchema(
        {"type": "string", "pattern": f"^{_TOPIC_ARN.pattern}$", "description": "ARN of a topic"}
    ),
]
SlackChannel = Annotated[
    str | None,
    PlainValidator(_to_slack_channel),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^({SLACK_CHANNEL.pattern})$",
            "description": "channel of Slack: its id, or its name with #",
        }
    ),
]
Severe = Annotated[Severity, Field(strict=False)]
Verdict = Annotated[VerdictKind, Field(strict=False)]  # strict takes no text for an enum's member
Reason = Annotated[
    str,
    PlainValidator(_to_reason),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_REASON,
            "pattern": rf"^{_LINE}\S{_LINE}$",
        }
    ),
]
Time = Annotated[
    datetime,
    PlainValidator(_to_time),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "pattern": "(Z|[+-][0-9]{2}:[0-9]{2})$"}
    ),
]
Bounded = Field(min_length=1, max_length=MAX_VALUES)


def parse_time(text: str) -> datetime:
    """Parse a time with its offset from UTC, as in the document; return it in UTC.

    Raises
    ------
    PolicyError
        The text is not a time, or has no offset.
    """
    try:
        return _to_time(text)
    except PydanticCustomError as error:
        raise PolicyError([error.message()]) from error
