"""A sample of each shape of flow logs that is read, and of each kind of file that is named instead.

All samples of what is read hold the same four records. The wrapping is what AWS's consoles, the
AWS CLI and the services write; the names are those of the table in ``docs/inputs.md``.
"""

from __future__ import annotations

import base64
import gzip
import json
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import duckdb

from flowverdict.flowlog.fields import DEFAULT_FIELDS
from tests.helpers.parquet_files import parquet_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIELDS: Final = [*DEFAULT_FIELDS]
RECORDS: Final = (
    (
        "2 123456789012 eni-0aaaaaaaaaaaaaaa1 10.0.1.5 10.0.2.9 40001 443 6 10 4000 1795694400"
        " 1795694460 ACCEPT OK"
    ),
    (
        "2 123456789012 eni-0aaaaaaaaaaaaaaa1 10.0.3.7 10.0.1.5 52111 22 6 1 40 1795694400"
        " 1795694460 REJECT OK"
    ),
    "2 123456789012 eni-0aaaaaaaaaaaaaaa1 - - - - - - - 1795694460 1795694520 - NODATA",
    (
        "2 123456789012 eni-0aaaaaaaaaaaaaaa1 10.0.3.7 10.0.1.5 52112 3389 6 1 40 1795694460"
        " 1795694520 REJECT OK"
    ),
)
COUNTS: Final = {"records": 4, "accepted": 1, "rejected": 2, "no_data": 1}
STREAM: Final = "eni-0aaaaaaaaaaaaaaa1-all"
_LINES: Final = "".join(f"{record}\n" for record in RECORDS)
_HEADER: Final = f"{' '.join(FIELDS)}\n"
_ATHENA: Final = [name.replace("-", "_") for name in FIELDS]
_ATHENA_OF_OLD: Final = [
    *("version", "account", "interfaceid", "sourceaddress", "destinationaddress", "sourceport"),
    *("destinationport", "protocol", "numpackets", "numbytes", "starttime", "endtime", "action"),
    "logstatus",
]
_INSIGHTS: Final = [
    *("version", "accountId", "interfaceId", "srcAddr", "dstAddr", "srcPort", "dstPort"),
    *("protocol", "packets", "bytes", "start", "end", "action", "logStatus"),
]


def _table(names: Sequence[str], delimiter: str, quote: str) -> str:
    rows = [names, *([word.replace("-", "") if word == "-" else word for word in record.split()]
                     for record in RECORDS)]  # fmt: skip
    return "".join(f"{delimiter.join(f'{quote}{cell}{quote}' for cell in row)}\n" for row in rows)


_EVENTS: Final = [
    {
        "logStreamName": STREAM,
        "timestamp": 1795694400000 + number,
        "message": record,
        "ingestionTime": 1795694405000,
        "eventId": f"3958412345678901234567890123456789012345678901234567{number}",
    }
    for number, record in enumerate(RECORDS)
]
_FILTERED: Final = json.dumps({"events": _EVENTS, "searchedLogStreams": []}, indent=4)
_TAIL: Final = "".join(f"2026-11-26T12:00:00.000000+00:00 {STREAM} {r}\n" for r in RECORDS)
_RESULTS: Final = [
    [
        {"field": "@timestamp", "value": "2026-11-26 12:00:00.000"},
        {"field": "@message", "value": record},
        {"field": "@ptr", "value": "CmEKJgoiMTIz"},
    ]
    for record in RECORDS
]


def _text_output() -> str:
    lines = [
        "\t".join(
            (
                "EVENTS",
                str(event["eventId"]),
                str(event["ingestionTime"]),
                STREAM,
                str(event["message"]),
                str(event["timestamp"]),
            )
        )
        for event in _EVENTS
    ]
    return "\n".join([*lines, f"SEARCHEDLOGSTREAMS\t{STREAM}\tTrue", ""])


