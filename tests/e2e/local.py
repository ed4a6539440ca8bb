"""Run the stack on this machine, to try things on: ``make local``.

The program names a folder. A flow log that is copied into the folder goes into the bucket, a
scheduled event starts the sweep, and a policy document goes where the policy is stored. Messages to
Slack and mails are printed as they arrive. Ctrl-C ends everything.
"""

from __future__ import annotations

import gzip
import html
import json
import logging
import os
import re
import signal
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from flowverdict_cli.sample_world import LOG_GROUP
from tests.e2e.emulator import emulator, make_shop, moto_server
from tests.e2e.samples import (
    ACCOUNT_ID,
    POLICY_NAME,
    REGION,
    key,
    prepare,
    scheduled,
    shop_delivery,
    shop_log_lines,
)
from tests.e2e.stack import Stack, build
from tests.e2e.subscribers import put_log_events, put_object, subscribe
from tests.e2e.webhook import ACCEPTED, webhook
from tests.helpers.slack_blocks import blocks_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.e2e.emulator import Emulator
    from tests.e2e.subscribers import Queue
    from tests.e2e.webhook import Webhook

_PAUSE = 0.5  # seconds between looks at the folder and the queue
_WIDTH = 110


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _instructions(aws: Emulator, stack: Stack, folder: Path) -> str:
    exports = "\n".join(
        f"export {name}={value}" for name, value in aws.function_environment().items()
    )
    environment = folder / "environment"
    environment.write_text(f"{exports}\n")
    (folder / "shop.log").write_text(shop_delivery())
    # So much later that the alerts are due whenever the user tries these events.
    for name, seconds in (("five-hours-later", 5 * 3600), ("two-days-later", 48 * 3600)):
        (folder / f"{name}.json").write_text(json.dumps(scheduled(seconds)))
    muted = {"match": {"port": 5432}, "reason": "tried out"}
    (folder / "policy.json").write_text(json.dumps({"version": 1, "expected": [muted]}))
    return f"""
The stack is deployed, and all of it is on this machine. Slack and the mailbox are this terminal.
In a second terminal, from the project's folder, try:

1. Deliver a flow log of the shop. Within a minute Slack and the mailbox show what is wrong in the
   shop, and the fix. (Signals wait for 31 seconds here, for 90 by default on AWS.)
     cp {folder}/shop.log {folder}/put-here/
2. Deliver the same faults in another file: they are counted, and no message is sent again.
     cp {folder}/shop.log {folder}/put-here/again.log
3. Deliver any flow log of yours, or of the samples. This sample is of a network that the emulator
   does not have, so the alert has no fix:
     cp tests/scenarios/same-subnet-request.log {folder}/put-here/

4. Run the sweep as of some hours later, without more flow logs: the alerts end as unknown. Run the
   sweep as of some days later: the digest of the internet's noise is sent.
     cp {folder}/five-hours-later.json {folder}/put-here/
     cp {folder}/two-days-later.json {folder}/put-here/
5. Mute port 5432 by a policy, which takes effect within a minute. Slack then gets no message of
   this file:
     cp {folder}/policy.json {folder}/put-here/
     sleep 60; cp tests/scenarios/outbound-request.log {folder}/put-here/
6. Look at the resources and their contents with the AWS command line. The first line directs the
   AWS command line to the emulator:
     source {environment}
     aws s3 ls s3://{stack.outputs["FlowLogBucketName"]} --recursive
     aws dynamodb scan --table-name {stack.outputs["AlertTableName"]} \
--projection-expression pk,due_at
     aws sqs receive-message --endpoint-url {aws.place.url} \
--queue-url {stack.outputs["FlowLogDeadLetterQueueUrl"]}
     .venv/bin/flowverdict snapshot
     tail -f {aws.folder}/emulator.log

The log events of the shop, in the group {LOG_GROUP}, are being delivered; their alerts follow.
Ctrl-C ends everything.
"""


