"""Lead from a message to what it is about: its records, and the page on what to do.

Values that came from log records are checked before they become part of a query or an address.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import quote

from flowverdict.alerts.console_links import console_host
from flowverdict.alerts.ending import Ending
from flowverdict.alerts.model import Alert, Kind, Link
from flowverdict.core.untrusted import is_account_id, is_region, is_resource_id
from flowverdict.delivery.message_settings import PAGE_KEY
from flowverdict.flowlog.fields import MAX_EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.alerts.model import Notification
    from flowverdict.delivery.message_settings import MessageSettings

_MOST_DAYS = 31
_DAY = 86_400
# Flow logs are delivered some minutes after the records end, so the file may be of the next day:
# https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-path.html
_LATEST_DELIVERY = timedelta(hours=1)
_CLOCK = "%Y-%m-%dT%H:%M:%S.000Z"
_MARGIN = timedelta(minutes=10)  # around the records: an aggregation interval


def further_links(notification: Notification, settings: MessageSettings) -> tuple[Link, ...]:
    """Return the links that the stack's settings allow: a runbook, the page, the records."""
    found = [_runbook(notification, settings), _page(settings)]
    if isinstance(notification, Alert):
        found.append(_insights(notification, settings))
        found += (_object(name, settings) for name in notification.objects)
        found.append(_changes(notification))
    return tuple(link for link in found if link is not None)


def _runbook(notification: Notification, settings: MessageSettings) -> Link | None:
    """Return the page on the ending, else on the verdict; none on a notice that goes on."""
    ending = Ending.CORRECTED if notification.is_withdrawn else notification.ending
    subject = ending or (notification.verdict if isinstance(notification, Alert) else None)
    if settings.runbook_url is None or subject is None or not re.fullmatch(r"[a-z_-]+", subject):
        return None
    name = subject.replace("_", "-")
    return Link(title="runbook", url=f"{settings.runbook_url}{name}")


def _page(settings: MessageSettings) -> Link | None:
    """Return the console's page of the object, which whoever may read it opens from there."""
    bucket, region = settings.page_bucket, settings.region
    if bucket is None or region is None or not is_region(region):
        return None
    return Link(
        title="the page of all problems",
        url=f"https://{region}.{console_host(region)}/s3/object/{bucket}"
        f"?region={region}&prefix={PAGE_KEY}",
    )


_S3_OBJECT = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,62})/(?P<key>.{1,1024})", re.DOTALL)
# The end of a file's name as AWS writes it: when its records ended, and a hash.
_FILE_NAME = re.compile(r"_(\d{8}T\d{4}Z_[0-9a-f]{1,32})\.log")


def _object(name: str, settings: MessageSettings) -> Link | None:
    """Return the console's page of a flow log object; S3 notifies functions of its Region alone.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/how-to-enable-disable-notification-intro.html
    """
    found, region = _S3_OBJECT.fullmatch(name), settings.region
    if found is None or region is None or not is_region(region):
        return None
    named = _FILE_NAME.search(found["key"].rpartition("/")[2])
    shown = "" if named is None else f": {named[1]}"
    return Link(
        title=f"the records, in S3{shown}",
        url=f"https://{region}.{console_host(region)}/s3/object/{found['bucket']}"
        f"?region={region}&prefix={quote(found['key'], safe='/', errors='replace')}",
    )


def _changes(alert: Alert) -> Link | None:
    """Return the console's page of who changed what blocks, in the last 90 days.

    https://repost.aws/knowledge-center/cloudtrail-event-history-changed
    """
    entry, region = alert.network_acl_entry, alert.region
    blockers = alert.security_groups if entry is None else (entry.network_acl_id,)
    if alert.kind is Kind.SCAN or alert.is_over or region is None or not is_region(region):
        return None
    if not blockers or not is_resource_id(blockers[0]):
        return None
    return Link(
        title="who changed it",
        url=f"https://{region}.{console_host(region)}/cloudtrailv2/home?region={region}"
        f"#/events?ResourceName={quote(blockers[0])}",
    )


# --- CloudWatch Logs Insights ---------------------------------------------------------------------


def records_query(alert: Alert) -> str | None:
    """Return a Logs Insights query for the alert's records, of all its remotes as far as known.

    The query searches the text of the lines, so that it works with every flow log format.
    """
    interfaces = _ids_of(alert)
    if not interfaces:
        return alert.logs_query
    remotes = _addresses_of(alert)
    ports = [] if alert.service_port is None else [str(alert.service_port)]
    words = [["REJECT"], interfaces, remotes, ports]
    conditions = " and ".join(
        f"@message like /(^| ){_any_of(texts)}( |$)/" for texts in words if texts
    )
    return f"fields @timestamp, @message | filter {conditions} | sort @timestamp desc | limit 100"


