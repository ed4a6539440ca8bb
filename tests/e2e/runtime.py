"""Run a built function under Lambda's own runtime client, with only the packages of the runtime.

``aws-lambda-rie`` is the runtime interface emulator that the SAM CLI's wheel contains for its
containers. It offers Lambda's Runtime API to ``python -m awslambdaric``, the client that runs in
AWS's Python images. ``PYTHONPATH`` stands for ``/var/task``, then ``/opt/python``: AWS's order
(https://docs.aws.amazon.com/lambda/latest/dg/python-layers.html).
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.emulator import LOOPBACK, ROOT, base_environment, free_port
from tests.helpers.sam_template import read_template

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.e2e.stack import Build

PYTHON: Final = ROOT / ".venv-runtime" / "bin" / "python"
# AWS's names differ from Python's: a wheel has both binaries.
_BINARY = {"x86_64": "aws-lambda-rie-x86_64", "aarch64": "aws-lambda-rie-arm64"}
_START_SECONDS = 10.0  # takes 0.05 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The result of an invocation: the function's answer, or Lambda's error object."""

    payload: Any
    seconds: float

    @property
    def error_type(self) -> str | None:
        """Lambda's type of the error; ``None`` if the invocation succeeded."""
        return self.payload.get("errorType") if isinstance(self.payload, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A function that waits for invocations.

    The first invocation starts the function, so its time is that of a cold start.
    """

    url: str

    def invoke(self, event: object) -> Answer:
        """Invoke and wait."""
        started = time.monotonic()
        request = urllib.request.Request(self.url, data=json.dumps(event).encode(), method="POST")  # noqa: S310 - http, our own
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - as above
                payload = json.loads(response.read())
        except urllib.error.HTTPError as error:  # 502 with a reason: the function did not start
            with error:
                payload = json.loads(error.read())
        return Answer(payload=payload, seconds=time.monotonic() - started)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltFunction:
    """A function and its layers, as built."""

    logical_id: str
    handler: str
    code: Path
    layers: tuple[Path, ...]

    @property
    def unzipped_bytes(self) -> int:
        """Bytes that count for Lambda's limit of 250 MB: the function and its layers, unzipped."""
        folders = (self.code, *self.layers)
        return sum(
            path.stat().st_size
            for folder in folders
            for path in folder.rglob("*")
            if path.is_file()
        )

    def has_package(self, name: str) -> bool:
        """Whether the function or one of its layers contains a package."""
        return any(
            (folder / name).is_dir()
            for folder in (self.code, *(layer / "python" for layer in self.layers))
        )

    def python_path(self, layers: Sequence[Path] | None = None) -> str:
        """Return the search path of Lambda's Python.

        ``layers`` replaces the function's own layers, to show what the function lacks without them.
        """
        used = self.layers if layers is None else layers
        return os.pathsep.join(
            str(path) for path in (self.code, *(layer / "python" for layer in used))
        )


def built_functions(build: Build) -> dict[str, BuiltFunction]:
    """Return every function of the built template, by logical id."""
    template = read_template(build.template)
    shared = template.get("Globals", {}).get("Function", {})
    found = {}
    for logical_id, resource in template["Resources"].items():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        own = resource["Properties"]
        layers = [*shared.get("Layers", []), *own.get("Layers", [])]
        found[logical_id] = BuiltFunction(
            logical_id=logical_id,
            handler=own.get("Handler", shared.get("Handler")),
            code=build.artifact(logical_id),
            layers=tuple(build.artifact(layer["Ref"]) for layer in layers if "Ref" in layer),
        )
    return found


@contextmanager
def runtime(
    function: BuiltFunction,
    folder: Path,
    variables: Mapping[str, str],
    layers: Sequence[Path] | None = None,
) -> Iterator[Runtime]:
    """Run a built function until the block ends."""
    port, api_port = free_port(), free_port()
    environment = base_environment(folder) | {
        "PYTHONPATH": function.python_path(layers),
        # /var/task and /opt are read-only on AWS; the build stays as built.
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_LAMBDA_FUNCTION_NAME": function.logical_id,
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "60",
        **variables,
    }
    binary = (
        ROOT
        / f".venv-sam/lib/python3.13/site-packages/samcli/local/rapid/{_BINARY[platform.machine()]}"
    )
    command: list[str | Path] = [
        binary,
        # Without these options both listen on all interfaces, or on ports of their own choice.
        f"--runtime-interface-emulator-address={LOOPBACK}:{port}",
        f"--runtime-api-address={LOOPBACK}:{api_port}",
        "--log-level=error",
        PYTHON,
        "-m",
        "awslambdaric",
        function.handler,
    ]
    log_path = folder / f"runtime-{port}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - the pinned SAM CLI's binary
            command,
            cwd=function.code,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_listening(process, port, log_path)
        yield Runtime(url=f"http://{LOOPBACK}:{port}/2015-03-31/functions/function/invocations")
    finally:
        try:
            # The process stores nothing, and on SIGTERM it would first wait for the function.
            os.killpg(process.pid, signal.SIGKILL)
        finally:
            process.wait()


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log_path: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://{LOOPBACK}:{port}/", timeout=1).close()
        except urllib.error.HTTPError as error:
            error.close()
            return  # 404: the emulator listens, and has another address only
        except urllib.error.URLError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(
        f"aws-lambda-rie does not listen:\n{log_path.read_text(errors='replace')[-3000:]}"
    )
