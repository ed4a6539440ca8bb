"""Pack flow log lines into the event that a CloudWatch Logs subscription sends.

python scripts/pack_cloudwatch_event.py LOG_GROUP LOG_STREAM <lines >event.json

The same input always gives the same bytes, so that a test can compare the sample in ``events/``
with its readable lines.
"""

from __future__ import annotations

import base64
import gzip
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

OWNER = "123456789012"
START_FIELD = (
    10  # in the sample format and the default format; an event's timestamp is its record's start
)


def pack(
    lines: Sequence[str], *, log_group: str, log_stream: str, start_field: int = START_FIELD
) -> str:
    """Return the event as JSON text; ``start_field`` is the place of the start in a line."""
    payload = {
        "messageType": "DATA_MESSAGE",
        "owner": OWNER,
        "logGroup": log_group,
        "logStream": log_stream,
        "subscriptionFilters": ["flowverdict"],
        "logEvents": [
            {
                "id": f"{index:056d}",
                "timestamp": int(line.split()[start_field]) * 1000,
                "message": line,
            }
            for index, line in enumerate(lines)
        ],
    }
    compressed = gzip.compress(json.dumps(payload).encode(), compresslevel=9, mtime=0)
    return json.dumps({"awslogs": {"data": base64.b64encode(compressed).decode()}}, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(
        pack(sys.stdin.read().splitlines(), log_group=sys.argv[1], log_stream=sys.argv[2])
    )
