"""Links to the AWS console, and a query for CloudWatch Logs Insights.

The links have the form that the console itself shows; each partition has a host of its own
(https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html).
Values that came from log records are checked or quoted.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from flowverdict.alerts.model import Link
from flowverdict.core.untrusted import is_region, is_resource_id

_HOSTS = {"cn": "console.amazonaws.cn", "us-gov": "console.amazonaws-us-gov.com"}
_DEFAULT_HOST = "console.aws.amazon.com"


def console_links(
    region: str | None,
    *,
    network_acl_id: str | None,
    security_groups: tuple[str, ...],
    interface_id: str | None,
    attachment_id: str | None = None,
) -> tuple[Link, ...]:
    """Return the console's pages of the blocking rules and the interface or attachment.

    Empty without a valid Region; without a page for an id that is malformed.
    """
    if region is None or not is_region(region):
        return ()
    pages = [
        ("network ACL", "vpcconsole/home", "NetworkAclDetails:networkAclId=", network_acl_id),
        *(
            ("security group", "ec2/home", "SecurityGroup:groupId=", group_id)
            for group_id in security_groups[:5]
        ),
        ("interface", "ec2/home", "NetworkInterface:networkInterfaceId=", interface_id),
        (
            "transit gateway attachment",
            "vpcconsole/home",
            "TransitGatewayAttachmentDetails:transitGatewayAttachmentId=",
            attachment_id,
        ),
    ]
    host = console_host(region)
    return tuple(
        Link(
            title=f"{what} {resource_id}",
            url=f"https://{region}.{host}/{page}?region={region}#{fragment}{quote(resource_id)}",
        )
        for what, page, fragment, resource_id in pages
        if resource_id is not None and is_resource_id(resource_id)
    )


def console_host(region: str) -> str:
    """Return the host of the Region's partition, without the Region before it."""
    return next(
        (host for part, host in _HOSTS.items() if region.startswith(f"{part}-")), _DEFAULT_HOST
    )


def logs_query(
    interface_id: str | None,
    service_port: int | None,
    remote: str | None,
    *,
    action: str | None = "REJECT",
) -> str | None:
    """Return a Logs Insights query for the rejected records; ``None`` without anything to look for.

    ``action`` is ``None`` for the records of a transit gateway, which have none. The query searches
    the text of the lines, so that it works with every flow log format.
    """
    values = [
        text
        for text in (interface_id, remote, None if service_port is None else str(service_port))
        if text is not None
    ]
    if not values or not all(re.fullmatch(r"[0-9A-Za-z:.-]+", text) for text in values):
        return None
    # A field ends at a space or at the end of the line; without that, port 443 matches 44300 and
    # byte counts.
    conditions = " and ".join(
        f"@message like /(^| ){text.replace('.', '[.]')}( |$)/"
        for text in (action, *values)
        if text is not None
    )
    return f"fields @timestamp, @message | filter {conditions} | sort @timestamp desc | limit 100"
