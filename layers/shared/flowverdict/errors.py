"""Every error this project raises on purpose.

FlowVerdictError
|-- EnvelopeError          an event whose shape no trigger of ours sends
|-- FormatError            a flow log format (header line or ``${field}`` list) that names no usable fields
|-- FormatUnknownError      EC2 could not be asked for a flow log's format this time
|-- ObjectError            one object (or file) could not be read whole; names it and the reason
|   |-- NotAFlowLogError   its content is something else
|   `-- ObjectGoneError    it does not exist (any more)
|-- DeliveryError          an alert could not be published
|-- ConfigError            a snapshot of the VPC configuration is not of the shape it should have; names the key
|-- NotReadError           AWS did not give a part of the configuration; names the call and the reason
`-- SettingsError          an environment variable is missing or makes no sense

A malformed *line* is no error: it is counted by reason and the file goes on (``records.MalformedLine``).
"""

from __future__ import annotations


class FlowVerdictError(Exception):
    """Base of all errors raised on purpose; its text is one line, fit for a person."""


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


class ConfigError(FlowVerdictError):
    """A snapshot of the VPC configuration cannot be read; the text names the key and what is wrong with its value."""


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
