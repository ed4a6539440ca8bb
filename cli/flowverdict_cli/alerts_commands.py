"""``flowverdict alerts``: read, acknowledge, silence and close the alerts of the deployed stack."""

from __future__ import annotations

import json
import re
import shlex
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowverdict.core.errors import FlowVerdictError
from flowverdict.core.untrusted import one_line
from flowverdict_cli.extras import require
from flowverdict_cli.files import replace_whole
from flowverdict_cli.options import selecting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flowverdict.alerts.matching import Key, Value
    from flowverdict.alerts.model import Alert, Notification
    from flowverdict.core.addresses import Network
    from flowverdict.lifecycle.on_call_commits import OnCall, Person
    from flowverdict_cli.alerts_stack import Deployed, Place

# How --match names a key, beside the policy document's own name of it.
_SHORT = {
    "account": "account_id",
    "vpc": "vpc_id",
    "subnet": "subnet_id",
    "interface": "interface_id",
    "remote": "cidr",
    "group": "security_group_id",
    "acl": "network_acl_id",
    "tag": "owner",
}
_SPAN = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m(?:in)?)?")

_STACK = (
    click.option(
        "--stack",
        "--stack-name",
        "stack_name",
        default="flowverdict",
        show_default=True,
        envvar="FLOWVERDICT_STACK",
        show_envvar=True,
        metavar="NAME",
        help="Deployed stack.",
    ),
    click.option("--table", metavar="NAME", help="Its table, without asking CloudFormation."),
    click.option(
        "--region", metavar="REGION", help="Region of the stack. Default: the configuration's."
    ),
    click.option("--profile", metavar="NAME", help="AWS profile. Default: the configuration's."),
)


