"""List the targets of fuzzing: each reads any bytes with one decoder and checks its promises.

A target raises ``AssertionError`` where a promise is broken, lets every unexpected exception pass,
and returns whether the input was accepted. ``test_seeds.py`` runs the seeds through the targets,
``engine.py`` what atheris makes of the seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from flowverdict.flowlog.fields import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


from tests.fuzz.document_checks import (
    check_alerts,
    check_document,
    check_envelope,
    check_policy,
    check_scheduled,
    check_snapshot,
)
from tests.fuzz.flow_log_checks import (
    check_firehose_object,
    check_gzip_file,
    check_log_messages,
    check_parquet_file,
    check_record_format,
    check_subscription,
    check_subscription_data,
    check_text_file,
    check_wrapped_file,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A decoder under test.

    Parameters
    ----------
    check
        Runs an input; true if the decoder accepted the input, false if it refused it by name.
    breaks
        The name of the decoder in the module of ``check``: a test replaces the decoder, to show
        that the target notices.
    tokens
        Words that the decoder knows, separated by blanks, for the fuzzer to put into inputs.
    is_json
        Whether the input is JSON, and so worth mutating as such.
    max_bytes
        Longest input that the fuzzer tries.
    """

    check: Callable[[bytes], bool]
    breaks: str
    tokens: str = ""
    is_json: bool = False
    max_bytes: int = 4_096


_FIELD_NAMES = " ".join(FIELDS)
_VALUES = """REJECT ACCEPT OK NODATA SKIPDATA ingress egress BPA EC - 10.0.1.5 203.0.113.12
    2001:db8::1 ::ffff:10.0.0.1 253402300799 253402300800 65535 65536 9223372036854775807 \
-1 +1 1_0 %25 \\x00 eni-0aaaaaaaaaaaaaaa1 123456789012 unknown"""
_JSON = r"""null true NaN -Infinity 1e999 [[[[ {"": \\ud800 \\u0000 \\n"""
_EVENT = """Records eventSource EventSource aws:s3 aws:sqs aws:sns Sns Message Type Notification
    eventVersion eventName ObjectCreated:Put s3 bucket name object key detail detail-type \
source aws.s3 Event
    s3:TestEvent time %2E%2E%2F ../ +"""
_LOGS = "messageType DATA_MESSAGE CONTROL_MESSAGE owner logGroup logStream logEvents id message"
_WRAPPINGS = r"""events results field value @message @timestamp srcAddr dst_addr ResultSet Rows
    Data VarCharValue EVENTS ``` # $ | , ; \x09 " \xEF\xBB\xBF 2026-11-26T12:00:00.000Z"""
_POLICY = """version minimum_severity silences expected match until reason cidr port interface_id \
vpc_id
    verdict"""
_DOCUMENT = """schema_version kind reject scan digest status severity first_seen targets owners
    remedy confidence_counts sections
    top_remotes 9999-12-31T23:59:59Z"""

TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "text-file": Target(
            check=check_text_file, breaks="read_file", tokens=f"{_FIELD_NAMES} {_VALUES}"
        ),
        # Half a KiB of gzip unpacks to half a MiB at most, which is read three times
        "gzip-file": Target(check=check_gzip_file, breaks="read_file", max_bytes=512),
        "parquet-file": Target(check=check_parquet_file, breaks="Batch", max_bytes=8_192),
        "record-format": Target(
            check=check_record_format,
            breaks="header_format",
            tokens=f"{_FIELD_NAMES} {_VALUES} ${{ }}",
        ),
        "log-messages": Target(
            check=check_log_messages, breaks="read_messages", tokens=f"{_FIELD_NAMES} {_VALUES} |"
        ),
        "subscription": Target(
            check=check_subscription, breaks="decode", tokens=f"{_LOGS} {_JSON}", is_json=True
        ),
        "subscription-data": Target(
            check=check_subscription_data, breaks="decode", max_bytes=1_024
        ),
        "firehose-object": Target(
            check=check_firehose_object, breaks="log_batches", tokens=f"{_LOGS} {_JSON}"
        ),
        "wrapped-file": Target(
            check=check_wrapped_file,
            breaks="Batch",
            tokens=f"{_FIELD_NAMES} {_VALUES} {_LOGS} {_WRAPPINGS}",
        ),
        "envelope": Target(
            check=check_envelope,
            breaks="objects_in_message",
            tokens=f"{_EVENT} {_JSON}",
            is_json=True,
        ),
        "scheduled": Target(
            check=check_scheduled, breaks="scheduled_at", tokens=f"{_EVENT} {_JSON}", is_json=True
        ),
        "policy": Target(
            check=check_policy, breaks="parse_policy", tokens=f"{_POLICY} {_JSON}", is_json=True
        ),
        "snapshot": Target(
            check=check_snapshot,
            breaks="load_snapshot",
            tokens=_JSON,
            is_json=True,
            max_bytes=16_384,
        ),
        "document": Target(
            check=check_document,
            breaks="notification_from_json",
            tokens=f"{_DOCUMENT} {_JSON}",
            is_json=True,
        ),
        "alerts": Target(check=check_alerts, breaks="Batch", tokens=f"{_FIELD_NAMES} {_VALUES}"),
    }
)
