"""Where to look: addresses of AWS's console, and a query for CloudWatch Logs Insights.

The console's addresses are as it shows them itself; each partition has a host of its own
(https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html). What goes into them came out of
log records, so it is checked or quoted.
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
) -> tuple[Link, ...]:
    """Give the console's pages of what blocks and where; none without a Region, and none for what is no id."""
    if region is None or not is_region(region):
        return ()
    pages = [
        ("network ACL", "vpcconsole/home", "NetworkAclDetails:networkAclId=", network_acl_id),
        *(
            ("security group", "ec2/home", "SecurityGroup:groupId=", group_id)
            for group_id in security_groups[:5]
        ),
        ("interface", "ec2/home", "NetworkInterface:networkInterfaceId=", interface_id),
    ]
    host = next(
        (host for part, host in _HOSTS.items() if region.startswith(f"{part}-")), _DEFAULT_HOST
    )
    return tuple(
        Link(
            title=f"{what} {one}",
            url=f"https://{region}.{host}/{page}?region={region}#{fragment}{quote(one)}",
        )
        for what, page, fragment, one in pages
        if one is not None and is_resource_id(one)
    )


def logs_query(
    interface_id: str | None, service_port: int | None, remote: str | None
) -> str | None:
    """Give a Logs Insights query for the rejected records, whatever the flow log's format: it looks at the text of the lines.

    ``None`` where nothing is known to look for.
    """
    wanted = [
        text
        for text in (interface_id, remote, None if service_port is None else str(service_port))
        if text is not None
    ]
    if not wanted or not all(re.fullmatch(r"[0-9A-Za-z:.-]+", text) for text in wanted):
        return None
    # A field ends at a blank or at the end of the line; without that, port 443 is found in 44300 and in byte counts.
    likes = [
        f"@message like /(^| ){text.replace('.', '[.]')}( |$)/" for text in ("REJECT", *wanted)
    ]
    return f"fields @timestamp, @message | filter {' and '.join(likes)} | sort @timestamp desc | limit 100"
