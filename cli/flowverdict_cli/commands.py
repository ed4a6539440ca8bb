"""The commands and their options. What they do is in the modules beside this one, imported when a command needs them."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flowverdict.core.errors import FlowVerdictError, PolicyError
from flowverdict.core.untrusted import one_line
from flowverdict.delivery.channels import CHANNELS
from flowverdict.delivery.renderers import RENDERERS
from flowverdict_cli.extras import require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flowverdict.flows.read_source import Reading


EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="flowverdict")
def cli() -> None:
    """Say why VPC flows were rejected, how sure that is, and what to look at.

    \b
    flowverdict explain FILE...     verdicts for flow log files
    flowverdict snapshot            the rules of an AWS account, to a file
    flowverdict replay EVENT...     Lambda events through the real handlers, no AWS account
    flowverdict demo                the project's sample events, and the alerts they cause
    flowverdict policy check FILE   whether a policy document is valid, and what it would mute
    flowverdict backfill s3://...   flow logs of the past to the deployed stack's queue
    """  # noqa: D301 - click wants the character \b


@cli.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="A table to read, or one JSON object a line for each rejected flow.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Rules to judge by: JSON of the lists that `aws ec2 describe-*` print, as `flowverdict snapshot` writes it.",
)
@click.option(
    "--log-format",
    metavar="FIELDS",
    help="Fields of lines without a header, as words or as EC2 writes them. Default: AWS's default format.",
)
@click.option(
    "--most",
    type=click.IntRange(min=0),
    default=75_000,
    show_default=True,
    metavar="FLOWS",
    help="Rejected flows to tell one by one. Of a flood of more, the others are counted together. 0: all, at 2 KB of memory each.",
)
def explain(
    files: Sequence[str], output: str, config: Path | None, log_format: str | None, most: int
) -> None:
    """Say for each rejected flow in FILEs why it was rejected.

    FILEs are VPC flow logs as AWS delivers them to S3, gzipped or not; "-" is standard input. All files
    are judged together, since a request and its reply may lie in different ones. Lines without a
    header are read in AWS's default format, or as --log-format says.

    \b
    flowverdict explain 123456789012_vpcflowlogs_eu-west-1_fl-0a1b_20261122T1200Z_4f2a.log.gz
    flowverdict explain --config rules.json *.log.gz
    flowverdict explain --output json *.log.gz | jq 'select(.verdict == "network-acl")'
    aws logs filter-log-events --log-group-name vpc --output text --query 'events[].[message]' | flowverdict explain -

    A summary of what was read goes to standard error. Exit status: 0 when the files could be read, whatever
    they hold; 2 when one could not.
    """  # noqa: D301 - click wants the character \b
    from flowverdict.network.snapshot import load_snapshot  # noqa: PLC0415 - as above
    from flowverdict.verdict.batch import FixedConfig  # noqa: PLC0415 - as above
    from flowverdict.verdict.contract import to_json  # noqa: PLC0415 - as above
    from flowverdict_cli import explain  # noqa: PLC0415 - rich, only where it is shown

    configs = None if config is None else FixedConfig(load_snapshot(config))
    batch, readings = explain.read_files(
        files, explain.headerless_format(log_format), None if most == 0 else most
    )
    explanations = batch.explanations(configs)
    if output == "json":
        for explanation in explanations:
            click.echo(to_json(explanation))
    elif explanations:
        explain.show(explanations)
    if sys.stdout is not None:
        sys.stdout.flush()
    _tell_readings(readings)
    for line in explain.folded(batch):
        click.echo(one_line(line), err=True)
    click.echo(explain.summary(batch, len(explanations)), err=True)


def _tell_readings(readings: Sequence[Reading]) -> None:
    for reading in readings:
        for sample in reading.samples:
            click.echo(one_line(f"{reading.name}: {sample}"), err=True)
        if reading.unknown_fields:
            click.echo(
                one_line(
                    f"{reading.name}: unknown fields, passed over: {', '.join(reading.unknown_fields)}"
                ),
                err=True,
            )


@cli.command()
@click.option(
    "--region", metavar="REGION", help="Where to read. Default: as the AWS CLI is configured."
)
@click.option(
    "--vpc",
    "vpc_ids",
    multiple=True,
    metavar="VPC_ID",
    help="Read what belongs to this VPC; may be repeated. Default: all VPCs.",
)
@click.option(
    "--output",
    default="-",
    show_default=True,
    metavar="FILE",
    help='Where to write; "-" is standard output. A file is replaced once all is read.',
)
def snapshot(region: str | None, vpc_ids: Sequence[str], output: str) -> None:
    """Write the rules that decide what passes: interfaces, security groups, network ACLs and what is around them.

    The file is one JSON object with the lists that "aws ec2 describe-..." gives, read with your own AWS
    credentials (AWS_PROFILE and its kin work). Nothing is changed in the account.

    \b
    flowverdict snapshot --region eu-west-1 --output rules.json
    flowverdict snapshot --vpc vpc-0a1b2c3d --output rules.json

    A list your credentials may not read is left out, and standard error says so. Exit status: 0 when a
    snapshot was written; 2 when it could not be.
    """  # noqa: D301 - click wants the character \b
    require("aws", "snapshot")
    from flowverdict_cli import snapshot  # noqa: PLC0415 - the AWS SDK, only where it is used

    read = snapshot.read_snapshot(snapshot.user_client(region), vpc_ids)
    snapshot.write_snapshot(read, output)
    for denied in read.denied:
        click.echo(f"flowverdict: left out, not permitted: {denied}", err=True)
    click.echo(snapshot.summary(read), err=True)


def _webhook_options[Command: Callable[..., object]](command: Command) -> Command:
    """Add an option ``--NAME-webhook`` for each message channel."""
    for name in reversed(CHANNELS):
        command = click.option(
            f"--{name}-webhook",
            metavar="URL",
            help="Post the alerts there too; http is allowed to this machine only.",
        )(command)
    return command


@cli.command()
@click.argument(
    "events", nargs=-1, required=True, metavar="EVENT.json...", type=click.Path(path_type=Path)
)
@click.option(
    "--objects",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help='Folder that serves the objects an event names, as BUCKET/KEY. Default: "objects" beside the event file.',
)
@click.option(
    "--log-format",
    metavar="FIELDS",
    help='Format of CloudWatch Logs records ("default", or field names). Default: as EC2 describes it.',
)
@click.option(
    "--output",
    type=click.Choice(["json", *RENDERERS]),
    default="email",
    show_default=True,
    help="Face of the alerts; all but email are JSON, one message a line.",
)
@_webhook_options
@click.option(
    "--later",
    is_flag=True,
    help="Show too what comes if nothing more happens: resolved alerts and the digest.",
)
@click.option(
    "--verbose", is_flag=True, help="Show the functions' own log lines on standard error."
)
def replay(  # noqa: PLR0913 - an option each
    events: Sequence[Path],
    objects: Path | None,
    log_format: str | None,
    output: str,
    *,
    later: bool,
    verbose: bool,
    **webhooks: str | None,
) -> None:
    """Send Lambda events through the real handlers and show the alerts that come out.

    Everything runs in this process: moto stands in for AWS, so there is no account, no network and no Docker.
    An EVENT is what Lambda gets: an S3 notification, directly or through SNS or SQS, an EventBridge event, a
    CloudWatch Logs subscription or a scheduled event. For an object "….log.gz" the folder may hold the text,
    without .gz. Events are replayed in the order given, and what one causes is remembered for the next.

    \b
    flowverdict replay events/sqs-s3-delivery.json
    flowverdict replay --later events/sqs-s3-delivery.json
    flowverdict replay --objects ~/downloaded --output json my-event.json | jq .severity
    flowverdict replay --slack-webhook http://127.0.0.1:8000/hook events/cloudwatch-logs.json

    Exit status: 0 when all was classified; 1 when an object or event failed, or a webhook did not take a message
    (the others are shown); 2 when an EVENT file cannot be read.
    """  # noqa: D301 - click wants the character \b
    require("replay", "replay")
    from flowverdict_cli import replay  # noqa: PLC0415 - moto takes a second to import

    replayed = replay.Replay(
        objects=objects,
        log_format=log_format,
        face=output,
        webhooks={
            name: address
            for name in CHANNELS
            if (address := webhooks[f"{name}_webhook"]) is not None
        },
        later=later,
        verbose=verbose,
    )
    if not replayed.run([*events]):
        sys.exit(EXIT_FAILED)


@cli.command()
def demo() -> None:
    """Replay the project's sample events and show the alerts a person would get."""
    require("replay", "demo")
    from flowverdict_cli import replay  # noqa: PLC0415 - moto takes a second to import

    if not replay.demo():
        sys.exit(EXIT_FAILED)