def _any_of(words: list[str]) -> str:
    escaped = [word.replace(".", "[.]") for word in words]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def _insights(alert: Alert, settings: MessageSettings) -> Link | None:
    """Return the console's page with log groups, time range and query filled in.

    The console's own encoding of these is not documented; the form is what the console shows in its
    address line.
    """
    query, region = records_query(alert), settings.region
    times = _range(alert)
    if (
        query is None
        or times is None
        or region is None
        or not is_region(region)
        or alert.region not in {None, region}
        or not settings.log_groups
    ):
        return None
    first, last = times[0] - _MARGIN, times[1] + _MARGIN
    groups = "".join(f"~'{_starred(group)}" for group in settings.log_groups)
    detail = (
        f"~(end~'{_starred(f'{last:{_CLOCK}}')}~start~'{_starred(f'{first:{_CLOCK}}')}"
        "~timeType~'ABSOLUTE~tz~'UTC"
        f"~editorString~'{_starred(query)}~source~({groups}))"
    )
    once = quote(detail, safe="*").replace("~", "%7E")
    encoded = quote(f"?queryDetail={once}", safe="*").replace("%", "$")
    return Link(
        title="the records, in CloudWatch Logs Insights",
        url=(
            f"https://{region}.{console_host(region)}/cloudwatch/home?region={region}"
            f"#logsV2:logs-insights{encoded}"
        ),
    )


def _starred(text: str) -> str:
    """Return text with ``*2f`` in the place of ``/``, and so on for what is no letter or digit."""
    return "".join(
        character if re.fullmatch(r"[A-Za-z0-9.-]", character) else f"*{ord(character):02x}"
        for character in text
    )


# --- Athena ---------------------------------------------------------------------------------------


def athena_query(alert: Alert, settings: MessageSettings) -> str | None:
    """Return an Athena query for the alert's records in S3, of the days in which they may lie.

    The table is made as AWS describes it, with the partitions ``accid``, ``region`` and ``day``:
    https://docs.aws.amazon.com/athena/latest/ug/vpc-flow-logs-partition-projection.html
    """
    interfaces, times = _ids_of(alert), _range(alert)
    if settings.athena_table is None or not interfaces or times is None:
        return None
    days = _days(times[0], times[1] + _LATEST_DELIVERY)
    account, region, port = alert.account_id, alert.region, alert.service_port
    # Not by remote address: where a gateway forwards, srcaddr and dstaddr are not the packet's.
    conditions = [
        f"day IN ({_quoted(days)})",
        *([f"accid = '{account}'"] if account is not None and is_account_id(account) else []),
        *([f"region = '{region}'"] if region is not None and is_region(region) else []),
        f"interface_id IN ({_quoted(interfaces)})",
        "action = 'REJECT'",
        f"start BETWEEN {alert.first_seen} AND {alert.last_seen}",
    ]
    if port is not None:
        conditions.append(f"(srcport = {port} OR dstport = {port})")
    return (
        f'SELECT * FROM "{settings.athena_table}" WHERE {" AND ".join(conditions)} '  # noqa: S608 - shown to a person, all values checked
        "ORDER BY start LIMIT 100"
    )


def _days(first: datetime, last: datetime) -> list[str]:
    """Return the days as the partition writes them, the latest ones of very many."""
    count = min((last.date() - first.date()).days, _MOST_DAYS - 1)
    days = [last.date() - timedelta(days=back) for back in range(count, -1, -1)]
    return [f"{day:%Y/%m/%d}" for day in days]


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


# --- values that are safe in a query --------------------------------------------------------------


def _ids_of(alert: Alert) -> list[str]:
    """Return the alert's interfaces; nothing if there are more, or if one is not an id."""
    whole = alert.interface_count == len(alert.interfaces)
    shaped = all(is_resource_id(interface, "eni") for interface in alert.interfaces)
    return list(alert.interfaces) if whole and shaped else []


def _addresses_of(alert: Alert) -> list[str]:
    """Return all remote addresses; nothing if there are more, since the others count too."""
    addresses = [remote.address for remote in alert.top_remotes]
    whole = alert.remote_count == len(addresses)
    return addresses if whole and all(map(_is_address, addresses)) else []


def _is_address(text: str) -> bool:
    try:
        return str(ip_address(text)) == text and "%" not in text
    except ValueError:
        return False


def _range(alert: Alert) -> tuple[datetime, datetime] | None:
    """Return when the first record begins and the last ends, if a day's margin fits a datetime."""
    if alert.first_seen is None or alert.last_seen is None:
        return None
    if not _DAY <= alert.first_seen <= alert.last_seen <= MAX_EPOCH - _DAY:
        return None
    return datetime.fromtimestamp(alert.first_seen, tz=UTC), datetime.fromtimestamp(
        alert.last_seen, tz=UTC
    )
