"""Parse a line of a flow log to a typed record, and render a record to its line.

Rests on https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html and
https://docs.aws.amazon.com/vpc/latest/tgw/tgw-flow-logs.html: blanks separate fields, ``-`` stands
for a field that does not apply or could not be computed, and the user chooses the order of a custom
format. Parsing is strict: a number is ASCII digits within its field's range, an address is text
that the ``ipaddress`` module accepts, without a zone. ``parse`` and ``render`` are inverses for
every record that a format can carry.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.core.addresses import Address, address_of
from flowverdict.core.errors import FormatError
from flowverdict.flowlog.field_names import misspelt
from flowverdict.flowlog.fields import (
    ACCOUNT_DIGITS,
    DEFAULT_FIELDS,
    FIELDS,
    MAX_PORT,
    TRANSIT_GATEWAY_DEFAULT_FIELDS,
    TRANSIT_GATEWAY_FIELDS,
    UNKNOWN_ACCOUNT,
    Field,
    FieldKind,
    fields_by_version,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


ABSENT = "-"


class Action(StrEnum):
    """Whether the traffic was accepted or rejected."""

    ACCEPT = "ACCEPT"
    REJECT = "REJECT"


class LogStatus(StrEnum):
    """Whether the record describes traffic, its absence, or records that AWS lost."""

    OK = "OK"
    NODATA = "NODATA"
    SKIPDATA = "SKIPDATA"


class FlowDirection(StrEnum):
    """The direction of the traffic, relative to the interface that the record is of."""

    INGRESS = "ingress"
    EGRESS = "egress"

    @property
    def opposite(self) -> FlowDirection:
        """The direction of the mirrored flow."""
        return FlowDirection.EGRESS if self is FlowDirection.INGRESS else FlowDirection.INGRESS


class RejectReason(StrEnum):
    """Values of ``reject-reason``.

    ``-`` is a value here: AWS logs it for every reason but the two that have a name.
    """

    BLOCK_PUBLIC_ACCESS = "BPA"
    ENCRYPTION_CONTROLS = "EC"
    OTHER = "-"


class MalformedReason(StrEnum):
    """Why a line is not a record."""

    FIELD_COUNT = "field-count"
    INTEGER = "integer"
    OUT_OF_RANGE = "out-of-range"
    ADDRESS = "address"
    ACTION = "action"
    LOG_STATUS = "log-status"
    FLOW_DIRECTION = "flow-direction"
    ID = "id"
    ENCODING = "encoding"
    LINE_TOO_LONG = "line-too-long"
    AMBIGUOUS_FORMAT = "ambiguous-format"


class MalformedLine(ValueError):  # noqa: N818 - counted; not an error that ends anything
    """A line is not a record of its format."""

    def __init__(self, reason: MalformedReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class FlowRecord(NamedTuple):
    """A record of a flow log, with an attribute for each AWS field.

    An attribute is ``None`` if the value is absent or the format lacks the field. A named tuple,
    because a frozen dataclass of 72 attributes takes 30 times as long to create, longer than the
    rest of parsing a line.

    ``start`` and ``end`` are Unix seconds, ``packets`` and ``bytes`` counts, ``tcp_flags`` the OR
    of the flags seen in the interval (FIN 1, SYN 2, RST 4, SYN-ACK 18; a lone ACK is not recorded).
    ``srcaddr``/``dstaddr`` show the interface's primary address where the traffic used another
    address; ``pkt_srcaddr``/``pkt_dstaddr`` are the packet's own addresses.
    """

    version: int | None = None
    account_id: str | None = None
    interface_id: str | None = None
    srcaddr: Address | None = None
    dstaddr: Address | None = None
    srcport: int | None = None
    dstport: int | None = None
    protocol: int | None = None
    packets: int | None = None
    bytes: int | None = None
    start: int | None = None
    end: int | None = None
    action: Action | None = None
    log_status: LogStatus | None = None
    vpc_id: str | None = None
    subnet_id: str | None = None
    instance_id: str | None = None
    tcp_flags: int | None = None
    type: str | None = None
    pkt_srcaddr: Address | None = None
    pkt_dstaddr: Address | None = None
    region: str | None = None
    az_id: str | None = None
    sublocation_type: str | None = None
    sublocation_id: str | None = None
    pkt_src_aws_service: str | None = None
    pkt_dst_aws_service: str | None = None
    flow_direction: FlowDirection | None = None
    traffic_path: int | None = None
    resource_type: str | None = None
    tgw_id: str | None = None
    tgw_attachment_id: str | None = None
    tgw_src_vpc_account_id: str | None = None
    tgw_dst_vpc_account_id: str | None = None
    tgw_src_vpc_id: str | None = None
    tgw_dst_vpc_id: str | None = None
    tgw_src_subnet_id: str | None = None
    tgw_dst_subnet_id: str | None = None
    tgw_src_eni: str | None = None
    tgw_dst_eni: str | None = None
    tgw_src_az_id: str | None = None
    tgw_dst_az_id: str | None = None
    tgw_pair_attachment_id: str | None = None
    packets_lost_no_route: int | None = None
    packets_lost_blackhole: int | None = None
    packets_lost_mtu_exceeded: int | None = None
    packets_lost_ttl_expired: int | None = None
    ecs_cluster_arn: str | None = None
    ecs_cluster_name: str | None = None
    ecs_container_instance_arn: str | None = None
    ecs_container_instance_id: str | None = None
    ecs_container_id: str | None = None
    ecs_second_container_id: str | None = None
    ecs_service_name: str | None = None
    ecs_task_definition_arn: str | None = None
    ecs_task_arn: str | None = None
    ecs_task_id: str | None = None
    reject_reason: str | None = None
    resource_id: str | None = None
    encryption_status: int | None = None
    instance_tag: str | None = None
    instance_tag_2: str | None = None
    interface_tag: str | None = None
    interface_tag_2: str | None = None
    asg_tag: str | None = None
    asg_tag_2: str | None = None
    interface_type: str | None = None
    next_hop_interface_id: str | None = None
    next_hop_subnet_id: str | None = None
    next_hop_az_id: str | None = None
    next_hop_vpc_id: str | None = None
    next_hop_interface_type: str | None = None


# A file repeats few addresses. A cached look-up costs 0.07 us, ip_address() 2-4 us (CPython 3.13).
@lru_cache(maxsize=65_536)
def _address(text: str) -> Address:
    if "%" in text:
        raise MalformedLine(MalformedReason.ADDRESS, f"{text[:64]!r} has a zone")
    try:
        return address_of(text)
    except ValueError as error:
        raise MalformedLine(MalformedReason.ADDRESS, f"{text[:64]!r} is not an address") from error


_MAX_DIGITS = 20  # 2**63 has 19; int() of thousands of digits is slow, then an error


def _integer_reader(maximum: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        # isdigit() alone accepts other scripts' digits, int() alone "+1", "1_0" and blanks.
        if not (text.isascii() and text.isdigit()):
            raise MalformedLine(MalformedReason.INTEGER, f"{text[:64]!r} is not a number")
        if len(text) > _MAX_DIGITS or (value := int(text)) > maximum:
            raise MalformedLine(MalformedReason.OUT_OF_RANGE, f"{text[:64]} is over {maximum}")
        return value

    # Cached like addresses, but for times and large counts, which would evict each other.
    return lru_cache(maxsize=maximum + 1)(read) if maximum <= MAX_PORT else read


MAX_TEXT = 2_048  # the longest ARN


def _text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise MalformedLine(MalformedReason.OUT_OF_RANGE, f"a text of {len(text)} characters")
    return text


def _account(text: str) -> str:
    is_account = len(text) == ACCOUNT_DIGITS and text.isascii() and text.isdigit()
    if not is_account and text != UNKNOWN_ACCOUNT:
        raise MalformedLine(MalformedReason.ID, f"{text[:64]!r} is not an account id")
    return text


def _id_reader(prefix: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not _text(text).startswith(prefix):
            raise MalformedLine(MalformedReason.ID, f"{text[:64]!r} does not begin with {prefix}")
        return text

    return read


def _enum_reader[E: StrEnum](values: type[E], reason: MalformedReason) -> Callable[[str], E]:
    by_text = {member.value: member for member in values}

    def read(text: str) -> E:
        try:
            return by_text[text]
        except KeyError:
            raise MalformedLine(
                reason, f"{text[:64]!r} is not one of {', '.join(by_text)}"
            ) from None

    return read


def _reader(described: Field) -> Callable[[str], object]:
    match described.kind:
        case FieldKind.INTEGER:
            return _integer_reader(described.maximum)
        case FieldKind.ADDRESS:
            return _address
        case FieldKind.ACTION:
            return _enum_reader(Action, MalformedReason.ACTION)
        case FieldKind.LOG_STATUS:
            return _enum_reader(LogStatus, MalformedReason.LOG_STATUS)
        case FieldKind.FLOW_DIRECTION:
            return _enum_reader(FlowDirection, MalformedReason.FLOW_DIRECTION)
        case FieldKind.ACCOUNT:
            return _account
        case FieldKind.ID:
            return _id_reader(described.prefix)
        case FieldKind.TEXT | FieldKind.REJECT_REASON:
            return _text


class _Column(NamedTuple):
    """A known field of a format.

    ``word`` is its index in a line, ``attribute`` its index in ``FlowRecord``; ``read`` parses the
    word, and ``absent`` is the word that stands for no value.
    """

    word: int
    attribute: int
    read: Callable[[str], object]
    absent: str | None


_PLACES = {name: place for place, name in enumerate(FlowRecord._fields)}
_INTEGERS = {
    _PLACES[known.attribute] for known in FIELDS.values() if known.kind is FieldKind.INTEGER
}
_TEXTS = {
    _PLACES[known.attribute]
    for known in FIELDS.values()
    if known.kind in {FieldKind.TEXT, FieldKind.REJECT_REASON, FieldKind.ACCOUNT, FieldKind.ID}
}
_NOTHING = (None,) * len(_PLACES)


_FIELD_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LOG_FORMAT = re.compile(r"\$\{([^}]*)\}")


def _values(column: _Column, texts: Sequence[str]) -> Iterable[object]:
    if column.attribute in _INTEGERS:
        return (
            map(int, texts)
            if ABSENT not in texts
            else [None if text == ABSENT else int(text) for text in texts]
        )
    is_text = column.attribute in _TEXTS
    if column.absent not in texts:
        return texts if is_text else map(column.read, texts)
    return [
        None if text == column.absent else text if is_text else column.read(text) for text in texts
    ]


@dataclass(frozen=True, slots=True)
class RecordFormat:
    """The fields of a flow log, in the order of its lines.

    Parameters
    ----------
    names
        AWS field names (hyphenated). The values of an unknown name are ignored, so that a flow log
        with fields newer than this program is still read.

    Raises
    ------
    FormatError
        A name occurs twice or does not look like a field name, or no name is known.
    """

    names: tuple[str, ...]
    _columns: tuple[_Column, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in self.names:
            if not _FIELD_NAME.fullmatch(name):
                raise FormatError(f"{name[:64]!r} is not a flow log field name")
        repeated = [name for name, count in Counter(self.names).items() if count > 1]
        if repeated:
            raise FormatError(f"the format names {repeated[0][:64]} twice")
        columns = tuple(
            _Column(
                index,
                _PLACES[known.attribute],
                _reader(known),
                None if known.kind is FieldKind.REJECT_REASON else ABSENT,
            )
            for index, name in enumerate(self.names)
            if (known := FIELDS.get(name)) is not None
        )
        if not columns:
            raise FormatError("the format names no flow log field")
        object.__setattr__(self, "_columns", columns)

    @classmethod
    def from_header(cls, line: str) -> RecordFormat:
        """Parse the header line of a text file in S3, or the same words in a setting."""
        return cls(tuple(line.split()))

    @classmethod
    def from_log_format(cls, log_format: str) -> RecordFormat:
        """Parse ``LogFormat`` of ``DescribeFlowLogs``: ``${version} ${account-id} ...``."""
        return cls(tuple(_LOG_FORMAT.findall(log_format)))

    @classmethod
    def from_text(cls, text: str) -> RecordFormat:
        """Parse a format in either spelling: field names, or as EC2 returns them.

        Raises ``FormatError`` for a misspelt name too, since a person wrote the text.
        """
        found = cls.from_log_format(text) if "${" in text else cls.from_header(text)
        if (wrong := misspelt(found.names)) is not None:
            raise FormatError(wrong)
        return found

    @property
    def unknown_names(self) -> tuple[str, ...]:
        """Names of fields newer than this program, or misspelt."""
        return tuple(name for name in self.names if name not in FIELDS)

    @property
    def is_transit_gateway(self) -> bool:
        """Whether the records are a transit gateway's; see ``transit_gateway``."""
        return any(name in TRANSIT_GATEWAY_FIELDS for name in self.names)

    def parse(self, line: str) -> FlowRecord:
        """Parse a line to its record.

        Raises
        ------
        MalformedLine
            The line has another number of fields, or a value that its field cannot have.
        """
        line = line.strip(" \t\r\n")
        tokens = line.split()
        # AWS writes printable ASCII only (tags are percent-encoded). Text that could forge a log
        # line or a terminal's output is rejected here.
        if not (line.isascii() and line.replace("\t", " ").isprintable()):
            raise MalformedLine(MalformedReason.ENCODING, "not printable ASCII")
        if len(tokens) != len(self.names):
            raise MalformedLine(
                MalformedReason.FIELD_COUNT,
                f"{len(tokens)} fields, the format has {len(self.names)}",
            )
        values: list[object] = [*_NOTHING]
        for word, attribute, read, absent in self._columns:
            if (token := tokens[word]) != absent:
                values[attribute] = read(token)
        # Each column's ``read`` returns the attribute's declared type; a test compares them.
        return FlowRecord._make(values)

    def values_of(self, words: Sequence[str], attributes: Sequence[str]) -> list[Iterable[object]]:
        """Return attributes of many lines, in a fraction of the time that ``parse`` of each takes.

        Parameters
        ----------
        words
            The words of all lines in sequence. Each line has as many words as the format has
            fields, and each word is a valid value of its field.
        attributes
            Names of attributes of ``FlowRecord``.

        Returns
        -------
        list
            For each attribute an iterable of one value per line; an endless iterable of ``None`` if
            the format lacks the field.
        """
        columns = {column.attribute: column for column in self._columns}
        return [
            repeat(None)
            if (column := columns.get(_PLACES[attribute])) is None
            else _values(column, words[column.word :: len(self.names)])
            for attribute in attributes
        ]

    def render(self, record: FlowRecord) -> str:
        """Return the line that ``parse`` reads back to the same record; ``None`` becomes ``-``."""
        by_index = {column.word: record[column.attribute] for column in self._columns}
        values = (by_index.get(index) for index in range(len(self.names)))
        return " ".join(ABSENT if value is None else str(value) for value in values)


DEFAULT_FORMAT = RecordFormat(DEFAULT_FIELDS)
TRANSIT_GATEWAY_FORMAT = RecordFormat(TRANSIT_GATEWAY_DEFAULT_FIELDS)
# What a flow log writes if its format is not known. The two formats differ in their width.
DEFAULT_FORMATS = (DEFAULT_FORMAT, TRANSIT_GATEWAY_FORMAT)
# The default formats, and all fields up to each version: in the order of AWS's table, and in the
# alphabetical order in which the console puts the fields that a person selects.
KNOWN_FORMATS = tuple(
    dict.fromkeys(
        [
            *DEFAULT_FORMATS,
            *(
                RecordFormat(names)
                for fields in fields_by_version()
                for names in (fields, tuple(sorted(fields)))
            ),
        ]
    )
)
