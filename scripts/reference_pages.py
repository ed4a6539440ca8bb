"""Write the pages of ``docs/reference`` and the messages in ``docs/runbooks`` from the code.

``--check`` writes nothing and exits with 1 where a page differs.

python -m scripts.reference_pages [--check] (``make reference``, ``make docs``)
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.testing import CliRunner

from flowverdict.alerts.ending import Ending
from flowverdict.delivery.renderers import RENDERERS
from flowverdict.lifecycle.on_call import closed_by_person
from flowverdict.lifecycle.state_machine import AlertState
from flowverdict.verdict.model import VerdictKind
from flowverdict_cli.commands import cli
from scripts.generated import write_or_check
from tests.helpers.notification_samples import FOUND_AT, scenario
from tests.helpers.sam_template import read_template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
# A message that shows each verdict: the scenario's files, and its rules.
MESSAGES: Final = {
    VerdictKind.SECURITY_GROUP: ("rules-inbound-request.log", "shop.config.json"),
    VerdictKind.NETWORK_ACL: ("rules-outbound-response.log", "shop.config.json"),
    VerdictKind.NETWORK_ACL_AND_SECURITY_GROUP: ("rules-both-layers.log", "shop.config.json"),
    VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP: ("inbound-request.log", None),
    VerdictKind.BLOCK_PUBLIC_ACCESS: ("block-public-access.log", None),
    VerdictKind.ENCRYPTION_CONTROLS: ("encryption-controls.log", None),
    VerdictKind.CLOSED_CONNECTION: ("closed-connection.log", None),
    VerdictKind.RULES_ALLOW: ("rules-allow-now.log", "shop.config.json"),
    VerdictKind.NO_ROUTE: ("transit-gateway-no-route.log", None),
    VerdictKind.BLACKHOLE_ROUTE: ("transit-gateway-blackhole-route.log", None),
    VerdictKind.MTU_EXCEEDED: ("transit-gateway-mtu-exceeded.log", None),
    VerdictKind.TTL_EXPIRED: ("transit-gateway-ttl-expired.log", None),
    VerdictKind.UNDETERMINED: ("reply-looking-without-request.log", None),
}
# A message that shows each ending: one of the texts that the tests of the renderers hold, or made.
ENDINGS: Final = {
    Ending.FIXED: "email-resolved.txt",
    Ending.QUIET: "email-quiet.txt",
    Ending.UNKNOWN: "email-unknown.txt",
    Ending.CLOSED: None,
    Ending.CORRECTED: "email-corrected.txt",
}
_GENERATED = "<!-- Written by `make reference` from {}. -->\n"
_MESSAGE = re.compile(r"<!-- message -->\n.*?<!-- end of message -->\n", re.DOTALL)


def runbook(value: VerdictKind | Ending) -> Path:
    """Return the runbook page of a verdict or an ending."""
    return DOCS / "runbooks" / f"{value.replace('_', '-')}.md"


def pages() -> Iterator[tuple[Path, str]]:
    """Yield each generated page and its text."""
    template = read_template(ROOT / "template.yaml")
    reference = DOCS / "reference"
    yield reference / "cli.md", _cli()
    yield reference / "parameters.md", _parameters(template)
    yield reference / "resources.md", _resources(template)
    yield reference / "policy.md", _policy()
    yield reference / "alert.md", _alert()
    yield reference / "conformance.md", _conformance()
    for verdict in VerdictKind:
        yield runbook(verdict), _with_message(runbook(verdict), _message_of(verdict))
    for ending, name in ENDINGS.items():
        text = _closed() if name is None else (ROOT / "tests" / "golden" / name).read_text()
        yield runbook(ending), _with_message(runbook(ending), text)


# --- the command ----------------------------------------------------------------------------------


def _commands(command: click.Command, name: str) -> Iterator[str]:
    yield name
    if isinstance(command, click.Group):
        for below in sorted(command.commands):
            yield from _commands(command.commands[below], f"{name} {below}")


def _cli() -> str:
    parts = ["# The command\n", _GENERATED.format("the command's own help")]
    for name in _commands(cli, "flowverdict"):
        arguments = [*name.split()[1:], "--help"]
        printed = CliRunner().invoke(cli, arguments, prog_name="flowverdict", terminal_width=100)
        parts.append(f"## {name}\n\n```text\n{printed.output.rstrip()}\n```\n")
    return "\n".join(parts)


# --- the template ---------------------------------------------------------------------------------


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def _allowed(parameter: Mapping[str, Any]) -> str:
    if "AllowedValues" in parameter:
        return ", ".join(f"`{value}`" for value in parameter["AllowedValues"] if value != "")
    if "MinValue" in parameter:
        return f"{parameter['MinValue']:,} to {parameter['MaxValue']:,}"
    return ""


def _parameters(template: Mapping[str, Any]) -> str:
    lines = [
        "# Parameters of the stack\n",
        _GENERATED.format("template.yaml"),
        "[Deploy](../start/deploy.md) says which of them matter first.\n",
        "The reason of each default stands beside it in [template.yaml](../../template.yaml).\n",
    ]
    parameters = dict(template["Parameters"])
    for group in template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]:
        lines += [
            f"## {group['Label']['default']}\n",
            "| parameter | default | values |  |",
            "|---|---|---|---|",
        ]
        for name in group["Parameters"]:
            parameter = parameters.pop(name)
            default = f"`{parameter['Default']}`" if parameter.get("Default", "") != "" else "empty"
            cells = (f"`{name}`", default, _allowed(parameter), parameter["Description"])
            lines.append("| " + " | ".join(map(_cell, cells)) + " |")
        lines.append("")
    if parameters:
        raise ValueError(f"in no group of the template: {sorted(parameters)}")
    lines += ["## Outputs\n", "| output |  |", "|---|---|"]
    lines += [
        f"| `{name}` | {_cell(output['Description'])} |"
        for name, output in template["Outputs"].items()
    ]
    return "\n".join(lines) + "\n"


def _resources(template: Mapping[str, Any]) -> str:
    by_kind: defaultdict[str, list[str]] = defaultdict(list)
    for name, resource in template["Resources"].items():
        condition = f" (if `{resource['Condition']}`)" if "Condition" in resource else ""
        by_kind[resource["Type"]].append(f"`{name}`{condition}")
    lines = [
        "# Resources of the stack\n",
        _GENERATED.format("template.yaml"),
        "What the template names. SAM adds permissions, event source mappings and a schedule.\n",
        "[Permissions](../permissions.md) says what each permission is for.\n",
        "| type | number | resources |",
        "|---|---:|---|",
    ]
    lines += [
        f"| {kind.removeprefix('AWS::')} | {len(names)} | {', '.join(names)} |"
        for kind, names in sorted(by_kind.items())
    ]
    lines += [
        "\n## What each role and each policy of roles allows\n",
        "| role or policy | statement | actions |",
        "|---|---|---|",
    ]
    for name, resource in template["Resources"].items():
        if resource["Type"] not in {"AWS::IAM::Role", "AWS::IAM::ManagedPolicy"}:
            continue
        properties = resource["Properties"]
        stated = [properties.get("Policies"), properties.get("PolicyDocument")]
        lines += [f"| `{name}` | {sid} | {actions} |" for sid, actions in _statements(stated)]
    return "\n".join(lines) + "\n"


def _statements(value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - a template's own data
    """Yield the name and the actions of each statement, wherever ``If`` has put it."""
    if isinstance(value, dict):
        if "Action" in value:
            actions = value["Action"]
            listed = [actions] if isinstance(actions, str) else actions
            yield value.get("Sid", ""), ", ".join(f"`{action}`" for action in listed)
            return
        value = list(value.values())
    for part in value if isinstance(value, list) else []:
        yield from _statements(part)


# --- the schemas ----------------------------------------------------------------------------------


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "anyOf" in schema or "oneOf" in schema:
        options = schema.get("anyOf", schema.get("oneOf", []))
        return " or ".join(dict.fromkeys(_type(option) for option in options))
    kinds = schema.get("type", "any")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "array" in kinds and "items" in schema:
        kinds = [f"list of {_type(schema['items'])}" if kind == "array" else kind for kind in kinds]
    return " or ".join(kinds)


def _table(schema: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    lines = ["| key | type | always |  |", "|---|---|---|---|"]
    for name, value in schema["properties"].items():
        always = "yes" if name in required else ""
        cells = (f"`{name}`", _type(value), always, value.get("description", ""))
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines) + "\n"


def _schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((DOCS / "schemas" / f"{name}.schema.json").read_text())
    return schema


def _policy() -> str:
    schema = _schema("policy")
    parts = [
        "# The policy document\n",
        _GENERATED.format("docs/schemas/policy.schema.json"),
        "[Mute](../how-to/mute.md) says how to use it.\n",
        "[The schema](../schemas/policy.schema.json), [an example](../policy.example.json).\n",
        _table(schema),
    ]
    for name, part in schema["$defs"].items():
        if "properties" in part:
            parts += [f"## {name}\n", f"{part['description']}\n", _table(part)]
        else:
            parts += [f"## {name}\n", f"One of {_type(part)}.\n"]
    return "\n".join(parts)


def _alert() -> str:
    schema = _schema("alert")
    parts = [
        "# The alert as JSON\n",
        _GENERATED.format("docs/schemas/alert.schema.json"),
        "What the topic `AlertTopicArn` sends. [The schema](../schemas/alert.schema.json).\n",
    ]
    for name, part in schema["$defs"].items():
        if "properties" in part:
            parts += [f"## {name}\n", f"{part.get('title', name)}.\n", _table(part)]
    explanation = _schema("explanation")
    parts += [
        "## A line of `explain --output json`\n",
        "[The schema](../schemas/explanation.schema.json).\n",
        _table(explanation),
    ]
    return "\n".join(parts)


def _conformance() -> str:
    lines = [
        "# Conformance vectors\n",
        _GENERATED.format("tests/conformance"),
        "What AWS's rules do with one packet, as data for any program, each with the AWS page.\n",
        "[Their format](../../tests/conformance/README.md).\n",
        "| vectors | number | about |",
        "|---|---:|---|",
    ]
    total = 0
    for path in sorted((ROOT / "tests" / "conformance").glob("*.json")):
        if path.name == "vector.schema.json":
            continue
        content = json.loads(path.read_text())
        total += len(content["vectors"])
        subject = f"[{content['subject']}](../../tests/conformance/{path.name})"
        lines.append(f"| {subject} | {len(content['vectors'])} | {_cell(content['about'])} |")
    return "\n".join([*lines, f"| all | {total} | |"]) + "\n"


# --- the messages of the runbooks -----------------------------------------------------------------


def _message_of(verdict: VerdictKind) -> str:
    """Return the email about the scenario of a verdict, as the command prints it."""
    log, rules = MESSAGES[verdict]
    scenarios = ROOT / "tests" / "scenarios"
    given = [] if rules is None else ["--rules", str(scenarios / rules)]
    printed = CliRunner().invoke(
        cli, ["explain", "--output", "email", *given, str(scenarios / log)]
    )
    if printed.exit_code != 0:
        raise ValueError(f"{verdict}: {printed.output}")
    return printed.stdout


def _closed() -> str:
    """Return the email about an alert that a person closed."""
    alert = scenario("rules-outbound-response")
    told = AlertState(
        fingerprint=alert.fingerprint,
        notification=alert,
        observed_at=FOUND_AT,
        notified_at=FOUND_AT,
        notified_severity=alert.severity,
        messages=1,
    )
    person = "arn:aws:sts::123456789012:assumed-role/network/ada"
    closed = closed_by_person(told, person, "it was our own test", FOUND_AT + 3_600)
    return RENDERERS["email"].render(closed.notification)


def _with_message(page: Path, message: str) -> str:
    """Return the page with the message up to its addresses and links."""
    shown = re.split(r"\n(?:Remote addresses|Where to look)\n", message.strip())[0].rstrip()
    block = f"<!-- message -->\n```text\n{shown}\n```\n<!-- end of message -->\n"
    text, count = _MESSAGE.subn(lambda _: block, page.read_text())
    if count != 1:
        raise ValueError(f"{page}: {count} places for the message, must be 1")
    return text


if __name__ == "__main__":
    sys.exit(write_or_check(pages(), "reference", sys.argv[1:]))