def _on_stack[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Add the options that say which stack."""
    for option in reversed(_STACK):
        command = option(command)
    return command


_FORM = click.option(
    "--output",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="A table, or an object or row for each alert.",
)
_FORM_OF_ONE = click.option(
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Text, or JSON for machines.",
)
_REASON = click.option(
    "--reason", required=True, metavar="TEXT", help="Why, for whoever reads it next."
)
_FINGERPRINT = click.argument("fingerprint", metavar="FINGERPRINT")


@click.group()
def alerts() -> None:
    """Show, acknowledge, silence and close the stack's alerts.

    FINGERPRINT is the one in a message, or its beginning where only one open alert begins so. The
    stack's table is read and written with your own AWS credentials (docs/operator-policy.json);
    nothing of it is public. What you write bears your ARN.
    """


@alerts.command("list")
@_FORM
@selecting
@_on_stack
def list_alerts(*, output: str, **options: Any) -> None:  # noqa: ANN401 - click's values
    """List the open alerts, the most severe and oldest first.

    \b
    flowverdict alerts list
    flowverdict alerts list --severity high --vpc vpc-0a1b2c3d
    flowverdict alerts list --output json | jq -r .fingerprint
    """  # noqa: D301 - \b is click's mark for lines to leave alone
    from flowverdict.lifecycle import alert_lines  # noqa: PLC0415 - --help starts fast
    from flowverdict_cli import alerts_view  # noqa: PLC0415 - as above

    found, now = _deployed(options), int(time.time())
    states = [state for state in found.open_alerts() if _is_selected(state.notification, options)]
    shown = alert_lines.rows(states, found.silences_to_show(), now)
    alerts_view.show_list(shown, output, now)


@alerts.command()
@click.option(
    "-o",
    "--output",
    "path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.",
)
@click.option("--bucket", metavar="NAME", help="Its bucket, without asking CloudFormation.")
@_on_stack
def page(*, path: Path, bucket: str | None, **options: Any) -> None:  # noqa: ANN401 - click's values
    """Save the page of open problems, for a browser.

    The sweep writes the page where something changed: a map, a time line, each problem with its
    evidence, fix and history, and what ended in the last day. It is one file without scripts.

    \b
    flowverdict alerts page -o problems.html
    """  # noqa: D301 - \b is click's mark for lines to leave alone
    require("aws", "alerts")
    from flowverdict_cli.alerts_stack import read_page  # noqa: PLC0415 - the AWS SDK is an extra

    text = read_page(_place(options), bucket)
    try:
        replace_whole(path, text)
    except OSError as error:
        raise FlowVerdictError(f"{path}: {(error.strerror or str(error)).lower()}") from error


@alerts.command()
@_FINGERPRINT
@_FORM_OF_ONE
@_on_stack
def show(fingerprint: str, *, output: str, **options: Any) -> None:  # noqa: ANN401 - click's values
    """Show an alert: what it is, what was sent, who acted on it.

    \b
    flowverdict alerts show 3f2a9c41
    """  # noqa: D301 - \b is click's mark for lines to leave alone
    from flowverdict.lifecycle import alert_lines  # noqa: PLC0415 - --help starts fast
    from flowverdict_cli import alerts_view  # noqa: PLC0415 - as above

    found = _deployed(options)
    state = found.find(fingerprint)
    (row,) = alert_lines.rows([state], found.silences_to_show(), int(time.time()))
    alerts_view.show_one(row, output)


@alerts.command()
@_FINGERPRINT
@_REASON
@_on_stack
def ack(fingerprint: str, *, reason: str, **options: Any) -> None:  # noqa: ANN401 - click's values
    """Acknowledge an alert: no more reminders of it until it ends.

    A message still tells that it got worse, and how it ended.

    \b
    flowverdict alerts ack 3f2a9c41 --reason "the network team is on it"
    """  # noqa: D301 - \b is click's mark for lines to leave alone
    found = _deployed(options)
    person = _person(found, reason)
    name = found.find(fingerprint).fingerprint
    state = _allowed(lambda: _on_call(found).acknowledge(name, person))
    _say(f"acknowledged by {person.by}: {state.notification.title}")


@alerts.command()
@_FINGERPRINT
@_REASON
@_on_stack
def resolve(
    fingerprint: str,
    *,
    reason: str,
    **options: Any,  # noqa: ANN401 - click's values
) -> None:
    """Close an alert by hand.

    Its last message says that you closed it and why, never that it is fixed. Records that end later
    bring it again.

    \b
    flowverdict alerts resolve 3f2a9c41 --reason "it was our own test"
    """  # noqa: D301 - \b is click's mark for lines to leave alone
    found = _deployed(options)
    person = _person(found, reason)
    name = found.find(fingerprint).fingerprint
    state = _allowed(lambda: _on_call(found).close(name, person))
    told = "the next sweep sends the message" if state.pending is not None else "nobody was told"
    _say(f"closed by {person.by}: {state.notification.title} ({told})")


@alerts.command()
@click.argument("fingerprint", metavar="[FINGERPRINT]", required=False)
@click.option(
    "--for", "span", required=True, metavar="TIME", help="How long: 30m, 4h, 1d12h; 30d at most."
)
@_REASON
@click.option(
    "--match",
    "matchers",
    multiple=True,
    metavar="KEY=VALUE",
    help="In place of FINGERPRINT: all alerts with this value. KEY is account, region, vpc, "
    "subnet, interface, remote, port, protocol, group, acl, verdict, severity, owner (a tag "
    "NAME=VALUE, or its value) or fingerprint. One of the values of each key has to match.",
)
@_on_stack
def silence(
    fingerprint: str | None,
    *,
    span: str,
    reason: str,
    matchers: Sequence[str],
    **options: Any,  # noqa: ANN401 - click's values
) -> None:
    """Hold back the messages of an alert, or of all that match.

    The alerts go on and are counted. What still happens when the silence ends is told then, and the
    end of an alert that was notified is told at once. Planned and lasting silences belong in the
    policy document; a silence here never brings back what that mutes.

    \b
    flowverdict alerts silence 3f2a9c41 --for 4h --reason "a change runs"
    flowverdict alerts silence --match group=sg-0a1b --for 1d --reason "migration"
    """  # noqa: D301 - \b is click's mark for lines to leave alone
    seconds = _seconds(span)
    asked = _asked(matchers)
    found = _deployed(options)
    person = _person(found, reason)
    if fingerprint is not None:
        from flowverdict.alerts.matching import Key  # noqa: PLC0415 - --help starts fast

        name = found.find(fingerprint).fingerprint
        asked = {**asked, Key.FINGERPRINT: (*asked.get(Key.FINGERPRINT, ()), name)}
    if not asked:
        raise FlowVerdictError("give the FINGERPRINT of an alert, or --match KEY=VALUE")
    made = _allowed(lambda: _on_call(found).silence(asked, person.now + seconds, person))
    from flowverdict.lifecycle import alert_lines  # noqa: PLC0415 - --help starts fast

    rows = alert_lines.rows(found.open_alerts(), found.store.load_silences(), person.now)
    matching = sum(made in row.silences for row in rows)
    _say(alert_lines.silence_line(made))
    _say(f"open alerts that it matches: {matching:,}")
    _say(f"to lift it: flowverdict alerts unsilence {made.silence_id}")


@alerts.command()
@_FORM_OF_ONE
@_on_stack
def silences(*, output: str, **options: Any) -> None:  # noqa: ANN401 - click's values
    """List the silences that have not ended, the first to end first."""
    from flowverdict.lifecycle import alert_lines  # noqa: PLC0415 - --help starts fast
    from flowverdict_cli import alerts_view  # noqa: PLC0415 - as above

    active = _deployed(options).store.load_silences().active(int(time.time())).silences
    for each in sorted(active, key=lambda silence: (silence.until, silence.silence_id)):
        if output == "json":
            click.echo(json.dumps(alerts_view.silence_as_json(each)))
        else:
            _say(alert_lines.silence_line(each))
    if not active and output != "json":
        _say("no silences")


@alerts.command()
@click.argument("silence_id", metavar="ID")
@_on_stack
def unsilence(silence_id: str, **options: Any) -> None:  # noqa: ANN401 - click's values
    """End a silence now; the next sweep tells what still happens."""
    found = _deployed(options)
    by = found.caller()
    lifted = _allowed(lambda: _on_call(found).lift(silence_id, by, int(time.time())))
    _say(f"lifted by {by}: {lifted.in_words}")


@alerts.command()
@_FINGERPRINT
@click.option(
    "--reason",
    default="wanted: say why, for whoever reads this later",
    metavar="TEXT",
    help="The reason in the entry.",
)
@_on_stack
def expect(fingerprint: str, *, reason: str, **options: Any) -> None:  # noqa: ANN401 - click's values
    """Print the policy entry that mutes such rejects for good.

    Nothing is written: the policy document is reviewed and deployed as you do it today.

    \b
    flowverdict alerts expect 3f2a9c41 --reason "this host may not send mail"
    """  # noqa: D301 - \b is click's mark for lines to leave alone
    from flowverdict.alerts.model import Alert  # noqa: PLC0415 - --help starts fast
    from flowverdict.alerts.policy_entry import policy_entry  # noqa: PLC0415 - as above
    from flowverdict.lifecycle.on_call import reason_from  # noqa: PLC0415 - as above

    found = _deployed(options)
    alert = found.find(fingerprint).notification
    if not isinstance(alert, Alert):
        raise FlowVerdictError(f"{alert.fingerprint} is a notice: the policy mutes rejected flows")
    why = _allowed(lambda: reason_from(reason))
    click.echo(json.dumps(policy_entry(alert, why), indent=2))
    for line in _how_to_put(found.policy):
        click.echo(line, err=True)


def _how_to_put(policy: str | None) -> Sequence[str]:
    """Return how an entry comes into force, where the stack reads its policy document."""
    if policy is None:
        return ('Add it to "expected" of a policy document, which the parameter Policy names.',)
    store, _, name = policy.partition(":")
    check = "flowverdict policy check policy.json"
    if store == "ssm":
        quoted = shlex.quote(name)
        return (
            f"The policy document is the parameter {name}:",
            f"  aws ssm get-parameter --name {quoted} --with-decryption --output text \\",
            "      --query Parameter.Value > policy.json",
            '  (add the entry to "expected" in policy.json)',
            f"  {check}",
            f"  aws ssm put-parameter --name {quoted} --overwrite --value file://policy.json",
        )
    return (
        f"The policy document is AppConfig's {name} (application/environment/profile):",
        f'  add the entry to "expected", try it with {check}, and deploy the new version.',
    )


# --- what the commands share ----------------------------------------------------------------------


def _deployed(options: Mapping[str, Any]) -> Deployed:
    require("aws", "alerts")
    from flowverdict_cli.alerts_stack import deployed  # noqa: PLC0415 - the AWS SDK is an extra

    return deployed(_place(options))


def _place(options: Mapping[str, Any]) -> Place:
    from flowverdict_cli.alerts_stack import Place  # noqa: PLC0415 - the AWS SDK is an extra

    return Place(
        stack_name=options["stack_name"],
        table=options["table"],
        region=options["region"],
        profile=options["profile"],
    )


def _on_call(found: Deployed) -> OnCall:
    from flowverdict.lifecycle.on_call_commits import OnCall  # noqa: PLC0415 - --help starts fast

    return OnCall(found.store, found.intervals)


def _person(found: Deployed, reason: str) -> Person:
    from flowverdict.lifecycle.on_call import reason_from  # noqa: PLC0415 - --help starts fast
    from flowverdict.lifecycle.on_call_commits import Person  # noqa: PLC0415 - as above

    why = _allowed(lambda: reason_from(reason))
    return Person(by=found.caller(), reason=why, now=int(time.time()))


def _allowed[Result](act: Callable[[], Result]) -> Result:
    """Return what an act returns; its refusal becomes the command's error."""
    try:
        return act()
    except ValueError as error:
        raise FlowVerdictError(str(error)) from error


def _say(text: str) -> None:
    click.echo(one_line(text))
    if sys.stdout is not None:
        sys.stdout.flush()


def _seconds(span: str) -> int:
    """Parse a time span like ``4h`` or ``1d12h``."""
    match = _SPAN.fullmatch(span.strip())
    days, hours, minutes = (0, 0, 0) if match is None else (int(n or 0) for n in match.groups())
    seconds = 86_400 * days + 3_600 * hours + 60 * minutes
    if seconds == 0:
        raise FlowVerdictError(f"--for: {span[:20]!a} is not a time like 30m, 4h or 1d12h")
    return seconds


def _asked(matchers: Sequence[str]) -> dict[Key, tuple[Value, ...]]:
    """Parse ``KEY=VALUE`` of ``--match``; the same key again is one more of its values."""
    from flowverdict.alerts.matching import Key, parse_value  # noqa: PLC0415 - --help starts fast

    asked: dict[Key, tuple[Value, ...]] = {}
    for text in matchers:
        name, equals, value = text.partition("=")
        name = name.strip().casefold()
        try:
            key = Key(_SHORT.get(name, name))
        except ValueError as error:
            every = ", ".join(sorted({*_SHORT, *Key} - {*_SHORT.values()} | {"owner"}))
            raise FlowVerdictError(f"--match: {name[:40]!a} is not one of {every}") from error
        if not equals:
            raise FlowVerdictError(f"--match: {text[:40]!a} has no value: write {name}=VALUE")
        try:
            asked[key] = (*asked.get(key, ()), parse_value(key, value.strip()))
        except ValueError as error:
            raise FlowVerdictError(f"--match {name}: {value[:60]!a} is {error}") from error
    return asked


def _is_selected(notification: Notification, options: Mapping[str, Any]) -> bool:
    """Whether an alert passes the filters; an alert that does not know a value fails them."""
    from flowverdict.alerts.model import Alert  # noqa: PLC0415 - --help starts fast

    severity, remote = options["severity"], options["remote"]
    if severity is not None and notification.severity.rank > severity.rank:
        return False
    if options["vpc"] not in {None, notification.vpc_id}:
        return False
    if options["interface"] is not None and options["interface"] not in notification.interfaces:
        return False
    if not isinstance(notification, Alert):
        return remote is None and options["port"] is None and options["verdict"] is None
    return (
        options["port"] in {None, notification.service_port}
        and options["verdict"] in {None, notification.verdict}
        and (remote is None or _is_remote(notification, remote))
    )


def _is_remote(alert: Alert, network: Network) -> bool:
    return any(ip_address(remote.address) in network for remote in alert.top_remotes)
