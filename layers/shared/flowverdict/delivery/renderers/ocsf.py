"""Render a notification as a Detection Finding of the Open Cybersecurity Schema Framework (OCSF).

Amazon Security Lake and other products read it. Class 2004 of category 2 (Findings), with the
profile ``cloud``: https://schema.ocsf.io/1.4.0/classes/detection_finding.
"""

from __future__ import annotations

import json
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.model import Alert, Severity, Status
from flowverdict.core.untrusted import one_line
from flowverdict.delivery.text import fix_notes, mark, shared_commands

if TYPE_CHECKING:
    from flowverdict.alerts.model import Notification
SCHEMA_VERSION = "1.4.0"
_CLASS_UID = 2004
_CREATE, _UPDATE, _CLOSE = 1, 2, 3
_ACTIVITIES = {
    Status.FIRING: (_CREATE, "Create"),
    Status.REMINDER: (_UPDATE, "Update"),
    Status.RESOLVED: (_CLOSE, "Close"),
}
_STATUSES = {
    Status.FIRING: (1, "New"),
    Status.REMINDER: (2, "In Progress"),
    Status.RESOLVED: (4, "Resolved"),
}
# OCSF has no status for these: 99 is "Other", with a caption of the source's own.
_ENDING_STATUSES = {
    Ending.QUIET: (99, "Quiet"),
    Ending.UNKNOWN: (99, "Unknown"),
    Ending.CLOSED: (99, "Closed by hand"),
}
_SEVERITIES = {
    Severity.CRITICAL: (5, "Critical"),
    Severity.HIGH: (4, "High"),
    Severity.MEDIUM: (3, "Medium"),
    Severity.LOW: (2, "Low"),
    Severity.INFO: (1, "Informational"),
}
_CONFIDENCES = {"certain": (3, "High"), "likely": (2, "Medium"), "possible": (1, "Low")}
# Of https://schema.ocsf.io/1.4.0/objects/observable.
_IP_ADDRESS, _RESOURCE_UID, _PORT = 2, 10, 11


def render(notification: Notification) -> str:
    """Return the finding as one line of JSON, found now."""
    return json.dumps(finding(notification, found_at=int(time.time())))


def finding(notification: Notification, *, found_at: int) -> dict[str, Any]:
    """Return the finding.

    Parameters
    ----------
    notification
        The alert or notice; its fingerprint is the finding's ``uid``, so updates and the end belong
        to the same finding.
    found_at
        Unix seconds; the times of OCSF are milliseconds.
    """
    activity_id, activity = _ACTIVITIES[notification.status]
    status_id, status = _STATUSES[notification.status]
    if notification.ending is not None:
        status_id, status = _ENDING_STATUSES.get(notification.ending, (status_id, status))
    severity_id, severity = _SEVERITIES[notification.severity]
    attributes: dict[str, Any] = {
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": _CLASS_UID,
        "class_name": "Detection Finding",
        "activity_id": activity_id,
        "activity_name": activity,
        "type_uid": _CLASS_UID * 100 + activity_id,
        "type_name": f"Detection Finding: {activity}",
        "time": found_at * 1_000,
        "start_time": _milliseconds(notification.first_seen),
        "end_time": _milliseconds(notification.last_seen),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "status_detail": notification.status_reason,
        "message": one_line(f"{mark(notification)}: {notification.title}"),
        "count": notification.records or None,
        "is_alert": notification.status is not Status.RESOLVED,
        "metadata": {
            "version": SCHEMA_VERSION,
            "product": {"name": "flowverdict", "vendor_name": "flowverdict"},
            "profiles": ["cloud"],
        },
        "finding_info": {
            "uid": notification.fingerprint,
            "title": notification.title,
            "desc": notification.summary,
            "types": [notification.kind.value],
            "first_seen_time": _milliseconds(notification.first_seen),
            "last_seen_time": _milliseconds(notification.last_seen),
        },
        "cloud": {
            "provider": "AWS",
            "account": None
            if notification.account_id is None
            else {"uid": notification.account_id, "type": "AWS Account", "type_id": 10},
            "region": notification.region,
        },
        "resources": [
            {"uid": interface, "type": _resource_type(interface)}
            for interface in notification.interfaces
        ]
        or None,
        "observables": [
            {
                "name": f"resources[{index}].uid",
                "type_id": _RESOURCE_UID,
                "type": "Resource UID",
                "value": interface,
            }
            for index, interface in enumerate(notification.interfaces)
        ],
    }
    if isinstance(notification, Alert):
        _add_alert(attributes, notification)
    return _without_none(attributes)


def _resource_type(interface: str) -> str:
    """Return CloudFormation's type of what the alert is about."""
    attachment = interface.startswith("tgw-attach-")
    return f"AWS::EC2::{'TransitGatewayAttachment' if attachment else 'NetworkInterface'}"


def _add_alert(attributes: dict[str, Any], alert: Alert) -> None:
    attributes["confidence_id"], attributes["confidence"] = _CONFIDENCES.get(
        alert.confidence, (0, "Unknown")
    )
    remotes = [
        address for remote in alert.top_remotes if (address := _address(remote.address)) is not None
    ]
    # The sender is the source: of inbound packets the remote side, else the local side.
    side = "src_endpoint" if alert.outbound is not True else "dst_endpoint"
    evidences: list[dict[str, Any]] = [{side: {"ip": address}} for address in remotes]
    for index, address in enumerate(remotes):
        attributes["observables"].append(
            {
                "name": f"evidences[{index}].{side}.ip",
                "type_id": _IP_ADDRESS,
                "type": "IP Address",
                "value": address,
            }
        )
    if alert.service_port is not None:
        # A request goes to the service's port; a reply comes from that port.
        end = "src_endpoint" if alert.leg == "response" else "dst_endpoint"
        name = f"evidences[{len(evidences)}].{end}.port"
        evidences.append({end: {"port": alert.service_port}})
        attributes["observables"].append(
            {"name": name, "type_id": _PORT, "type": "Port", "value": str(alert.service_port)}
        )
    evidences += [{"data": {"kind": item.kind, "detail": item.detail}} for item in alert.evidence]
    attributes["evidences"] = evidences or None
    if alert.remediation is not None:
        shared = shared_commands(alert.remediation)
        lines = [*alert.remediation.commands, *(shared or ()), *fix_notes(alert.remediation)]
        attributes["remediation"] = {"desc": "\n".join(lines)}


def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def _milliseconds(seconds: int | None) -> int | None:
    return None if seconds is None else seconds * 1_000


def _without_none(attributes: dict[str, Any]) -> dict[str, Any]:
    # OCSF has no null: an unknown attribute is absent.
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in attributes.items()
        if value is not None
    }
