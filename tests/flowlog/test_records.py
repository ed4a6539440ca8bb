"""Parse a line and render a record: formats, values, and each reason for a malformed line."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv6Address

import pytest

from flowverdict.core.errors import FormatError
from flowverdict.flowlog.fields import FIELDS
from flowverdict.flowlog.record_counts import RecordCounts
from flowverdict.flowlog.records import (
    DEFAULT_FORMAT,
    MAX_TEXT,
    Action,
    FlowDirection,
    FlowRecord,
    LogStatus,
    MalformedLine,
    MalformedReason,
    RecordFormat,
    RejectReason,
)

# https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-records-examples.html
RDP = (
    "2 123456789010 eni-1235b8ca123456789 172.31.9.69 172.31.9.12 49761 3389 6 20 4249 "
    "1418530010 1418530070 REJECT OK"
)
NODATA = "2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - NODATA"
SKIPDATA = "2 123456789010 eni-11111111aaaaaaaaa - - - - - - - 1431280876 1431280934 - SKIPDATA"


def parse_one(name: str, text: str) -> object:
    """Read one field by a format of that field alone."""
    return getattr(RecordFormat((name,)).parse(text), FIELDS[name].attribute)


# --- formats -------------------------------------------------------------------------------------


def test_header_line_is_read_in_its_order() -> None:
    assert RecordFormat.from_header("dstaddr  action\tsrcaddr\n").names == (
        "dstaddr",
        "action",
        "srcaddr",
    )


def test_log_format_of_ec2_is_read_in_its_order() -> None:
    described = "${version} ${vpc-id} ${pkt-srcaddr} ${ecs-second-container-id}"
    assert RecordFormat.from_log_format(described).names == (
        "version",
        "vpc-id",
        "pkt-srcaddr",
        "ecs-second-container-id",
    )


def test_log_format_without_blanks_between_its_fields_is_read() -> None:
    assert RecordFormat.from_log_format("${version}${srcaddr}").names == ("version", "srcaddr")


def test_header_and_log_format_of_the_same_fields_are_equal_and_hash_alike() -> None:
    described = RecordFormat.from_log_format("${version} ${srcaddr}")
    header = RecordFormat.from_header("version srcaddr")
    assert described == header
    assert len({described, header}) == 1


def test_formats_of_other_order_differ() -> None:
    assert RecordFormat(("srcaddr", "dstaddr")) != RecordFormat(("dstaddr", "srcaddr"))


def test_each_field_alone_makes_a_format() -> None:
    assert [name for name in FIELDS if RecordFormat((name,)).unknown_names != ()] == []


def test_unknown_names_are_accepted_and_listed() -> None:
    record_format = RecordFormat.from_header("srcaddr tomorrows-field action another-1")
    assert record_format.unknown_names == ("tomorrows-field", "another-1")
    assert not record_format.is_transit_gateway


def test_transit_gateway_names_are_not_unknown() -> None:
    record_format = RecordFormat.from_header("version tgw-id srcaddr")
    assert record_format.is_transit_gateway
    assert record_format.unknown_names == ()


def test_format_of_transit_gateway_names_only_is_accepted() -> None:
    assert RecordFormat(("tgw-id", "resource-type")).is_transit_gateway


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("version", "srcaddr", "version"), "names version twice"),
        (("tomorrow", "srcaddr", "tomorrow"), "names tomorrow twice"),
        (("made-up", "other"), "names no flow log field"),
        ((), "names no flow log field"),
        (("srcaddr", "SRCADDR"), "'SRCADDR' is not a flow log field name"),
        (("srcaddr", "src_addr"), "'src_addr' is not a flow log field name"),
        (("srcaddr", ""), "'' is not a flow log field name"),
        (("srcaddr", "-"), "'-' is not a flow log field name"),
        (("srcaddr", "interface--id"), "is not a flow log field name"),
        (("srcaddr", "10.0.0.1"), "is not a flow log field name"),
        (("srcaddr", "action\n"), "is not a flow log field name"),
        (("srcaddr", "aktiön"), "is not a flow log field name"),
    ],
)
def test_names_that_are_not_a_format_are_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        RecordFormat(names)


@pytest.mark.parametrize("text", ["", "version srcaddr", "${}", "${made-up}"])
def test_log_format_without_a_known_field_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        RecordFormat.from_log_format(text)


def test_a_long_name_is_cut_in_the_message() -> None:
    with pytest.raises(FormatError) as raised:
        RecordFormat(("srcaddr", "A" * 10_000))
    assert len(str(raised.value)) < 120


# --- records -------------------------------------------------------------------------------------


def test_default_record_is_read_typed() -> None:
    assert DEFAULT_FORMAT.parse(RDP) == FlowRecord(
        version=2,
        account_id="123456789010",
        interface_id="eni-1235b8ca123456789",
        srcaddr=IPv4Address("172.31.9.69"),
        dstaddr=IPv4Address("172.31.9.12"),
        srcport=49_761,
        dstport=3389,
        protocol=6,
        packets=20,
        bytes=4249,
        start=1_418_530_010,
        end=1_418_530_070,
        action=Action.REJECT,
        log_status=LogStatus.OK,
    )


@pytest.mark.parametrize(
    ("line", "status"), [(NODATA, LogStatus.NODATA), (SKIPDATA, LogStatus.SKIPDATA)]
)
def test_record_without_traffic_has_only_interface_times_and_status(
    line: str, status: LogStatus
) -> None:
    record = DEFAULT_FORMAT.parse(line)
    assert (record.log_status, record.start, record.end) == (status, 1_431_280_876, 1_431_280_934)
    traffic = (
        record.srcaddr,
        record.dstaddr,
        record.srcport,
        record.dstport,
        record.protocol,
        record.packets,
        record.bytes,
    )
    assert traffic == (None,) * 7
    assert record.action is None


def test_dash_is_absent() -> None:
    read = {name: parse_one(name, "-") for name in FIELDS if name != "reject-reason"}
    assert {name: value for name, value in read.items() if value is not None} == {}


@pytest.mark.parametrize(
    "name",
    [
        "srcport",
        "dstport",
        "protocol",
        "packets",
        "bytes",
        "tcp-flags",
        "encryption-status",
        "start",
    ],
)
def test_zero_is_a_value(name: str) -> None:
    value = parse_one(name, "0")
    assert value == 0
    assert value is not None


@pytest.mark.parametrize("reason", ["-", "BPA", "EC", "SOMETHING_NEW"])
def test_every_reject_reason_is_a_value_even_the_dash(reason: str) -> None:
    assert parse_one("reject-reason", reason) == reason


def test_reject_reason_is_none_only_where_it_is_not_in_the_format() -> None:
    assert RecordFormat(("action",)).parse("REJECT").reject_reason is None
    assert (
        RecordFormat(("action", "reject-reason")).parse("REJECT -").reject_reason
        == RejectReason.OTHER
    )


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("srcport", "65535", 65_535),
        ("protocol", "255", 255),
        ("packets", str(2**63 - 1), 2**63 - 1),
        ("tcp-flags", "18", 18),
        ("srcport", "00443", 443),
        ("srcaddr", "203.0.113.12", IPv4Address("203.0.113.12")),
        ("pkt-dstaddr", "2001:db8::1", IPv6Address("2001:db8::1")),
        ("pkt-dstaddr", "2001:0db8:0:0::1", IPv6Address("2001:db8::1")),
        ("flow-direction", "ingress", FlowDirection.INGRESS),
        ("flow-direction", "egress", FlowDirection.EGRESS),
        ("log-status", "OK", LogStatus.OK),
        ("account-id", "unknown", "unknown"),
        ("instance-tag", "web%20server%2Bdb", "web%20server%2Bdb"),
        ("ecs-task-arn", "a" * MAX_TEXT, "a" * MAX_TEXT),
    ],
)
def test_value_is_read(name: str, text: str, value: object) -> None:
    assert parse_one(name, text) == value


def test_value_of_an_unknown_field_is_ignored() -> None:
    record = RecordFormat.from_header("tomorrows-field srcport").parse("whatever 443")
    assert record == FlowRecord(srcport=443)


def test_fields_are_read_in_the_order_of_the_format() -> None:
    record = RecordFormat.from_header("dstport srcport").parse("443 50122")
    assert (record.srcport, record.dstport) == (50_122, 443)


@pytest.mark.parametrize(
    "line", [RDP.replace(" ", "  "), f"  {RDP}", f"{RDP} \r\n", RDP.replace(" ", "\t")]
)
def test_any_run_of_blanks_separates(line: str) -> None:
    assert DEFAULT_FORMAT.parse(line) == DEFAULT_FORMAT.parse(RDP)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("srcport", "65536", MalformedReason.OUT_OF_RANGE),
        ("srcport", "1" + "0" * 30, MalformedReason.OUT_OF_RANGE),
        ("srcport", "9" * 10_000, MalformedReason.OUT_OF_RANGE),
        ("protocol", "256", MalformedReason.OUT_OF_RANGE),
        ("packets", str(2**63), MalformedReason.OUT_OF_RANGE),
        ("start", "253402300800", MalformedReason.OUT_OF_RANGE),
        ("ecs-task-arn", "a" * (MAX_TEXT + 1), MalformedReason.OUT_OF_RANGE),
        ("srcport", "-5", MalformedReason.INTEGER),
        ("srcport", "+5", MalformedReason.INTEGER),
        ("srcport", "1_0", MalformedReason.INTEGER),
        ("srcport", "5.0", MalformedReason.INTEGER),
        ("srcport", "1e3", MalformedReason.INTEGER),
        ("srcport", "0x10", MalformedReason.INTEGER),
        ("srcport", "--", MalformedReason.INTEGER),
        ("srcport", "https", MalformedReason.INTEGER),
        ("srcaddr", "10.0.0.256", MalformedReason.ADDRESS),
        ("srcaddr", "10.0.0", MalformedReason.ADDRESS),
        ("srcaddr", "010.0.0.1", MalformedReason.ADDRESS),
        ("srcaddr", "10.0.0.0/8", MalformedReason.ADDRESS),
        ("srcaddr", "167772161", MalformedReason.ADDRESS),
        ("srcaddr", "fe80::1%eth0", MalformedReason.ADDRESS),
        ("srcaddr", "fe80::1%", MalformedReason.ADDRESS),
        ("srcaddr", "example.com", MalformedReason.ADDRESS),
        ("action", "reject", MalformedReason.ACTION),
        ("action", "DROP", MalformedReason.ACTION),
        ("log-status", "ok", MalformedReason.LOG_STATUS),
        ("log-status", "NO_DATA", MalformedReason.LOG_STATUS),
        ("flow-direction", "inbound", MalformedReason.FLOW_DIRECTION),
        ("flow-direction", "INGRESS", MalformedReason.FLOW_DIRECTION),
        # digits of other scripts, which int() would accept
        ("srcport", "\u0665\u0663", MalformedReason.ENCODING),
        ("srcport", "\uff15", MalformedReason.ENCODING),
        ("srcport", "\u00b2", MalformedReason.ENCODING),
        ("instance-tag", "caf\u00e9", MalformedReason.ENCODING),
        ("instance-tag", "a\x00b", MalformedReason.ENCODING),
        ("instance-tag", "\x1b[31mred", MalformedReason.ENCODING),
        ("instance-tag", "a\x7fb", MalformedReason.ENCODING),
        ("instance-tag", "a\x08b", MalformedReason.ENCODING),
        ("account-id", "\u202e123", MalformedReason.ENCODING),
        ("account-id", "\ud800", MalformedReason.ENCODING),
    ],
)
def test_value_its_field_cannot_have_makes_the_line_malformed(
    name: str, text: str, reason: MalformedReason
) -> None:
    with pytest.raises(MalformedLine) as raised:
        parse_one(name, text)
    assert raised.value.reason is reason


@pytest.mark.parametrize("control", ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f"])
def test_control_character_between_fields_makes_the_line_malformed(control: str) -> None:
    with pytest.raises(MalformedLine):
        DEFAULT_FORMAT.parse(RDP.replace(" ", control, 1))


@pytest.mark.parametrize(
    "line",
    ["", "2", RDP.rpartition(" ")[0], f"{RDP} extra", NODATA.removesuffix(" NODATA")],
    ids=lambda line: line[-8:],
)
def test_other_number_of_fields_makes_the_line_malformed(line: str) -> None:
    with pytest.raises(MalformedLine, match="the format has 14") as raised:
        DEFAULT_FORMAT.parse(line)
    assert raised.value.reason is MalformedReason.FIELD_COUNT


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("srcport", "9" * 10_000),
        ("srcaddr", "x" * 10_000),
        ("action", "x" * 10_000),
        ("srcport", "x" * 10_000),
    ],
)
def test_message_about_a_malformed_line_stays_short(name: str, text: str) -> None:
    with pytest.raises(MalformedLine) as raised:
        parse_one(name, text)
    assert len(str(raised.value)) < 160


@pytest.mark.parametrize("line", [RDP, NODATA, SKIPDATA])
def test_rendering_restores_the_line(line: str) -> None:
    assert DEFAULT_FORMAT.render(DEFAULT_FORMAT.parse(line)) == line


def test_rendering_writes_a_dash_for_absent_values_and_unknown_fields() -> None:
    record_format = RecordFormat.from_header("srcport tomorrows-field dstport reject-reason")
    assert record_format.render(FlowRecord(srcport=0, reject_reason="BPA")) == "0 - - BPA"


# --- counts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "counter"),
    [
        (FlowRecord(action=Action.ACCEPT, log_status=LogStatus.OK), "accepted"),
        (FlowRecord(action=Action.ACCEPT), "accepted"),
        (FlowRecord(action=Action.REJECT, log_status=LogStatus.OK), "rejected"),
        (FlowRecord(log_status=LogStatus.NODATA), "no_data"),
        (FlowRecord(action=Action.REJECT, log_status=LogStatus.NODATA), "no_data"),
        (FlowRecord(log_status=LogStatus.SKIPDATA), "skip_data"),
        (FlowRecord(log_status=LogStatus.OK), "no_action"),
        (FlowRecord(), "no_action"),
    ],
)
def test_record_is_counted_once_and_under_its_status_and_action(
    record: FlowRecord, counter: str
) -> None:
    counts = RecordCounts()
    counts.count(record)
    assert {name: count for name, count in counts.as_mapping().items() if count} == {
        "records": 1,
        counter: 1,
    }


def test_number_of_records_includes_malformed_lines_but_not_headers_and_blank_lines() -> None:
    counts = RecordCounts(
        accepted=1,
        rejected=2,
        no_data=3,
        skip_data=4,
        no_action=5,
        transit_gateway=6,
        malformed=Counter({"integer": 7, "address": 8}),
        header_lines=100,
        blank_lines=100,
        stray_lines=1_000,
    )
    assert counts.records == 36


def test_merging_adds_every_counter() -> None:
    counts = RecordCounts(
        accepted=1,
        rejected=2,
        no_data=3,
        skip_data=4,
        no_action=5,
        transit_gateway=6,
        malformed=Counter({"integer": 7}),
        header_lines=8,
        blank_lines=9,
        stray_lines=10,
    )
    other = RecordCounts(
        accepted=10,
        rejected=20,
        no_data=30,
        skip_data=40,
        no_action=50,
        transit_gateway=60,
        malformed=Counter({"integer": 70, "address": 1}),
        header_lines=80,
        blank_lines=90,
        stray_lines=100,
    )
    counts.merge(other)
    assert counts == RecordCounts(
        accepted=11,
        rejected=22,
        no_data=33,
        skip_data=44,
        no_action=55,
        transit_gateway=66,
        malformed=Counter({"integer": 77, "address": 1}),
        header_lines=88,
        blank_lines=99,
        stray_lines=110,
    )
    assert other.malformed == Counter({"integer": 70, "address": 1})


def test_mapping_is_flat_and_names_malformed_lines_by_reason() -> None:
    counts = RecordCounts(
        rejected=2, malformed=Counter({"integer": 2, "address": 1}), header_lines=1
    )
    assert counts.as_mapping() == {
        "records": 5,
        "accepted": 0,
        "rejected": 2,
        "no_data": 0,
        "skip_data": 0,
        "no_action": 0,
        "transit_gateway": 0,
        "malformed": 3,
        "header_lines": 1,
        "blank_lines": 0,
        "stray_lines": 0,
        "malformed.address": 1,
        "malformed.integer": 2,
    }


def test_mapping_of_nothing_is_all_zero() -> None:
    assert set(RecordCounts().as_mapping().values()) == {0}
