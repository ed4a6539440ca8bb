"""Print the SAM template for one processor, which ``sam build`` then builds.

python scripts/choose_processor.py x86_64 template.yaml (``make build``)

Two layers have compiled packages, and nothing compares what they were compiled for with what the
functions run on: a deployment of the wrong processor succeeds, and every function fails at its
start. So the template names one processor in all places. A plain ``sam build`` builds for that one,
and this script replaces the name everywhere.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

# https://docs.aws.amazon.com/lambda/latest/dg/foundation-arch.html
PROCESSORS: Final = ("arm64", "x86_64")
_OF_THE_TEMPLATE = re.compile(r"\barm64\b")


def choose_processor(template: str, processor: str) -> str:
    """Return the text of a template for a processor.

    Raises
    ------
    ValueError
        Lambda has no such processor.
    """
    if processor not in PROCESSORS:
        raise ValueError(f"{processor!r} is none of {', '.join(PROCESSORS)}")
    return _OF_THE_TEMPLATE.sub(processor, template)


if __name__ == "__main__":
    try:
        sys.stdout.write(choose_processor(Path(sys.argv[2]).read_text(), sys.argv[1]))
    except ValueError as error:
        sys.exit(f"ARCHITECTURE: {error}")
