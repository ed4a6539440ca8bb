"""The extras of the distribution, and the error of a command whose extra is missing.

``pip install flowverdict`` installs what ``explain`` needs to read text files. Everything else is
an extra, because moto, boto3 and DuckDB together are some 200 MB that a reader of text files does
not need.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from flowverdict.core.errors import FlowVerdictError

# The extra -> distribution: importable package. A test compares the distributions with
# pyproject.toml.
EXTRAS: Final = {
    "aws": {"boto3": "boto3"},
    "fast": {"isal": "isal", "numpy": "numpy"},
    "parquet": {"duckdb": "duckdb", "numpy": "numpy"},
    "policy": {"pydantic": "pydantic"},
    "replay": {
        "moto": "moto",
        "aws-lambda-powertools": "aws_lambda_powertools",
        "boto3": "boto3",
        "duckdb": "duckdb",
        "numpy": "numpy",
        "pydantic": "pydantic",
        "slack-sdk": "slack_sdk",
        "tzdata": "tzdata",
    },
}


def require(extra: str, needed_by: str) -> None:
    """Check that the packages of an extra are installed.

    Parameters
    ----------
    extra
        A key of ``EXTRAS``.
    needed_by
        The command or the kind of file that needs the extra, as the message calls it.

    Raises
    ------
    FlowVerdictError
        A package is missing; the text says which, and how to install the extra.
    """
    for distribution, package in EXTRAS[extra].items():
        if find_spec(package) is None:
            raise FlowVerdictError(missing(extra, needed_by, distribution))


def missing(extra: str, needed_by: str, distribution: str) -> str:
    """Return the message about a missing extra, one line."""
    return f"{needed_by} needs {distribution}: pip install 'flowverdict[{extra}]'"
