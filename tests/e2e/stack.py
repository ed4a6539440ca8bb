"""Build and deploy the project's template with the real ``sam`` and ``samconfig.toml``."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scripts.choose_processor import choose_processor
from scripts.compile_build import compile_build
from tests.e2e.emulator import ROOT, Place, base_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_sqs.literals import QueueAttributeNameType

SAM: Final = ROOT / ".venv-sam" / "bin"
# The emulator runs the functions on this machine, so the compiled wheels of the layer must be for
# this machine.
HOST_ARCHITECTURE: Final = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}[
    platform.machine()
]
QUEUES: Final = ("FlowLogQueue", "SignalQueue")  # of what is to be read, and to be evaluated
_COMMAND_SECONDS = (
    300.0  # a build takes 6 s, a deployment 4 s; a first build on a cold package cache longer
)


# The shortest delay: equal signals of a second are one. Its other 30 s are for functions whose
# clocks differ, and here is one clock; 2 s do.
_HURRIED: Final = {"EvaluationDelaySeconds": "31"}
_SIGNAL_SECONDS: Final = 2


class SamError(Exception):
    """``sam`` failed; the message has all its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """The result of ``sam build``, with its bytecode."""

    folder: Path
    seconds: float

    @property
    def template(self) -> Path:
        """The template to deploy."""
        return self.folder / "build" / "template.yaml"

    def artifact(self, logical_id: str) -> Path:
        """Return the built folder of a function or layer."""
        return self.folder / "build" / logical_id


def build(folder: Path) -> Build:
    """Build into a folder, as ``make build`` does.

    pip may ask the package index for the pinned wheels, so the caller's pip settings hold.

    Raises
    ------
    SamError
        It failed.
    """
    started = time.monotonic()
    # pip reads its settings from the home folder and from its own variables; sam needs no variable
    # of AWS's.
    passed = {
        name: value
        for name, value in os.environ.items()
        if name == "HOME" or name.startswith(("PIP_", "SSL_", "REQUESTS_"))
    }
    source = folder / "source.yaml"
    source.write_text(choose_processor((ROOT / "template.yaml").read_text(), HOST_ARCHITECTURE))
    _sam(
        folder,
        passed,
        "build",
        f"--template-file={source}",
        f"--base-dir={ROOT}",
        f"--build-dir={folder / 'build'}",
        f"--cache-dir={folder / 'cache'}",
        "--region=us-east-1",  # required by sam, not used
    )
    compile_build(folder / "build")
    return Build(folder=folder, seconds=time.monotonic() - started)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack at a place, deployed or yet to be."""

    build: Build
    place: Place
    name: str

    def deploy(self, parameters: Mapping[str, str] | None = None, *options: str) -> str:
        """Run ``sam deploy``, for the first time or as an update, and return its output.

        ``options`` are further options of the command.

        Raises
        ------
        SamError
            It failed.
        """
        hurried = None if parameters is None else _HURRIED | dict(parameters)
        output = _sam(
            self.build.folder,
            self.place.environment(),
            "deploy",
            f"--template-file={self.build.template}",
            f"--stack-name={self.name}",
            f"--region={self.place.region}",
            "--no-confirm-changeset",
            "--no-progressbar",
            *options,
            *([] if hurried is None else _overrides(hurried)),
        )
        if hurried is not None and "--no-execute-changeset" not in options:
            self.place.client("sqs").set_queue_attributes(
                QueueUrl=self.physical_id("SignalQueue"),
                Attributes={"DelaySeconds": str(_SIGNAL_SECONDS)},
            )
        return output

    def waiting_messages(self) -> int:
        """Return how many messages the queues of sources and signals have, also those in flight."""
        names: list[QueueAttributeNameType] = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ]
        sqs = self.place.client("sqs")
        return sum(
            int(number)
            for queue in QUEUES
            for number in sqs.get_queue_attributes(
                QueueUrl=self.physical_id(queue), AttributeNames=names
            )["Attributes"].values()
        )

    def delete(self) -> str:
        """Run ``sam delete`` and return its output.

        Raises
        ------
        SamError
            It failed.
        """
        return _sam(
            self.build.folder,
            self.place.environment(),
            "delete",
            f"--stack-name={self.name}",
            f"--region={self.place.region}",
            "--no-prompts",
        )

    @property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs."""
        (found,) = self.place.client("cloudformation").describe_stacks(StackName=self.name)[
            "Stacks"
        ]
        return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}

    @property
    def resources(self) -> list[dict[str, Any]]:
        """The stack's resources, as CloudFormation lists them."""
        pages = (
            self.place.client("cloudformation")
            .get_paginator("list_stack_resources")
            .paginate(StackName=self.name)
        )
        return [summary for page in pages for summary in page["StackResourceSummaries"]]

    def physical_id(self, logical_id: str) -> str:
        """Return the physical id of a resource.

        Raises
        ------
        LookupError
            The stack has no such resource.
        """
        for resource in self.resources:
            if resource["LogicalResourceId"] == logical_id:
                return str(resource["PhysicalResourceId"])
        raise LookupError(f"{self.name} has no {logical_id}")

    def of_type(self, kind: str) -> dict[str, str]:
        """Return the physical ids of all resources of a type, by logical id."""
        return {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for resource in self.resources
            if resource["ResourceType"] == kind
        }


def _overrides(parameters: Mapping[str, str]) -> list[str]:
    quoted = [f"{name}={json.dumps(value)}" for name, value in parameters.items()]
    return ["--parameter-overrides", " ".join(quoted)]


def _sam(folder: Path, variables: Mapping[str, str], *arguments: str) -> str:
    application, zips = folder / "sam", folder / "zips"
    application.mkdir(exist_ok=True)
    zips.mkdir(exist_ok=True)
    # Without this record of an earlier check, every run in a fresh folder would ask the package
    # index for a newer version.
    (application / "metadata.json").write_text(json.dumps({"lastVersionCheck": time.time()}))
    environment = base_environment(folder) | {
        "__SAM_CLI_APP_DIR": str(application),
        "SAM_CLI_TELEMETRY": "0",
        # Seconds between looks at the stack; the default of 5 is for a real account.
        "SAM_CLI_POLL_DELAY": "0.3",
        "KEPT_ZIPS": str(zips),
        **variables,
        # `sam build` uses the pip of the first Python in the path.
        "PATH": f"{SAM}{os.pathsep}{os.environ['PATH']}",
    }
    finished = subprocess.run(  # noqa: S603 - the pinned sam
        [
            SAM / "python",
            Path(__file__).with_name("sam_process.py"),
            *arguments,
            f"--config-file={ROOT / 'samconfig.toml'}",
        ],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_COMMAND_SECONDS,
        check=False,
    )
    if finished.returncode != 0:
        raise SamError(f"sam {arguments[0]} ended with {finished.returncode}:\n{finished.stdout}")
    return finished.stdout
