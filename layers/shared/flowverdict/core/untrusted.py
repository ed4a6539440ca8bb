"""Check untrusted text before it is used, and clean it before it is shown.

Anyone who can write a flow log, an object's key or a tag chooses the text in it. Such text ends up
in a role's ARN, in a host name, in an EC2 filter (where ``*`` and ``?`` are wildcards), in a
command that a user pastes, and on a user's screen.
"""

from __future__ import annotations

import re

_ACCOUNT_ID = re.compile(r"[0-9]{12}")
# The longest name today, ap-southeast-1, has 14 characters.
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]{1,16}){1,3}-[0-9]{1,2}")
# The id of a channel, or its name with #. The ids of people and of direct messages begin otherwise.
SLACK_CHANNEL = re.compile(r"[CG][A-Z0-9]{2,30}|#[a-z0-9_-]{1,80}")
_RESOURCE_ID = re.compile(r"(?P<kind>[a-z]+(?:-attach)?)-[0-9a-z]{1,40}")


def is_account_id(text: str) -> bool:
    """Whether the text is an AWS account ID, which becomes part of a role's ARN."""
    return _ACCOUNT_ID.fullmatch(text) is not None


def is_region(text: str) -> bool:
    """Whether the text looks like a Region name, which becomes part of host names and commands."""
    return _REGION.fullmatch(text) is not None


def is_resource_id(text: str, kind: str | None = None) -> bool:
    """Whether the text looks like an EC2 resource ID, so not like an option, path or wildcard.

    With ``kind`` (``eni``) given, only an ID of that kind.
    """
    match = _RESOURCE_ID.fullmatch(text)
    return match is not None and kind in {None, match["kind"]}


def is_slack_channel(text: str) -> bool:
    """Whether the text is a channel of Slack's: its id, or its name with ``#``."""
    return SLACK_CHANNEL.fullmatch(text) is not None


# Words in the place of an id: AWS's own for an account, and this program's for an interface.
_NOT_KNOWN = frozenset({"unknown", "unknown interface"})


def shown_id(text: str) -> str:
    """Return an ID of a resource, account or Region as people may read it.

    Other text is named as such, and no mail client or chat makes a link of it.
    """
    if is_resource_id(text) or is_account_id(text) or is_region(text) or text in _NOT_KNOWN:
        return text
    return f"not an id: {one_line(text).replace('.', '[.]').replace('/', '[/]')}"


def one_line(text: str) -> str:
    """Return the text without line ends, terminal controls and changes of the reading direction.

    See https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing. Letters that
    look like other letters stay.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char.isspace() else "" for char in text)