def _table_output() -> str:
    rule = f"|+{'-' * 17}+{'-' * 100}+|"
    lines = ["-" * 121, f"|{'FilterLogEvents':^119}|", f"+{'-' * 119}+", f"||{'events':^117}||"]
    for event in _EVENTS:
        lines += [rule, *(f"||  {name:<15}|  {value!s:<98}||" for name, value in event.items())]
    return "\n".join([*lines, rule, ""])


def _athena_rows() -> str:
    rows = [
        {"Data": [{"VarCharValue": name} for name in _ATHENA]},
        *(
            {"Data": [{} if word == "-" else {"VarCharValue": word} for word in record.split()]}
            for record in RECORDS
        ),
    ]
    return json.dumps({"ResultSet": {"Rows": rows}, "UpdateCount": 0}, indent=4)


def envelope(messages: Sequence[str] = RECORDS) -> dict[str, object]:
    """Return an envelope of CloudWatch Logs, as a subscription sends it."""
    return {
        "messageType": "DATA_MESSAGE",
        "owner": "123456789012",
        "logGroup": "vpc-flow-logs",
        "logStream": STREAM,
        "subscriptionFilters": ["to-firehose"],
        "logEvents": [
            {"id": str(number), "timestamp": 1795694400000, "message": message}
            for number, message in enumerate(messages)
        ],
    }


def ocsf_file(
    records: Sequence[str] = RECORDS, *, class_uid: int = 4001, direction: str = "Inbound"
) -> bytes:
    """Return the Parquet file that Security Lake makes of records of the default format."""
    selects = [_ocsf_row(record.split(), class_uid, direction) for record in records]
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(config={"threads": 1}) as database:
        path = Path(folder) / "file.parquet"
        database.execute(f"COPY ({' UNION ALL '.join(selects)}) TO '{path}' (FORMAT parquet)")
        return path.read_bytes()


def _ocsf_row(words: Sequence[str], class_uid: int, direction: str) -> str:
    """Return the SQL of a row: https://github.com/ocsf/examples, AWS's VPC Flow of v1.1.0."""
    row = dict(zip(FIELDS, words, strict=True))
    numbers = {name: "NULL" if word == "-" else word for name, word in row.items()}
    action = {"ACCEPT": "Allowed", "REJECT": "Denied"}.get(row["action"], "Unknown")
    activity = {"ACCEPT": "Traffic", "REJECT": "Refuse"}.get(row["action"], "Unknown")
    own = f"'{row['interface-id']}'"
    source, destination = ("NULL", own) if direction == "Inbound" else (own, "NULL")
    return f"""SELECT
        {{'product': {{'version': '5', 'name': 'Amazon VPC', 'vendor_name': 'AWS'}},
          'version': '1.1.0'}} AS metadata,
        {{'account': {{'uid': '{row["account-id"]}'}}, 'region': 'eu-west-1',
          'provider': 'AWS'}} AS cloud,
        {{'port': {numbers["srcport"]}::INTEGER, 'svc_name': '-', 'ip': '{row["srcaddr"]}',
          'intermediate_ips': NULL::VARCHAR[], 'interface_uid': {source}::VARCHAR,
          'instance_uid': '-'}} AS src_endpoint,
        {{'port': {numbers["dstport"]}::INTEGER, 'svc_name': '-', 'ip': '{row["dstaddr"]}',
          'intermediate_ips': NULL::VARCHAR[], 'interface_uid': {destination}::VARCHAR,
          'instance_uid': '-'}} AS dst_endpoint,
        {{'protocol_num': {numbers["protocol"]}::INTEGER, 'tcp_flags': 2,
          'direction': '{direction}'}} AS connection_info,
        {{'packets': {numbers["packets"]}::BIGINT, 'bytes': {numbers["bytes"]}::BIGINT}} AS traffic,
        {row["start"]}000::BIGINT AS time,
        make_timestamp({row["start"]}000000) AS start_time_dt,
        make_timestamp({row["end"]}000000) AS end_time_dt,
        '{row["log-status"]}' AS status_code, {class_uid} AS class_uid,
        '{activity}' AS activity_name, '{action}' AS action"""