@cli.group()
def policy() -> None:
    """The document that says which rejected flows nobody wants to hear of."""  # noqa: D401 - a group is a thing


@policy.command()
@click.argument("file", metavar="FILE")
@click.argument("logs", nargs=-1, metavar="[LOGS]...")
@click.option(
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="A table to read, or one JSON object.",
)
@click.option(
    "--at", metavar="TIME", help="Check for this time, like 2026-12-01T00:00:00Z, instead of now."
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="RULES",
    help="Rules to judge LOGS by, as for `flowverdict explain`.",
)
@click.option(
    "--log-format",
    metavar="FIELDS",
    help="Fields of lines without a header, as for `flowverdict explain`.",
)
def check(  # noqa: PLR0913, PLR0917 - an argument an option
    file: str,
    logs: Sequence[str],
    output: str,
    at: str | None,
    config: Path | None,
    log_format: str | None,
) -> None:
    """Say whether the policy document FILE is valid, and which of its silences have ended or end within a week.

    With LOGS - VPC flow logs, read and judged as `flowverdict explain` does - also say what each entry would mute,
    which entries match nothing, and how many alerts are left. "-" is standard input.

    \b
    flowverdict policy check policy.json
    flowverdict policy check policy.json --at 2026-12-01T00:00:00Z *.log.gz
    flowverdict policy check --output json --config rules.json policy.json *.log.gz | jq .effect
    aws ssm get-parameter --name /flowverdict/policy --query Parameter.Value --output text | flowverdict policy check -

    Exit status: 0 when the document is valid; 2 when it is not, with one problem a line on standard error, or when a
    file could not be read.
    """  # noqa: D301 - click wants the character \b
    require("policy", "policy check")
    from flowverdict.network.snapshot import load_snapshot  # noqa: PLC0415 - as above
    from flowverdict.verdict.batch import FixedConfig  # noqa: PLC0415 - as above
    from flowverdict_cli import explain, policy_check  # noqa: PLC0415 - rich and pydantic, only where they are used

    moment = policy_check.moment(at)
    try:
        notification = policy_check.read_policy(file)
    except PolicyError as error:
        for problem in error.problems:
            click.echo(one_line(f"{file}: {problem}"), err=True)
        sys.exit(EXIT_USAGE)
    explanations = summary = None
    readings: list[Reading] = []
    if logs:
        configs = None if config is None else FixedConfig(load_snapshot(config))
        batch, readings = explain.read_files(logs, explain.headerless_format(log_format))
        explanations = batch.explanations(configs)
        summary = explain.summary(batch, len(explanations))
    checked = policy_check.check(file, notification, moment, explanations)
    if output == "json":
        click.echo(policy_check.to_json(checked))
    else:
        policy_check.show(checked)
    if sys.stdout is not None:
        sys.stdout.flush()
    _tell_readings(readings)
    if summary is not None:
        click.echo(summary, err=True)


