"""Every error this project raises on purpose.

FlowVerdictError
|-- EnvelopeError          an event whose shape no trigger of ours sends
|-- FormatError            a flow log format (header line or ``${field}`` list) that names no usable fields
|-- FormatUnknownError      EC2 could not be asked for a flow log's format this time
|-- ObjectError            one object (or file) could not be read whole; names it and the reason
|   |-- NotAFlowLogError   its content is something else
|   `-- ObjectGoneError    it does not exist (any more)
|-- DeliveryError          an alert could not be published
|   `-- WebhookRefusedError  its address is no longer taken; a newer one may be
|-- NotificationError          a text is no alert (or one of another version)
|-- EvidenceError          what is kept of what sources showed could not be read or written
|-- OutOfTimeError         an object could not be read in the time that an invocation has for it
|-- StateError             what is remembered of alerts could not be read or written
|-- ConfigError            a snapshot of the VPC configuration is not of the shape it should have; names the key
|-- PolicyError            a policy document is not valid; names the place of every problem
|-- NotReadError           AWS did not give a part of the configuration; names the call and the reason
`-- SettingsError          an environment variable is missing or makes no sense

A malformed *line* is no error: it is counted by reason and the file goes on (``records.MalformedLine``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


_MAX_PROBLEMS = 20  # that one line tells; a document of the wrong kind has hundreds
# An S3 key of 1,024 bytes, none of them printable, has 4,096 characters when escaped; twenty problems of a policy have fewer.
MAX_ERROR_TEXT = 6_000


class FlowVerdictError(Exception):
    """Base of all errors raised on purpose; its text is one printable line of bounded length, fit for a person.

    Names of objects and words of documents are somebody else's choice, so that is seen to here and nowhere else.
    """

    def __init__(self, text: str) -> None:
        line = text if text.isprintable() else "".join(map(_printable, text[:MAX_ERROR_TEXT]))
        super().__init__(
            line if len(line) <= MAX_ERROR_TEXT else f"{line[: MAX_ERROR_TEXT - 3]}..."
        )


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


class EnvelopeError(FlowVerdictError):
    """An event is of no known shape, or its payload cannot be decoded."""


class FormatError(FlowVerdictError):
    """A flow log format names no usable fields."""


class FormatUnknownError(FlowVerdictError):
    """EC2 could not be asked for a flow log's format; another try may succeed."""


class ObjectError(FlowVerdictError):
    """One object could not be read whole.

    Parameters
    ----------
    name
        What a person would look for: ``s3://bucket/key`` or a file's path.
    reason
        Why, in one line.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


class NotAFlowLogError(ObjectError):
    """The content of an object is not a VPC flow log."""


class ObjectGoneError(ObjectError):
    """The object an event names does not exist."""


class DeliveryError(FlowVerdictError):
    """An alert could not be published."""


class WebhookRefusedError(DeliveryError):
    """A webhook takes no messages at this address (any more)."""


class NotificationError(FlowVerdictError):
    """A text is no alert or notice of this program's."""


class OutOfTimeError(FlowVerdictError):
    """An object could not be read to its end in the time that an invocation has for reading."""


class EvidenceError(FlowVerdictError):
    """What is kept of what sources showed could not be read or written; another try may succeed."""


class StateError(FlowVerdictError):
    """The alerts table could not be read or written; another try may succeed."""


class ConfigError(FlowVerdictError):
    """A snapshot of the VPC configuration cannot be read; the text names the key and what is wrong with its value."""


class PolicyError(FlowVerdictError):
    """A policy document is not valid.

    Its text is one line with at most 20 problems and the number of further ones.

    Parameters
    ----------
    problems
        At least one, each one line: the place in the document and what is wrong there.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        more = len(self.problems) - _MAX_PROBLEMS
        super().__init__(
            "; ".join(self.problems[:_MAX_PROBLEMS]) + (f"; and {more:,} more" if more > 0 else "")
        )


class NotReadError(FlowVerdictError):
    """AWS did not give a part of the VPC configuration.

    Parameters
    ----------
    action
        The IAM action of the call: ``ec2:DescribeSubnets``.
    reason
        Why, in a few words: AWS's error code, or what this program decided.
    denied
        Whether AWS refused for lack of permission, against which asking again does not help.
    """

    def __init__(self, action: str, reason: str, *, denied: bool = False) -> None:
        super().__init__(f"{action}: {reason}")
        self.action = action
        self.reason = reason
        self.denied = denied


class SettingsError(FlowVerdictError):
    """An environment variable is missing or makes no sense."""