def _packed(document: object) -> str:
    return base64.b64encode(gzip.compress(json.dumps(document).encode(), mtime=0)).decode()


_EXPORTED: Final = "".join(f"2026-11-26T12:00:00.000Z {record}\n" for record in RECORDS).encode()
_OF_FIREHOSE: Final = [json.dumps({"message": record}) for record in RECORDS]

# What is read. The functions read the first group in S3, the command reads all.
IN_S3: Final[Mapping[str, bytes]] = MappingProxyType(
    {
        "file of S3": gzip.compress((_HEADER + _LINES).encode(), mtime=0),
        "Parquet": parquet_of((_HEADER + _LINES).encode()),
        "CloudWatch export": gzip.compress(_EXPORTED, mtime=0),
        "Firehose lines": "\n".join(_OF_FIREHOSE).encode(),
        "Firehose joined": gzip.compress("".join(_OF_FIREHOSE).encode(), mtime=0),
        "Firehose envelopes": gzip.compress(
            gzip.compress(json.dumps(envelope()).encode(), mtime=0), mtime=0
        ),
        "Security Lake": ocsf_file(),
        "Athena CSV": _table(_ATHENA, ",", '"').encode(),
    }
)
READ: Final[Mapping[str, bytes]] = MappingProxyType(
    {
        **IN_S3,
        "pasted records": _LINES.encode(),
        "pasted with text": f"Look at this:\n\n```\n$ zcat x.log.gz\n{_LINES}```\n".encode(),
        "header and comments": f"# of today\n{_HEADER}// first\n{_LINES}-- end\n".encode(),
        "quoted lines": "".join(f'"{record}",\n' for record in RECORDS).encode(),
        "BOM and CRLF": f"\ufeff{_HEADER}{_LINES}".replace("\n", "\r\n").encode(),
        "console CSV": "".join(
            ["timestamp,message\n", *(f"1795694400000,{record}\n" for record in RECORDS)]
        ).encode(),
        "Insights CSV": "".join(
            ["@timestamp,@message\n", *(f'2026-11-26 12:00:00.000,"{r}"\n' for r in RECORDS)]
        ).encode(),
        "Insights fields": _table(_INSIGHTS, ",", "").encode(),
        "filter-log-events": _FILTERED.encode(),
        "get-log-events": json.dumps(
            {"events": [{"message": record} for record in RECORDS], "nextForwardToken": "f/1"}
        ).encode(),
        "get-query-results": json.dumps({"results": _RESULTS, "status": "Complete"}).encode(),
        "--query messages": json.dumps([[record] for record in RECORDS], indent=4).encode(),
        "aws logs tail": _TAIL.encode(),
        "aws logs tail short": "".join(f"2026-11-26T12:00:00 {r}\n" for r in RECORDS).encode(),
        "--output text": _text_output().encode(),
        "messages on one line": "\t".join(RECORDS).encode(),
        "grep": "".join(f"flow.log:{number}:{r}\n" for number, r in enumerate(RECORDS)).encode(),
        "format of EC2 and records": (
            " ".join(f"${{{name}}}" for name in FIELDS) + f"\n{_LINES}"
        ).encode(),
        "subscription event": json.dumps({"awslogs": {"data": _packed(envelope())}}).encode(),
        "--output table": _table_output().encode(),
        "Athena TSV": _table(_ATHENA, "\t", "").encode(),
        "Athena old names": _table(_ATHENA_OF_OLD, ",", '"').encode(),
        "Athena JSON": _athena_rows().encode(),
        "Markdown table": "".join(
            f"| {' | '.join(row)} |\n"
            for row in (FIELDS, ["---"] * len(FIELDS), *(record.split() for record in RECORDS))
        ).encode(),
        "JSON lines": "".join(
            f"{json.dumps(dict(zip(_ATHENA, record.split(), strict=True)))}\n" for record in RECORDS
        ).encode(),
    }
)

