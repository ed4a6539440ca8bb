"""The policy: which rejected flows nobody wants to hear of, in a document that users change without deploying anything.

One JSON document, whose schema is ``docs/schemas/policy.schema.json`` and which ``docs/policy.example.json`` shows:

- ``silences`` mute flows until a time: an announced test, a migration;
- ``expected`` mutes flows for good: a filter that does what it is there for;
- ``minimum_severity`` drops alerts that are less severe.

An entry matches a flow if all of its matchers do, and a matcher if any of its values does. The first entry that matches mutes
the flow, silences before what is expected, each in the order of the document.

Whatever is not understood is refused, with the place of each problem: a misspelt key that were passed over would mute more, or
less, than its author meant.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticCustomError

from flowverdict.alerts import service_port
from flowverdict.decision import VerdictKind
from flowverdict.document import Severity
from flowverdict.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pydantic_core import ErrorDetails

    from flowverdict.explain import Explanation

MAX_DOCUMENT_BYTES = 65_536  # some 300 entries with their reasons; Parameter Store holds 8 KiB at most, AppConfig more
MAX_ENTRIES = 200  # of each kind
MAX_VALUES = 100  # of a matcher
MAX_REASON = 500  # characters: a reason stands in one line
_MAX_SHOWN = 40  # characters of a wrong value or key; enough to find it by

type Network = IPv4Network | IPv6Network

# As its schema says it: the digits of an address, never a netmask or a zone.
_CIDR = re.compile(r"[0-9a-fA-F:.]{2,45}(/[0-9]{1,3})?")
# RFC 3339 but for the offset, whose lack is worth a message of its own.
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(?P<offset>Z|[+-]\d{2}:\d{2})?", re.ASCII)
_LINE = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*"  # no control characters, and nothing else that ends a line


# --- values -----------------------------------------------------------------------------------------------------------


def _shown(value: object) -> str:
    """Show a value as its author wrote it: as JSON, in ASCII, and never much of it."""
    text = json.dumps(value, default=str)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def _wrong(problem: str) -> PydanticCustomError:
    # As a value, so that pydantic takes no brace of it for a place to fill in.
    return PydanticCustomError("policy", "{problem}", {"problem": problem})


def _to_network(value: object) -> Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if not isinstance(value, str) or not _CIDR.fullmatch(value):
        raise _wrong(f"{_shown(value)} is no address and no CIDR block")
    try:
        interface = ip_interface(value)
    except ValueError as error:
        raise _wrong(f"{_shown(value)} is no address and no CIDR block") from error
    if interface.ip != interface.network.network_address:
        raise _wrong(
            f"{_shown(value)} has bits beyond its prefix: write {interface.network} for the whole block, "
            f"{interface.ip} for the one address"
        )
    return interface.network


def _to_port(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 65_535:  # noqa: PLR2004 - 16 bits
        raise _wrong(f"{_shown(value)} is no port: a whole number from 0 to 65535 is")
    return value


def _to_identifier(prefix: str, what: str) -> Callable[[object], str]:
    pattern = re.compile(rf"{prefix}-[0-9a-z]{{1,40}}")

    def check(value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise _wrong(f"{_shown(value)} is no id of {what}: {prefix}- and letters or digits")
        return value

    return check


def _to_time(value: object) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _wrong(f"{_shown(value)} is no time like 2026-12-01T00:00:00Z")
    if match["offset"] is None:
        raise _wrong(f"{_shown(value)} does not say in which time zone: end it with Z for UTC, or an offset like +01:00")
    try:
        return datetime.fromisoformat(match[0]).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _wrong(f"{_shown(value)} is no time that exists") from error


def _to_reason(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(f"{_shown(value)} is no text")
    if not value.strip():
        raise _wrong("blank; say why, for whoever reads this next year")
    if len(value) > MAX_REASON:
        raise _wrong(f"{len(value):,} characters, at most {MAX_REASON} are read")
    if not re.fullmatch(_LINE, value):
        raise _wrong("has line breaks or control characters; one line of text is wanted")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _wrong("has half a surrogate pair, which is no character") from error
    return value.strip()


def _to_version(value: object) -> int:
    if type(value) is not int or value != 1:  # a bool equals an int too
        raise _wrong(f"{_shown(value)} is no version known here: 1 is")
    return value


def _to_list(value: object) -> object:
    """Take a single value for a list of one."""
    if isinstance(value, list | tuple):
        if not value:
            raise _wrong("an empty list matches nothing; leave the key out to match everything")
        return tuple(value)
    return (value,)


_Cidr = Annotated[
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
_Port = Annotated[
    int, PlainValidator(_to_port), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 65_535, "description": "port"})
]
_InterfaceId = Annotated[
    str,
    PlainValidator(_to_identifier("eni", "an interface")),
    WithJsonSchema({"type": "string", "pattern": "^eni-[0-9a-z]{1,40}$", "description": "id of a network interface"}),
]
_VpcId = Annotated[
    str,
    PlainValidator(_to_identifier("vpc", "a VPC")),
    WithJsonSchema({"type": "string", "pattern": "^vpc-[0-9a-z]{1,40}$", "description": "id of a VPC"}),
]
_Verdict = Annotated[VerdictKind, Field(strict=False)]  # strict takes no text for an enum's member
_Reason = Annotated[
    str,
    PlainValidator(_to_reason),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_REASON, "pattern": rf"^{_LINE}\S{_LINE}$"}),
]
_Time = Annotated[
    datetime,
    PlainValidator(_to_time),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": "(Z|[+-][0-9]{2}:[0-9]{2})$"}),
]
_Bounded = Field(min_length=1, max_length=MAX_VALUES)


# --- the document -----------------------------------------------------------------------------------------------------


class _Strict(BaseModel):
    """What all parts of the document have in common: nothing unknown, nothing guessed, nothing changed later."""

    # Built when first used: nothing happens at import, as in every other module.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class Match(_Strict):
    """Which flows an entry is about: those for which all of the given matchers hold. At least one is given.

    In Python a matcher that is not given is empty.
    """

    cidr: Annotated[
        tuple[_Cidr, ...], BeforeValidator(_to_list, json_schema_input_type=_Cidr | Annotated[list[_Cidr], _Bounded]), _Bounded
    ] = Field(
        default=(),
        description="Remote address of the packet: one of these blocks or addresses. Where the direction is not known, either end.",
    )
    port: Annotated[
        tuple[_Port, ...], BeforeValidator(_to_list, json_schema_input_type=_Port | Annotated[list[_Port], _Bounded]), _Bounded
    ] = Field(
        default=(),
        description="Port of the service that was to be reached: one of these. Where no port tells, either logged port.",
    )
    interface_id: Annotated[
        tuple[_InterfaceId, ...],
        BeforeValidator(_to_list, json_schema_input_type=_InterfaceId | Annotated[list[_InterfaceId], _Bounded]),
        _Bounded,
    ] = Field(default=(), description="Network interface that logged the flow: one of these.")
    vpc_id: Annotated[
        tuple[_VpcId, ...], BeforeValidator(_to_list, json_schema_input_type=_VpcId | Annotated[list[_VpcId], _Bounded]), _Bounded
    ] = Field(default=(), description="VPC of the flow, which the flow log has to carry: one of these.")
    verdict: Annotated[
        tuple[_Verdict, ...],
        BeforeValidator(_to_list, json_schema_input_type=_Verdict | Annotated[list[_Verdict], _Bounded]),
        _Bounded,
    ] = Field(default=(), description="What rejected the flow, as the verdict says: one of these.")

    @model_validator(mode="after")
    def _asks_for_something(self) -> Match:
        if not self.model_fields_set:
            raise _wrong(f"empty, so it would match every flow; give at least one of {', '.join(type(self).model_fields)}")
        return self


class Silence(_Strict):
    """Rejected flows that are muted until a time."""

    match: Match = Field(description="Which flows.")
    until: _Time = Field(description="When the silence ends: a time with its offset from UTC. From then on nothing is muted.")
    reason: _Reason = Field(description="Why, in one line, for whoever reads this later.")

    def is_over(self, now: datetime) -> bool:
        """Whether the silence has ended at an aware time."""
        return self.until <= now


class Expected(_Strict):
    """Rejected flows that are wanted, and muted for good."""

    match: Match = Field(description="Which flows.")
    reason: _Reason = Field(description="Why they are wanted, in one line, for whoever reads this later.")


type Entry = Silence | Expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Muted:
    """A rejected flow that nobody wants to hear of, the entry that says so, and its place: ``silences[0]``."""

    explanation: Explanation
    place: str
    entry: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Sifted:
    """What is left of some explanations, and what is not; each in the order in which they were given."""

    kept: tuple[Explanation, ...]
    muted: tuple[Muted, ...]


class Policy(_Strict):
    """Which rejected flows nobody wants to hear of, and how severe an alert has to be to be sent.

    Without arguments it mutes and drops nothing.
    """

    version: Annotated[int, PlainValidator(_to_version), WithJsonSchema({"const": 1})] = Field(
        default=1, description="Version of this format."
    )
    minimum_severity: Annotated[Severity, Field(strict=False)] = Field(
        default=Severity.INFO, description="Least severity of an alert that is sent; info sends all."
    )
    silences: Annotated[tuple[Silence, ...], Field(strict=False, max_length=MAX_ENTRIES)] = Field(
        default=(), description="Flows that are muted until a time. The first entry that matches counts."
    )
    expected: Annotated[tuple[Expected, ...], Field(strict=False, max_length=MAX_ENTRIES)] = Field(
        default=(), description="Flows whose rejection is wanted, muted for good. Asked after all silences."
    )

    def allows(self, severity: Severity) -> bool:
        """Whether alerts of this severity are sent."""
        return severity.rank <= self.minimum_severity.rank

    def entries(self) -> dict[str, Entry]:
        """Give all entries by their places, in the order in which they are asked."""
        return dict(self._placed)

    def sift(self, explanations: Iterable[Explanation], now: datetime) -> Sifted:
        """Split explanations into those that are kept and those that an entry mutes.

        The first entry that matches is named; silences that have ended match nothing. What happens to one explanation does
        not depend on the others.

        Parameters
        ----------
        now
            The time at which silences have ended or not.

        Raises
        ------
        TypeError
            ``now`` is naive and there are silences.
        """
        asked = 0
        for position, (_, entry) in enumerate(self._placed):
            if not (isinstance(entry, Silence) and entry.is_over(now)):
                asked |= 1 << position
        kept: list[Explanation] = []
        muted: list[Muted] = []
        for explanation in explanations:
            matching = self._index.matching(explanation, asked) if asked else 0
            if not matching:
                kept.append(explanation)
                continue
            place, entry = self._placed[_first(matching)]
            muted.append(Muted(explanation=explanation, place=place, entry=entry))
        return Sifted(kept=tuple(kept), muted=tuple(muted))

    def matching(self, explanation: Explanation) -> tuple[str, ...]:
        """Give the places of all entries that match, in order, whether or not they have ended."""
        found = self._index.matching(explanation, (1 << len(self._placed)) - 1)
        return tuple(place for position, (place, _) in enumerate(self._placed) if found >> position & 1)

    @cached_property
    def _placed(self) -> tuple[tuple[str, Entry], ...]:
        kinds: tuple[tuple[str, tuple[Entry, ...]], ...] = (("silences", self.silences), ("expected", self.expected))
        return tuple((f"{kind}[{number}]", entry) for kind, entries in kinds for number, entry in enumerate(entries))

    @cached_property
    def _index(self) -> _Index:
        return _Index.of([entry.match for _, entry in self._placed])


# --- matching ---------------------------------------------------------------------------------------------------------
#
# Every batch asks all entries about every flow, so the question is turned round: what a flow has is looked up, and the answer is
# the set of entries that ask for it, as the bits of a number. However many entries there are, a flow costs a few look-ups.


def _first(matching: int) -> int:
    return (matching & -matching).bit_length() - 1


@dataclass(frozen=True, slots=True)
class _Values[T]:
    """One matcher of all entries: a bit for each entry without it, and those of the entries that ask for a value."""

    indifferent: int
    asking: dict[T, int]

    @classmethod
    def of(cls, given: list[tuple[T, ...]]) -> _Values[T]:
        asking: dict[T, int] = {}
        indifferent = 0
        for position, values in enumerate(given):
            indifferent |= 0 if values else 1 << position
            for value in values:
                asking[value] = asking.get(value, 0) | 1 << position
        return cls(indifferent, asking)

    def matching(self, values: Iterable[T]) -> int:
        found = self.indifferent
        for value in values:
            found |= self.asking.get(value, 0)
        return found


@dataclass(frozen=True, slots=True)
class _Networks:
    """The same for address blocks, which are looked up by their leading bits, once for each length that occurs."""

    indifferent: int
    asking: dict[int, dict[int, _Values[int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, given: list[tuple[Network, ...]]) -> _Networks:
        networks = cls(_Values.of(given).indifferent)
        for position, blocks in enumerate(given):
            for block in blocks:
                beyond = block.max_prefixlen - block.prefixlen
                lengths = networks.asking.setdefault(block.version, {})
                asking = lengths.setdefault(beyond, _Values(0, {})).asking
                leading = int(block.network_address) >> beyond
                asking[leading] = asking.get(leading, 0) | 1 << position
        return networks

    def matching(self, addresses: Iterable[IPv4Address | IPv6Address]) -> int:
        found = self.indifferent
        for address in addresses:
            number = int(address)
            for beyond, values in self.asking.get(address.version, {}).items():
                found |= values.matching((number >> beyond,))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    cidr: _Networks
    port: _Values[int]
    interface_id: _Values[str]
    vpc_id: _Values[str]
    verdict: _Values[VerdictKind]

    @classmethod
    def of(cls, matches: list[Match]) -> _Index:
        return cls(
            cidr=_Networks.of([match.cidr for match in matches]),
            port=_Values.of([match.port for match in matches]),
            interface_id=_Values.of([match.interface_id for match in matches]),
            vpc_id=_Values.of([match.vpc_id for match in matches]),
            verdict=_Values.of([match.verdict for match in matches]),
        )

    def matching(self, explanation: Explanation, asked: int) -> int:
        """Give those of the entries asked that match, each by its bit; the cheap matchers first."""
        flow = explanation.flow
        found = asked & self.verdict.matching((explanation.verdict.kind,))
        if found and self.vpc_id.asking:
            found &= self.vpc_id.matching(_known(flow.context.vpc_id))
        if found and self.interface_id.asking:
            found &= self.interface_id.matching(_known(flow.interface_id))
        if found and self.port.asking:
            found &= self.port.matching(_ports(explanation))
        if found and self.cidr.asking:
            found &= self.cidr.matching(_remotes(explanation))
        return found


def _known[T](*values: T | None) -> tuple[T, ...]:
    return tuple(value for value in values if value is not None)


def _ports(explanation: Explanation) -> tuple[int, ...]:
    port, key = service_port(explanation), explanation.flow.key
    return (port,) if port is not None else _known(key.source_port, key.destination_port)


def _remotes(explanation: Explanation) -> tuple[IPv4Address | IPv6Address, ...]:
    flow = explanation.flow
    return _known(flow.remote) if flow.direction is not None else _known(flow.key.packet_source, flow.key.packet_destination)


# --- reading ----------------------------------------------------------------------------------------------------------


def parse_policy(text: str | bytes) -> Policy:
    """Read a document.

    Parameters
    ----------
    text
        JSON, at most 64 KiB of it; bytes may be UTF-8, UTF-16 or UTF-32.

    Raises
    ------
    PolicyError
        The document is not valid. Every problem is told with its place; values and keys are shown cut and escaped, and only
        where a value of the kind is expected.
    """
    size = len(text) if isinstance(text, bytes) else len(text.encode(errors="surrogatepass"))
    if size > MAX_DOCUMENT_BYTES:
        raise PolicyError([f"the document: larger than {MAX_DOCUMENT_BYTES:,} bytes"])
    problems: list[str] = []

    def no_key_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
        # json keeps the last of two, and nobody would learn that half of the silences are gone.
        given = dict(pairs)
        if len(given) < len(pairs):
            twice = sorted({key for key in given if sum(key == one for one, _ in pairs) > 1})
            problems.extend(f"the document: {_shown(key)} is given twice in one object" for key in twice)
        return given

    try:
        document = json.loads(text, object_pairs_hook=no_key_twice)
    except json.JSONDecodeError as error:
        raise PolicyError([f"the document: not JSON: {error.msg} at line {error.lineno}, column {error.colno}"]) from error
    except (ValueError, RecursionError) as error:
        raise PolicyError(["the document: not JSON that can be read"]) from error
    if isinstance(document, dict) and "version" not in document:
        problems.append("version: missing")  # a later version would otherwise be taken for this one
    try:
        policy = Policy.model_validate(document)
    except ValidationError as error:
        problems.extend(_problem(one) for one in error.errors(include_url=False))
        raise PolicyError(problems) from error
    if problems:
        raise PolicyError(problems)
    return policy


def parse_time(text: str) -> datetime:
    """Read a time with its offset from UTC, as the document has them; gives it in UTC.

    Raises
    ------
    PolicyError
        It is no time, or does not say in which time zone.
    """
    try:
        return _to_time(text)
    except PydanticCustomError as error:
        raise PolicyError([error.message()]) from error


def _problem(error: ErrorDetails) -> str:
    return f"{_place(error['loc'])}: {_what_is_wrong(error)}"


def _place(location: tuple[int | str, ...]) -> str:
    place = ""
    for step in location:
        if isinstance(step, int):
            place += f"[{step}]"
        else:
            # A key of somebody else's choice is shown as JSON where it is no plain word.
            plain = len(step) <= _MAX_SHOWN and re.fullmatch(r"\w+", step, re.ASCII)
            place += ("." if place else "") + (step if plain else _shown(step))
    return place or "the document"


def _what_is_wrong(error: ErrorDetails) -> str:
    value, context = error["input"], cast("Mapping[str, object]", error.get("ctx", {}))
    match error["type"]:
        case "missing":
            return "missing"
        case "extra_forbidden":
            return "no such key"
        case "model_type":
            return f"an object is wanted, not {_kind(value)}"
        case "tuple_type":
            return f"a list is wanted, not {_kind(value)}"
        case "too_long":
            return f"{context['actual_length']:,} values, at most {context['max_length']:,} are read"
        case "enum":
            return f"{_shown(value)} is not one of {context['expected']}"
        case _:
            return error["msg"]


def _kind(value: object) -> str:
    """Name what stands where an object or a list should; never the value, of which nothing is known, not even that it is ours."""
    kinds: Mapping[type, str] = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")


# --- schema -----------------------------------------------------------------------------------------------------------


class _Schema(GenerateJsonSchema):
    """Without the titles that pydantic makes from names, which tell a reader nothing."""

    def field_title_should_be_set(self, schema: Any) -> Literal[False]:  # noqa: ANN401, ARG002 - as pydantic declares it
        return False


def policy_schema() -> dict[str, object]:
    """Give the document's JSON Schema (draft 2020-12).

    What it accepts may still be refused, where JSON Schema has no words for it: bits beyond a prefix, a day that does not exist.
    """
    schema = Policy.model_json_schema(schema_generator=_Schema)
    for name, part in _objects(schema):
        # The first paragraph; what follows is about Python.
        part["description"] = " ".join(part["description"].partition("\n\n")[0].split())
        if name == Match.__name__:
            part["minProperties"] = 1
            for matcher in part["properties"].values():
                # The default is an empty list, which nobody may write. The bounds are a list's, and stand there already.
                for misleading in ("default", "minLength", "maxLength"):
                    matcher.pop(misleading)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "policy.schema.json",
        **schema,
        "title": "What users tell flowverdict without deploying: silences, expected rejects, least severity",
        "required": ["version"],
    }


def _objects(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield Policy.__name__, schema
    for name, part in schema["$defs"].items():
        if part.get("type") == "object":
            yield name, part
