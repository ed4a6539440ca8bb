"""Parse the Terraform module, and compare it with the template (``make scan``).

Runs beside checkov, which brings the parser of HCL. Terraform's own ``validate`` needs the provider
of AWS, which it loads from a registry of its own; CI has none.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import hcl2

ROOT = Path(__file__).parents[1]


def problems(text: str, guide: str, template: str) -> list[str]:
    """Return what is wrong with the module's text, or with the example in its guide."""
    parsed = hcl2.loads(text)
    found = []
    declared = {name.strip('"') for block in parsed["variable"] for name in block}
    used = set(re.findall(r"\bvar\.(\w+)", text))
    if declared != used:
        found.append(f"variables declared or used alone: {sorted(declared ^ used)}")
    resources = [name.strip('"') for block in parsed["resource"] for name in block]
    if resources != ["aws_cloudformation_stack"]:
        found.append(f"resources: {resources}")
    if "CAPABILITY_NAMED_IAM" not in text or "CAPABILITY_AUTO_EXPAND" not in text:
        found.append("capabilities of named roles or of the transform are missing")
    examples = re.findall(r"^ *```hcl\n(.*?)^ *```", guide, re.MULTILINE | re.DOTALL)
    known = set(re.findall(r"^  (\w+):\n    Type: (?:String|Number)$", template, re.MULTILINE))
    given = {name for example in examples for name in _given(example)}
    if not given or given - declared - known:
        found.append(f"the guide gives nothing, or what is not known: {sorted(given)}")
    return found


def _given(example: str) -> set[str]:
    """Return the names of the variables and of the stack's parameters in an example."""
    (module,) = hcl2.loads(example)["module"]
    (given,) = module.values()
    parameters = given.pop("parameters")
    names = parameters[0] if isinstance(parameters, list) else parameters
    return {
        name.strip('"')
        for name in (*given, *names)
        if name != "source" and not name.startswith("__")
    }


if __name__ == "__main__":
    wrong = problems(
        (ROOT / "terraform" / "main.tf").read_text(),
        (ROOT / "docs" / "how-to" / "terraform.md").read_text(),
        (ROOT / "template.yaml").read_text(),
    )
    sys.exit("\n".join(wrong) or 0)