_29_FIELDS: Final = (
    "5 52.95.128.179 10.0.0.71 80 34210 6 1616729292 1616729349 IPv4 14 15044 123456789012"
    " vpc-abcdefab012345678 subnet-aaaaaaaa012345678 i-0c50d5961bcb2d47b eni-1235b8ca123456789"
    " ap-southeast-2 apse2-az3 - - ACCEPT 19 52.95.128.179 10.0.0.71 S3 - - ingress OK\n"
)
_ELB: Final = (
    "https 2026-11-26T12:00:00.186641Z app/shop/50dc6c495c0c9188 203.0.113.9:2817 10.0.0.1:80"
    ' 0.086 0.048 0.037 200 200 0 57 "GET https://www.example.com:443/ HTTP/1.1" "curl" - -\n'
)
_CLOUDTRAIL: Final = {
    "Records": [
        {"eventVersion": "1.11", "eventSource": "ec2.amazonaws.com", "awsRegion": "eu-west-1"}
    ]
}
_S3_ACCESS: Final = (
    "79a59df900b949e5 flow-logs [26/Nov/2026:12:00:38 +0000] 192.0.2.3 79a59df9 3E57427F3EXAMPLE"
    ' REST.GET.VERSIONING - "GET /flow-logs?versioning HTTP/1.1" 200 - 113 - 7 -\n'
)
_RESOLVER: Final = {
    "version": "1.100000",
    "account_id": "123456789012",
    "region": "eu-west-1",
    "vpc_id": "vpc-0aaaaaaaaaaaaaaa1",
    "query_timestamp": "2026-11-26T12:00:00Z",
    "query_name": "example.com.",
    "srcaddr": "10.0.1.5",
    "srcport": "40001",
}

# What is not read, and named.
NAMED: Final[Mapping[str, bytes]] = MappingProxyType(
    {
        "zip": b"PK\x03\x04\x14\x00\x00\x00\x08\x00",
        "gzip in gzip": gzip.compress(gzip.compress((_HEADER + _LINES).encode())),
        "UTF-16": (_HEADER + _LINES).encode("utf-16"),
        "UTF-32": (_HEADER + _LINES).encode("utf-32-le"),
        "CloudTrail": gzip.compress(json.dumps(_CLOUDTRAIL).encode()),
        "ELB": gzip.compress(_ELB.encode()),
        "S3 access": _S3_ACCESS.encode(),
        "WAF": json.dumps({"webaclId": "arn:aws:wafv2:x", "httpRequest": {}}).encode(),
        "Route 53 resolver": json.dumps(_RESOLVER).encode(),
        "Network Firewall": json.dumps(
            {"firewall_name": "edge", "event_timestamp": "1795694400", "event": {}}
        ).encode(),
        "Config": json.dumps(
            {"fileVersion": "1.0", "configSnapshotId": "x", "configurationItems": []}
        ).encode(),
        "Security Lake, other class": ocsf_file(class_uid=4003),
        "other format": _29_FIELDS.encode(),
        "other format in JSON": json.dumps({"events": [{"message": _29_FIELDS}]}).encode(),
        "misspelt field": (_HEADER.replace("srcaddr", "scraddr") + _LINES).encode(),
        "misspelt column": _table(_ATHENA, ",", '"').replace("dstport", "dsport").encode(),
        "nested JSON": b"[" * 1_000 + b"]" * 1_000,
        "deeply nested JSON": b'{"a":' * 100_000,
        "CSV with a huge cell": b'"srcaddr","dstaddr"\n"10.0.0.1","%s"\n' % (b"x" * 10_000_000),
        "other JSON": b'{"hello": "world"}',
        "other text": b"hello\nworld\n",
    }
)