def _put_new_files(stack: Stack, inbox: Path) -> None:
    for path in sorted(inbox.iterdir()):
        if time.time() - path.stat().st_mtime < _PAUSE:
            continue  # perhaps still being copied
        if path.suffix == ".json":
            _say(f"\n-> {_take_document(stack, path.read_text())}: {path.name}")
            path.unlink()
            continue
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        # Never the same key twice, as AWS never writes a key twice: the functions would take the
        # object for the same file, delivered again.
        name = key(
            stack.place, f"{path.name.removesuffix('.gz').removesuffix('.log')}-{time.time_ns()}"
        )
        put_object(stack, name, content.decode(errors="replace"))
        _say(f"\n-> delivered: {path.name}")
        path.unlink()


def _take_document(stack: Stack, text: str) -> str:
    if '"detail-type"' in text:
        stack.place.client("lambda").invoke(
            FunctionName=stack.physical_id("SweepAlertsFunction"), Payload=text.encode()
        )
        return "swept as of"
    stack.place.client("ssm").put_parameter(
        Name=POLICY_NAME, Value=text, Type="String", Overwrite=True
    )
    return f"put at {POLICY_NAME}"


def slack_lines(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a Block Kit message as Slack shows them, without colours and columns."""
    for block in blocks_of(message):
        match block["type"]:
            case "header":
                yield block["text"]["text"]
            case "section":
                yield from block.get("text", {}).get("text", "").splitlines()
                for field in block.get("fields", []):
                    label, _, value = field["text"].partition("\n")
                    yield f"{label} {value}"
            case "context":
                yield " ".join(element.get("text", "") for element in block["elements"])
            case "rich_text":
                for element in block["elements"]:
                    text = "".join(part.get("text", "") for part in element["elements"])
                    yield from (f"    {line}" for line in text.splitlines())
            case "divider":
                yield "----"


def _boxed(title: str, lines: Iterator[str]) -> str:
    # As Slack does: unescape its three entities, and show links and times by their text.
    link = re.compile(r"<(?:https://|!date\^)[^|>]+[|]([^>]+)>")
    shown = (html.unescape(link.sub(r"\1", line)) for line in lines)
    wrapped = [
        piece
        for line in shown
        for piece in (
            textwrap.wrap(
                line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
            )
            or [""]
        )
    ]
    return "\n".join(
        [
            f"\n+- {title} {'-' * (_WIDTH - len(title))}",
            *(f"| {line}" for line in wrapped),
            f"+{'-' * (_WIDTH + 3)}",
        ]
    )


def _print_slack(slack: Webhook) -> None:
    for request in slack.requests:
        _say(_boxed("Slack", slack_lines(json.loads(request.body))))
    slack.forget()


def _print_mail(mail: Queue) -> None:
    for message in mail.rest_whole():
        _say(f"\n[mail] {message.subject}")


def _serve(folder: Path) -> NoReturn:
    _say("sam build, sam deploy: about half a minute")
    with (
        webhook() as slack,
        webhook(otherwise=ACCEPTED) as teams,
        moto_server(account_id=ACCOUNT_ID, region=REGION) as rules,
        emulator(account_id=ACCOUNT_ID, region=REGION, ec2_url=rules.url) as aws,
    ):
        make_shop(rules)
        stack = Stack(build=build(folder), place=aws.place, name="flowverdict")
        stack.deploy(
            prepare(aws.place, slack.address, teams.address)
            | {"SlackFromSeverity": "low", "EmailFromSeverity": "low"}
        )
        mail = subscribe(aws.place, stack.outputs["EmailTopicArn"], "mail", raw=False)
        inbox = folder / "put-here"
        inbox.mkdir()
        _say(_instructions(aws, stack, folder))
        put_log_events(aws.place, LOG_GROUP, "eni-7db9fa8d493456225-all", shop_log_lines())
        while True:
            _put_new_files(stack, inbox)
            _print_slack(slack)
            _print_mail(mail)
            time.sleep(_PAUSE)


def _end(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    # moto's server writes a line for each request.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Also where SIGINT is ignored at the start, as in a script's background processes.
        signal.signal(number, _end)
    try:
        with tempfile.TemporaryDirectory(prefix="flowverdict-local-") as name:
            _serve(Path(name))
    except KeyboardInterrupt:
        _say("everything is gone")
        sys.exit(128 + signal.SIGINT if os.environ.get("CI") else 0)