@cli.command()
@click.argument("source", metavar="s3://BUCKET/PREFIX")
@click.option(
    "--stack-name",
    default="flowverdict",
    show_default=True,
    metavar="NAME",
    help="Stack whose queue to send to.",
)
@click.option("--queue-url", metavar="URL", help="The queue itself; no stack is asked then.")
@click.option(
    "--since",
    metavar="TIME",
    help="Only objects written at this time or later, like 2026-11-01 or 2026-11-01T12:00:00Z.",
)
@click.option("--until", metavar="TIME", help="Only objects written before this time.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True, max=5_000),
    default=50.0,  # backfill.DEFAULT_RATE has the reason
    show_default=True,
    metavar="N",
    help="Objects a second at the most. 50 keep some 30 functions busy if each has 10,000 records.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to note how far it has got. Default: flowverdict-backfill-BUCKET-....json in the current directory, one a source.",
)
@click.option(
    "--all-objects", is_flag=True, help="Send objects that do not look like flow log files too."
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say what would be sent, how long it takes and what it costs; send nothing.",
)
@click.option(
    "--region", metavar="REGION", help="Where the stack is. Default: as the AWS CLI is configured."
)
def backfill(  # noqa: PLR0913, PLR0917 - an option each
    source: str,
    stack_name: str,
    queue_url: str | None,
    since: str | None,
    until: str | None,
    rate: float,
    state: Path | None,
    region: str | None,
    *,
    all_objects: bool,
    dry_run: bool,
) -> None:
    """Send objects that a bucket has already to the deployed stack, which reads them as if they had just arrived.

    One message an object goes to the stack's queue, so Lambda does the reading and a broken object fails alone. Objects are
    those named as AWS names VPC flow logs; what is passed over is counted. When an object was written its name says, or
    else its last change.

    It can be stopped at any time: the same command goes on after the last object that the queue has taken. An object may
    be sent twice, which does no harm, since the stack counts it once. It remembers that for 15 days: history that it
    has read earlier than that would be counted, and told, again. Leave it out with --until.

    Alerts are told as new, however old their records are: with the records' own times, judged by today's rules, at most
    MessagesPerHour (of the stack) an hour together with those of what happens now. To be told of less meanwhile, use the policy
    document.

    \b
    flowverdict backfill --dry-run s3://my-flow-logs/AWSLogs/
    flowverdict backfill --since 2026-10-01 --until 2026-11-01 s3://my-flow-logs/AWSLogs/
    flowverdict backfill --queue-url https://sqs.eu-west-1.amazonaws.com/123456789012/flow-logs s3://other-bucket/logs/

    Your AWS credentials need s3:ListBucket, sqs:SendMessage and, without --queue-url, cloudformation:DescribeStacks. Exit
    status: 0 when the queue has taken all; 1 when it did not take some objects, which the next run tries again; 2 when the
    bucket, the stack or the queue cannot be used; 130 when stopped.
    """  # noqa: D301 - click wants the character \b
    require("aws", "backfill")
    from flowverdict_cli import backfill  # noqa: PLC0415 - the AWS SDK and rich, only where they are used
    from flowverdict_cli.backfill_listing import Location, Selection  # noqa: PLC0415 - as above

    request = backfill.Request(
        location=Location.from_url(source),
        selection=Selection(
            since=backfill.moment(since), until=backfill.moment(until), all_objects=all_objects
        ),
        stack_name=stack_name,
        queue_url=queue_url,
        region=region,
        rate=rate,
        state=state,
    )
    run_of_it = backfill.Backfill(request)
    if dry_run:
        run_of_it.dry_run()
    elif not run_of_it.run():
        sys.exit(EXIT_FAILED)


def run() -> None:
    """Run the command; errors made on purpose are one line, Ctrl-C and a reader that went away are quiet."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except FlowVerdictError as error:
        click.echo(f"flowverdict: {error}", err=True)
        sys.exit(EXIT_USAGE)
    except OSError as error:
        # Output that cannot be written. A reader that went away never comes here: click and rich
        # end quietly with 1.
        click.echo(f"flowverdict: {error.strerror or error}", err=True)
        with contextlib.suppress(
            OSError
        ):  # Python would complain once more when it flushes at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
