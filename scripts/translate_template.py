"""Print the CloudFormation template that AWS deploys for a SAM template, as JSON.

.venv-sam/bin/python scripts/translate_template.py template.yaml

The translator is AWS's own and needs no account. It requires another version of pydantic than the
functions, so it is installed with the SAM CLI, and the tests run this script in that environment.
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
    """Translate the template at ``path`` and print the result."""
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")  # only decides the partition
    template = yaml_parse(Path(path).read_text())
    # `sam package` replaces folders by S3 addresses.
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
