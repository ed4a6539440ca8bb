"""The commands and their options.

The modules beside this one do the work. Each is imported by the command that needs it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowverdict.core.errors import FlowVerdictError, PolicyError
from flowverdict.core.untrusted import one_line
from flowverdict.delivery.channels import CHANNELS
from flowverdict.delivery.renderers import RENDERERS
from flowverdict_cli.alerts_commands import alerts
from flowverdict_cli.extras import require
from flowverdict_cli.options import EXIT_USAGE, OUTPUTS, reading, rules_option, selecting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


EXIT_FAILED = 1
EXIT_INTERRUPTED = 130  # 128 + SIGINT


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="flowverdict")
def cli() -> None:
    """Explain why VPC flows were rejected, how certain that is, and what to change.

    \b
    flowverdict explain *.log.gz
    flowverdict replay events/sqs-s3-delivery.json
    """  # noqa: D301 - \b is click's mark for lines to leave alone


@cli.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--output",
    type=click.Choice(OUTPUTS),
    default="table",
    show_default=True,
    metavar="FORM",
    help="table, markdown, html: problems, then noise. json, csv: each rejected flow. "
    f"terraform: the fixes. {', '.join(RENDERERS)}: each problem as that channel shows it.",
)
@click.option("--flows", is_flag=True, help="With table: a row for each rejected flow.")
@reading
@selecting
def explain(
    files: Sequence[str],
    *,
    output: str,
    flows: bool,
    **options: Any,  # noqa: ANN401 - click's values
) -> None:
    """Explain why flows in FILEs were rejected.

    Problems come first, the most severe on top, then noise, then what the input lacks. FILEs are
    files, folders, patterns such as "logs/*.gz", s3://BUCKET/PREFIX or cloudwatch:LOG-GROUP; "-" is
    standard input. Flow logs are read as AWS delivers them to S3, text, gzipped text or Parquet,
    and as AWS's console, CLI, Athena, Firehose and Security Lake write them (docs/inputs.md). A
    file that is there twice is read once. All files are read before the first verdict, because a
    request and its reply may be in different files.

    \b
    flowverdict explain *.log.gz
    flowverdict explain --rules rules.json *.log.gz
    flowverdict explain --flows --remote 203.0.113.0/24 *.log.gz
    flowverdict explain --output json *.log.gz | jq .verdict
    flowverdict explain --since 2026-11-22 s3://my-flow-logs/AWSLogs/
    flowverdict explain cloudwatch:vpc-flow-logs
    aws logs tail vpc-flow-logs | flowverdict explain -

    A summary of the records goes to standard error. A file that cannot be read is named there; the
    flows of the other files are explained, and what depends on the missing records is said with
    less confidence. Exit status: 0 if all files were read, 3 if some were, 2 if none was.
    """  # noqa: D301 - \b is click's mark for lines to leave alone
    from flowverdict_cli import explain, outputs  # noqa: PLC0415 - --help starts fast

    def write(shown: explain.Explained) -> None:
        outputs.write(output, shown, flows=flows)

    sys.exit(explain.run(files, options, write))


@cli.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    metavar="PAGE",
    help="The page to write.",
)
@reading
@selecting
def report(
    files: Sequence[str],
    *,
    path: Path,
    **options: Any,  # noqa: ANN401 - click's values
) -> None:
    """Write a page about the rejected flows in FILEs.

    It has a map, charts, the problems and their fixes. The page is one file for a browser. It has
    no script and loads nothing, so it can be kept with a ticket. FILEs, options and exit status are
    those of `explain`.

    \b
    flowverdict report --rules rules.json *.log.gz -o rejects.html
    """  # noqa: D301 - \b is click's mark for lines to leave alone
    from flowverdict_cli import explain, report  # noqa: PLC0415 - --help starts fast

    def save(shown: explain.Explained) -> None:
        report.write(path, shown)
        click.echo(one_line(f"{path}: written, for a browser"), err=True)

    sys.exit(explain.run(files, options, save))


@cli.command()
@click.option(
    "--region", metavar="REGION", help="Region to read. Default: the AWS configuration's."
)
@click.option(
    "--vpc",
    "vpc_ids",
    multiple=True,
    metavar="VPC_ID",
    help="Read only this VPC; may be repeated. Default: all VPCs.",
)
@click.option(
    "--output",
    default="-",
    show_default=True,
    metavar="FILE",
    help='File to write; "-" is standard output. A file is replaced only when all lists are read.',
)
def snapshot(region: str | None, vpc_ids: Sequence[str], output: str) -> None:
    """Write the rules of an AWS account to a file for `--rules`.

    The rules are interfaces, security groups, network ACLs, subnets, routes, peerings, endpoints,
    prefix lists, and load balancers with their targets. The file is one JSON object with the lists
    that "aws ec2 describe-..." and "aws elbv2 describe-..." print.
    They are read with your own AWS credentials (AWS_PROFILE, for example). Nothing in the account
    is changed.

    \b
    flowverdict snapshot --region eu-west-1 --output rules.json
    flowverdict snapshot --vpc vpc-0a1b2c3d --output rules.json

    A list that your credentials may not read is left out, and standard error says so. Exit status:
    0 if a snapshot was written, 2 if not.
    """  # noqa: D301 - \b is click's mark for lines to leave alone
    require("aws", "snapshot")
    from flowverdict_cli import rules, snapshot  # noqa: PLC0415 - the AWS SDK is an extra

    read = rules.read_account(region, vpc_ids)
    snapshot.write_snapshot(read, output)
    click.echo(snapshot.summary(read), err=True)


def _webhook_options[Command: Callable[..., object]](command: Command) -> Command:
    """Add an option ``--NAME-webhook`` for each message channel."""
    for name in reversed(CHANNELS):
        command = click.option(
            f"--{name}-webhook",
            metavar="URL",
            help=f"Post the alerts to {name.capitalize()} too.",
        )(command)
    return command


@cli.command()
@click.argument(
    "events", nargs=-1, required=True, metavar="EVENT.json...", type=click.Path(path_type=Path)
)
@click.option(
    "--objects",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder with the objects that an event names, as BUCKET/KEY. "
    'Default: "objects" beside the event file.',
)
@click.option(
    "--log-format",
    metavar="FIELDS",
    help='Format of CloudWatch Logs records: "default", or field names. '
    "Default: the format of the sample flow log.",
)
@click.option(
    "--output",
    type=click.Choice(["json", *RENDERERS]),
    default="email",
    show_default=True,
    help="Form of the alerts. All but email are JSON, one message a line.",
)
@_webhook_options
@rules_option
@click.option(
    "--later",
    is_flag=True,
    help="Also show the later messages: how alerts end, and the daily digest.",
)
@click.option(
    "--verbose", is_flag=True, help="Also print the functions' log lines to standard error."
)
def replay(  # noqa: PLR0913 - one argument for each option
    events: Sequence[Path],
    objects: Path | None,
    log_format: str | None,
    output: str,
    *,
    config: Path | None,
    account: bool,
    later: bool,
    verbose: bool,
    **webhooks: str | None,
) -> None:
    """Pass Lambda events to the real handlers and show the alerts.

    Everything runs in this process. moto stands in for AWS, so no account, network or Docker is
    needed. An EVENT is a Lambda event in JSON: an S3 notification, directly or through SNS or SQS,
    an EventBridge event, a CloudWatch Logs subscription or a scheduled event. For an object
    "….log.gz", the folder may hold the text without .gz. The events run in the given order on one
    state. With --rules or --account the functions use your own account's rules, so that the alerts
    are those that a deployed stack would send. A webhook's URL begins with https, or with http on
    this machine.

    \b
    flowverdict replay events/sqs-s3-delivery.json
    flowverdict replay --later events/sqs-s3-delivery.json
    flowverdict replay --objects ~/objects --output json event.json | jq .severity
    flowverdict replay --slack-webhook http://127.0.0.1:8000/hook event.json

    Exit status: 0 if all records were classified; 1 if an object or event failed, or a webhook
    rejected a message (the other alerts are shown); 2 if an EVENT file could not be read.
    """  # noqa: D301 - \b is click's mark for lines to leave alone
    require("replay", "replay")
    from flowverdict_cli import replay, rules  # noqa: PLC0415 - moto takes a second to import

    replayed = replay.Replay(
        rules=rules.rules_of(config, account=account),
        objects=objects,
        log_format=log_format,
        output=output,
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
@click.option(
    "--output",
    type=click.Choice(["short", "json", *RENDERERS]),
    default="short",
    show_default=True,
    help="short: a few lines for each alert. The others: whole messages, as `replay` shows them.",
)
def demo(output: str) -> None:
    """Replay the project's sample events.

    The end says what was seen and what to try next.
    """
    require("replay", "demo")
    from flowverdict_cli import demo, replay  # noqa: PLC0415 - moto takes a second to import

    if output == demo.SHORT:
        succeeded = demo.run()
    else:
        succeeded = replay.Replay(later=True, output=output).run(replay.demo_events())
    if not succeeded:
        sys.exit(EXIT_FAILED)


@cli.group()
def policy() -> None:
    """Check policy documents, which mute alerts of expected rejects."""


@policy.command()
@click.argument("file", metavar="FILE")
@click.argument("logs", nargs=-1, metavar="[LOGS]...")
@click.option(
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="A table, or one JSON object.",
)
@click.option(
    "--at", metavar="TIME", help="Time of the check, such as 2026-12-01T00:00:00Z. Default: now."
)
@rules_option
@click.option(
    "--log-format",
    metavar="FIELDS",
    help="Fields of lines without a header, as for `flowverdict explain`.",
)
def check(  # noqa: PLR0913, PLR0917 - one argument for each option
    file: str,
    logs: Sequence[str],
    output: str,
    at: str | None,
    config: Path | None,
    log_format: str | None,
    *,
    account: bool,
) -> None:
    """Check whether the policy document FILE is valid.

    Also show which silences end within a week. With LOGS, which are VPC flow logs as for
    "flowverdict explain", also show what each entry would mute, which entries match no flow, and
    how many alerts are left. "-" is standard input.

    \b
    flowverdict policy check policy.json
    flowverdict policy check policy.json --at 2026-12-01T00:00:00Z *.log.gz
    flowverdict policy check --rules rules.json policy.json *.log.gz
    aws ssm get-parameter --name /flowverdict/policy --output text \\
        --query Parameter.Value | flowverdict policy check -

    Exit status: 0 if the document is valid; 2 if not, with one problem a line on standard error, or
    if a file could not be read.
    """  # noqa: D301 - \b is click's mark for lines to leave alone
    require("policy", "policy check")
    from flowverdict_cli import policy_check  # noqa: PLC0415 - pydantic is an extra

    try:
        policy_check.run(
            file,
            logs,
            output=output,
            at=at,
            config=config,
            account=account,
            log_format=log_format,
        )
    except PolicyError as error:
        for problem in error.problems:
            click.echo(one_line(f"{file}: {problem}"), err=True)
        sys.exit(EXIT_USAGE)


@cli.command()
@click.argument("source", metavar="s3://BUCKET/PREFIX")
@click.option(
    "--stack-name",
    default="flowverdict",
    show_default=True,
    metavar="NAME",
    help="Stack to send to.",
)
@click.option("--queue-url", metavar="URL", help="Queue to send to, in place of the stack's own.")
@click.option(
    "--since",
    metavar="TIME",
    help="Only objects written at this time or later: 2026-11-01 or 2026-11-01T12:00:00Z.",
)
@click.option("--until", metavar="TIME", help="Only objects written before this time.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True, max=5_000),
    default=50.0,  # backfill.DEFAULT_RATE has the reason
    show_default=True,
    metavar="N",
    help="Maximum objects a second. 50 objects of 10,000 records each keep 30 functions busy.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File of the progress. Default: flowverdict-backfill-BUCKET-....json in the current "
    "directory, one for each source.",
)
@click.option(
    "--all-objects", is_flag=True, help="Also send objects that are not named as flow log files."
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would be sent, the duration and the cost; send nothing. The stack need not be "
    "there yet.",
)
@click.option(
    "--region", metavar="REGION", help="Region of the stack. Default: the AWS configuration's."
)
def backfill(  # noqa: PLR0913, PLR0917 - one argument for each option
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
    """Send flow logs that are in a bucket to the deployed stack.

    The stack's queue receives one message for each object, so Lambda reads the objects, and a
    broken object fails alone. By default only objects that are named as AWS names VPC flow logs are
    sent; the others are counted. The time of an object is that in its name, or else of its last
    change.

    The command can be stopped at any time. The same command continues after the last object that
    the queue accepted. An object may be sent twice without harm, since the stack counts it once.
    The stack remembers objects for 15 days: an object that it read earlier would be counted and
    notified again. Leave such objects out with --until.

    Alerts are notified as new, however old their records are. They have the records' own times and
    are evaluated with today's rules. The stack's limit MessagesPerHour applies to them and to
    current alerts together. To receive fewer messages meanwhile, use the policy document.

    \b
    flowverdict backfill --dry-run s3://my-flow-logs/AWSLogs/
    flowverdict backfill --since 2026-10-01 --until 2026-11-01 s3://logs/AWSLogs/
    flowverdict backfill s3://other-bucket/logs/ \\
        --queue-url https://sqs.eu-west-1.amazonaws.com/123456789012/flow-logs

    Your AWS credentials need s3:ListBucket, sqs:SendMessage and, without --queue-url,
    cloudformation:DescribeStacks. Exit status: 0 if the queue accepted all objects; 1 if the queue
    did not accept some, which the next run tries again; 2 if the bucket, the stack or the queue
    cannot be used; 130 if stopped.
    """  # noqa: D301 - \b is click's mark for lines to leave alone
    require("aws", "backfill")
    from flowverdict_cli import backfill  # noqa: PLC0415 - the AWS SDK is an extra
    from flowverdict_cli.backfill_listing import Location, Selection  # noqa: PLC0415 - as above
    from flowverdict_cli.inputs import moment  # noqa: PLC0415 - as above

    request = backfill.Request(
        location=Location.from_url(source),
        selection=Selection(since=moment(since), until=moment(until), all_objects=all_objects),
        stack_name=stack_name,
        queue_url=queue_url,
        region=region,
        rate=rate,
        state=state,
        dry_run=dry_run,
    )
    prepared = backfill.Backfill(request)
    if dry_run:
        prepared.dry_run()
    elif not prepared.run():
        sys.exit(EXIT_FAILED)


cli.add_command(alerts)


def run() -> None:
    """Run the command. Its errors are one line; Ctrl-C and a closed pipe print nothing."""
    try:
        cli.main(prog_name="flowverdict", standalone_mode=False)
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
        # The output cannot be written. A closed pipe does not lead here: click and rich exit
        # with 1 and print nothing.
        click.echo(f"flowverdict: {error.strerror or error}", err=True)
        # Otherwise Python prints the error again when it flushes at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
