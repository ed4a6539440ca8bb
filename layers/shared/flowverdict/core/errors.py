"""Define every error that this project raises on purpose.

FlowVerdictError
|-- EnvelopeError            an event has a shape that none of the configured triggers sends
|-- FormatError              a flow log format (header or ``${field}`` list) names no usable fields
|-- FormatUnknownError       EC2 did not describe a flow log's format this time
|-- ObjectError              an object (or file) could not be read whole; names object and reason
|   |-- NotAFlowLogError     the content is not a flow log
|   |   `-- EmptyObjectError there is no content
|   |-- ObjectBusyError      S3 did not deliver the object this time
|   `-- ObjectGoneError      the object does not exist (any more)
|-- DeliveryError            an alert could not be published
|   |-- WebhookRefusedError  the address or token is not valid any more; a newer one may be
|   |-- MessageGoneError     the message that is to be changed or answered does not exist any more
|   `-- MessageFixedError    the message that is to be changed stays as it is
|-- NotificationError        a text is not an alert or notice, or has another version
|-- EvidenceError            stored evidence could not be read or written
|-- PostponedError           what a source shows is judged later, with the rules
|-- OutOfTimeError           an object could not be read in the time that an invocation has for it
|-- StateError               the stored state of alerts could not be read or written
|-- ConfigError              a snapshot of the VPC configuration has a wrong shape; names the key
|-- PolicyError              a policy document is not valid; names the place of every problem
|-- NotReadError             AWS did not return a part of the configuration; names call and reason
`-- SettingsError            an environment variable is missing or not valid

A malformed *line* is not an error: it is counted by reason and reading goes on
(``records.MalformedLine``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


_MAX_PROBLEMS = 20  # that the text of an error lists; a document of the wrong kind has hundreds
# An S3 key of 1,024 bytes, none of them printable, has 4,096 characters when escaped; twenty
# problems of a policy have fewer.
MAX_ERROR_TEXT = 6_000


class FlowVerdictError(Exception):
    """Base of all errors raised on purpose; the text is one printable line of bounded length.

    Error texts quote names of objects and words of documents, which other people choose. Only this
    class escapes and cuts them.

    Attributes
    ----------
    passing
        Whether another try within minutes may succeed, with nothing mended in between.
    """

    passing: ClassVar[bool] = False

    def __init__(self, text: str) -> None:
        line = text if text.isprintable() else "".join(map(_printable, text[:MAX_ERROR_TEXT]))
        super().__init__(
            line if len(line) <= MAX_ERROR_TEXT else f"{line[: MAX_ERROR_TEXT - 3]}..."
        )


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


class EnvelopeError(FlowVerdictError):
    """The shape of an event is not known, or its payload cannot be decoded."""


class FormatError(FlowVerdictError):
    """A flow log format names no usable fields."""


class FormatUnknownError(FlowVerdictError):
    """EC2 did not describe a flow log's format; another try may succeed."""

    passing = True


class ObjectError(FlowVerdictError):
    """An object could not be read whole.

    Parameters
    ----------
    name
        The object's name for users: ``s3://bucket/key`` or a file's path.
    reason
        Why, in one line.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


class NotAFlowLogError(ObjectError):
    """The content of an object is not a VPC flow log."""


class EmptyObjectError(NotAFlowLogError):
    """An object has no content, packed or not."""


class ObjectGoneError(ObjectError):
    """The object that an event names does not exist."""


class ObjectBusyError(ObjectError):
    """S3 throttled, failed or did not answer in time; another try may succeed."""

    passing = True


class DeliveryError(FlowVerdictError):
    """An alert could not be published."""


class WebhookRefusedError(DeliveryError):
    """A webhook or API does not accept messages at this address, or with this token (any more)."""


class ChannelRefusedError(DeliveryError):
    """The chat tool takes no messages of this app in this channel; in another one it may."""


class MessageGoneError(DeliveryError):
    """A chat tool does not have the message (any more) that is to be changed or answered."""


class MessageFixedError(DeliveryError):
    """A chat tool does not let a message be changed (any more)."""


class NotificationError(FlowVerdictError):
    """A text is not an alert or notice of this program."""


class OutOfTimeError(FlowVerdictError):
    """An object could not be read in the time that an invocation has for reading."""

    passing = True


class PostponedError(FlowVerdictError):
    """The rules cannot be read for now, and what was told with them must not get worse."""

    passing = True


class SignalError(FlowVerdictError):
    """Windows could not be signalled for evaluation; another try may succeed."""

    passing = True


class EvidenceError(FlowVerdictError):
    """Stored evidence could not be read or written; another try may succeed."""

    passing = True


class StateError(FlowVerdictError):
    """The alerts table could not be read or written; another try may succeed."""

    passing = True


class ConfigError(FlowVerdictError):
    """A snapshot of the VPC configuration cannot be read; the text names the key and the fault."""


class PolicyError(FlowVerdictError):
    """A policy document is not valid.

    The text is one line with at most 20 problems and the number of further problems.

    Parameters
    ----------
    problems
        At least one problem, each in one line: the place in the document and the fault there.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        more = len(self.problems) - _MAX_PROBLEMS
        super().__init__(
            "; ".join(self.problems[:_MAX_PROBLEMS]) + (f"; and {more:,} more" if more > 0 else "")
        )


class NotReadError(FlowVerdictError):
    """AWS did not return a part of the VPC configuration.

    Parameters
    ----------
    action
        The IAM action of the call: ``ec2:DescribeSubnets``.
    reason
        Why, in a few words: AWS's error code, or this program's own decision.
    denied
        Whether AWS refused for lack of permission, so that another try cannot succeed.
    """

    def __init__(self, action: str, reason: str, *, denied: bool = False) -> None:
        super().__init__(f"{action}: {reason}")
        self.action = action
        self.reason = reason
        self.denied = denied


class SettingsError(FlowVerdictError):
    """An environment variable is missing or not valid."""
