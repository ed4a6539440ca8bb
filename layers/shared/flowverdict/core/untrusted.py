"""Text that others may write: what it has to look like before anything is done with it, and how it is shown.

Whoever can write a flow log, an object's key or a tag chooses what stands in it. Such text ends up in a role's ARN, in a host
name, in a filter of EC2's (where ``*`` and ``?`` are wildcards), in a command that a person pastes, and on somebody's screen.
"""

from __future__ import annotations

import re

_ACCOUNT_ID = re.compile(r"[0-9]{12}")
_REGION = re.compile(
    r"[a-z]{2,4}(-[a-z]{1,16}){1,3}-[0-9]{1,2}"
)  # the longest one today is ap-southeast-1 with 14 characters
_RESOURCE_ID = re.compile(r"(?P<kind>[a-z]+)-[0-9a-z]{1,40}")


def is_account_id(text: str) -> bool:
    """Say whether it is an AWS account's id, which goes into the ARN of a role."""
    return _ACCOUNT_ID.fullmatch(text) is not None


def is_region(text: str) -> bool:
    """Say whether it looks like a Region's name, which goes into host names and commands."""
    return _REGION.fullmatch(text) is not None


def is_resource_id(text: str, kind: str | None = None) -> bool:
    """Say whether it looks like an id of EC2's, of that ``kind`` (``eni``) where one is given: no option, path or wildcard."""
    match = _RESOURCE_ID.fullmatch(text)
    return match is not None and kind in {None, match["kind"]}


def one_line(text: str) -> str:
    """Give the text without what could end a line, act on a terminal or turn the reading direction.

    See https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing. Letters that look like others stay.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else " " if one.isspace() else "" for one in text)
