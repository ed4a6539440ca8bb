"""Print what AWS makes of a SAM template: the CloudFormation that is deployed, as JSON.

.venv-sam/bin/python scripts/translate_template.py template.yaml

The translator is AWS's own and runs here without an account. It wants another pydantic than the functions', so it lives with the
SAM CLI and not in the environment of the tests, which run this.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from samtranslator.translator.managed_policy_translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


def main(path: str) -> None:
    """Translate the template at ``path``."""
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # which partition, no more
    template = yaml_parse(Path(path).read_text())
    # Folders become what `sam package` makes of them.
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        for name in ("CodeUri", "ContentUri"):
            if name in properties:
                properties[name] = f"s3://bucket/{properties[name]}"
    defaults = {
        name: parameter["Default"]
        for name, parameter in template["Parameters"].items()
        if "Default" in parameter
    }
    translated = transform(
        template, {**defaults, "AWS::Region": "us-east-1"}, ManagedPolicyLoader(iam_client=None)
    )
    json.dump(translated, sys.stdout, indent=2)


if __name__ == "__main__":
    main(*sys.argv[1:])
