"""Say in SQL how a record of Security Lake becomes the record that AWS's flow log had.

Security Lake keeps flow logs as Parquet in OCSF's class 4001, Network Activity
(https://docs.aws.amazon.com/security-lake/latest/userguide/internal-sources.html). Which column has
which field: https://github.com/ocsf/examples/tree/main/mappings/markdown/AWS. There an endpoint
has the packet's own address, and the interface's address, if another, as an intermediate one; the
interface stands with the endpoint that the direction names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


CLASS: Final = 4001
# Other classes that Security Lake has of AWS's own sources.
OTHER_CLASSES: Final = {
    3002: "CloudTrail sign-ins",
    6003: "CloudTrail or EKS audit logs",
    4002: "AWS WAF logs",
    4003: "Route 53 resolver query logs",
    2001: "Security Hub findings",
    2003: "Security Hub findings",
    2004: "Security Hub findings",
}
_TOLD = ("class_uid", "src_endpoint.ip", "dst_endpoint.ip")


def is_of_ocsf(columns: Mapping[str, str]) -> bool:
    """Whether a Parquet file's columns, nested ones by their paths, are of OCSF."""
    return "class_uid" in columns


def lacks(columns: Mapping[str, str]) -> str | None:
    """Return the first column that a flow log in OCSF must have and that is missing."""
    return next((path for path in _TOLD if path not in columns), None)


def expressions(columns: Mapping[str, str]) -> dict[str, str]:
    """Return the SQL of each field that the columns have: of a text, or of a whole number.

    Parameters
    ----------
    columns
        SQL types by path (``src_endpoint.ip``).
    """
    found = {
        "account-id": _text(columns, "cloud.account.uid", "cloud.account_uid"),
        "region": _text(columns, "cloud.region"),
        "interface-id": _own(columns, "interface_uid"),
        "vpc-id": _own(columns, "vpc_uid"),
        "subnet-id": _own(columns, "subnet_uid"),
        "instance-id": _own(columns, "instance_uid"),
        "srcaddr": _address(columns, "src_endpoint"),
        "dstaddr": _address(columns, "dst_endpoint"),
        "pkt-srcaddr": _text(columns, "src_endpoint.ip"),
        "pkt-dstaddr": _text(columns, "dst_endpoint.ip"),
        "srcport": _number(columns, "src_endpoint.port"),
        "dstport": _number(columns, "dst_endpoint.port"),
        "protocol": _number(columns, "connection_info.protocol_num"),
        "packets": _number(columns, "traffic.packets"),
        "bytes": _number(columns, "traffic.bytes"),
        "start": _time(columns, "start_time_dt", "start_time", "time_dt", "time"),
        "end": _time(columns, "end_time_dt", "end_time"),
        "action": _action(columns),
        "log-status": _text(columns, "status_code"),
        "tcp-flags": _number(columns, "connection_info.tcp_flags"),
        "flow-direction": _direction(columns),
        "pkt-src-aws-service": _text(columns, "src_endpoint.svc_name"),
        "pkt-dst-aws-service": _text(columns, "dst_endpoint.svc_name"),
    }
    return {name: sql for name, sql in found.items() if sql is not None}


def _present(columns: Mapping[str, str], paths: tuple[str, ...]) -> list[str]:
    return [path for path in paths if path in columns]


def _path(path: str) -> str:
    return ".".join(f'"{part}"' for part in path.split("."))


def _first(expressions_of: list[str]) -> str | None:
    return f"coalesce({', '.join(expressions_of)})" if expressions_of else None


def _text(columns: Mapping[str, str], *paths: str) -> str | None:
    return _first([_known(_path(path)) for path in _present(columns, paths)])


def _known(value: str) -> str:
    return f"nullif(nullif({value}::VARCHAR, ''), '-')"


def _number(columns: Mapping[str, str], path: str) -> str | None:
    """Return a number's SQL; OCSF writes -1 for one that is not known."""
    return f"nullif({_path(path)}::VARCHAR, '-1')" if path in columns else None


def _time(columns: Mapping[str, str], *paths: str) -> str | None:
    return _first(
        [
            f"(epoch({_path(path)})::BIGINT)::VARCHAR"
            if columns[path].startswith("TIMESTAMP")
            else f"(({_path(path)}::BIGINT) // 1000)::VARCHAR"
            for path in _present(columns, paths)
        ]
    )


def _address(columns: Mapping[str, str], endpoint: str) -> str | None:
    """Return the SQL of the interface's own address, where the packet had another."""
    own = _text(columns, f"{endpoint}.ip")
    path = f"{endpoint}.intermediate_ips"
    if own is None or not columns.get(path, "").endswith("[]"):
        return own
    return f"coalesce({_known(f'{_path(path)}[1]')}, {own})"


def _direction(columns: Mapping[str, str]) -> str | None:
    cases = []
    if "connection_info.direction_id" in columns:
        cases.append(
            f"CASE {_path('connection_info.direction_id')} "
            "WHEN 1 THEN 'ingress' WHEN 2 THEN 'egress' END"
        )
    if "connection_info.direction" in columns:
        cases.append(
            f"CASE lower({_path('connection_info.direction')}) "
            "WHEN 'inbound' THEN 'ingress' WHEN 'ingress' THEN 'ingress' "
            "WHEN 'outbound' THEN 'egress' WHEN 'egress' THEN 'egress' END"
        )
    return _first(cases)


def _own(columns: Mapping[str, str], member: str) -> str | None:
    """Return the SQL of what an endpoint has of the interface that the record is of."""
    source = _text(columns, f"src_endpoint.{member}")
    destination = _text(columns, f"dst_endpoint.{member}")
    if source is None or destination is None:
        return source or destination
    direction = _direction(columns) or "NULL"
    # Without a direction only one endpoint has it; if both had, neither would be sure.
    return (
        f"CASE {direction} WHEN 'ingress' THEN {destination} WHEN 'egress' THEN {source} "
        f"ELSE CASE WHEN {source} IS NULL OR {destination} IS NULL OR {source} = {destination} "
        f"THEN coalesce({source}, {destination}) END END"
    )


# What says that traffic was accepted and that it was rejected, by column.
_SAYING: Final = {
    "action_id": ("1", "2"),
    "action": ("allowed", "denied"),
    "disposition_id": ("1", "2"),
    "disposition": ("allowed", "blocked"),
    "activity_name": ("traffic", "refuse"),
}


def _action(columns: Mapping[str, str]) -> str | None:
    """Return the SQL of the action; columns that contradict each other give no action's name."""
    accepted, rejected = [], []
    for column, (accept, reject) in _SAYING.items():
        if column in columns:
            value = f"coalesce(lower({_path(column)}::VARCHAR), '')"
            accepted.append(f"{value} = '{accept}'")
            rejected.append(f"{value} = '{reject}'")
    if not accepted:
        return None
    is_accepted, is_rejected = f"({' OR '.join(accepted)})", f"({' OR '.join(rejected)})"
    return (
        f"CASE WHEN {is_accepted} AND {is_rejected} THEN 'contradictory' "
        f"WHEN {is_accepted} THEN 'ACCEPT' WHEN {is_rejected} THEN 'REJECT' END"
    )
