"""Terraform resources say what the commands say, and no name can break their strings."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from flowverdict.verdict.remediation.terraform import hcl_string
from tests.helpers.fixes import fix_of, rejected

_TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


def as_json(match: re.Match[str]) -> str:
    """Write an escape of HCL as JSON has it."""
    return match[0] if match[2] is None else json.dumps(chr(int(match[2], 16)))[1:-1]


@given(text=_TEXT | st.text('"\\${}%\n', max_size=20))
def test_a_string_means_its_text_and_starts_no_template(text: str) -> None:
    written = hcl_string(text)
    assert written.isprintable()
    inner = written[1:-1]
    assert not re.search(r'(?<!\\)(\\\\)*"', inner)
    assert not re.search(r"[$%]\{", inner)
    plain = re.sub(r"\\(\\|U([0-9a-f]{8}))", as_json, inner)
    assert json.loads(f'"{plain}"') == text


def test_each_command_has_its_resource() -> None:
    fix = fix_of(rejected("web", "10.60.1.20", "10.60.1.10", (40_100, 8080), "ingress"))
    assert fix.terraform == (
        (
            'resource "aws_vpc_security_group_ingress_rule" '
            '"fix_sg_0f60web_tcp_8080_sg_0f60app" {\n'
            '  security_group_id            = "sg-0f60web"\n'
            '  ip_protocol                  = "tcp"\n'
            "  from_port                    = 8080\n"
            "  to_port                      = 8080\n"
            '  referenced_security_group_id = "sg-0f60app"\n'
            "}"
        ),
    )
    assert fix.undo("eu-central-1") == tuple(
        command.replace("authorize-", "revoke-") for command in fix.commands("eu-central-1")
    )


def test_an_entry_is_a_resource_and_its_undo_names_the_number() -> None:
    fix = fix_of(rejected("api", "10.60.1.20", "10.60.2.10", (40_100, 8443), "ingress"))
    (resource,), (command,), (undo,) = fix.terraform, fix.commands(None), fix.undo(None)
    number = command.split("--rule-number ")[1].split()[0]
    assert undo == (
        "aws ec2 delete-network-acl-entry --network-acl-id acl-0f60closed --ingress "
        f"--rule-number {number}"
    )
    assert f"  rule_number    = {number}\n" in resource
    assert '  cidr_block     = "10.60.1.20/32"\n' in resource
    assert "  egress         = false\n" in resource
