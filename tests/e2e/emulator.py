"""AWS on 127.0.0.1: ministack for what the template makes, moto for the rules in EC2.

ministack runs the functions, enforces the IAM policies of their roles (``AUTH=true``), and delivers
between services. The EC2 of ministack loses port ranges, prefix lists and nearly all filters.
Tests that evaluate rules therefore send the functions' EC2 calls to moto: the Lambda workers
inherit ``AWS_ENDPOINT_URL_EC2`` from ministack's environment, and neither the template nor the code
changes. moto checks no permissions; tests that check ``ec2:Describe*`` leave EC2 on ministack.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

from flowverdict_cli.sample_world import make_sample_world

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowverdict_cli.sample_world import SampleWorld

ROOT: Final = Path(__file__).parents[2]
LOOPBACK: Final = "127.0.0.1"
SECRET: Final = "test"  # noqa: S105 - ministack's own for every root key
_START_SECONDS = 30.0  # takes 0.3 to 0.6 s on an idle machine
_STOP_SECONDS = 1.0  # takes 0.1 s, or never ends: it waits for the threads that poll its queues


class EmulatorError(Exception):
    """The emulator did not start; the message has the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a client works: which server, whose account, which Region."""

    url: str
    account_id: str
    region: str
    certificate: Path | None = None

    def environment(self) -> dict[str, str]:
        """Return the variables that send an SDK to this server only."""
        trust = {} if self.certificate is None else {"AWS_CA_BUNDLE": str(self.certificate)}
        return trust | {
            "AWS_ENDPOINT_URL": self.url,
            # To ministack, 12 digits are the root user of that account.
            "AWS_ACCESS_KEY_ID": self.account_id,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3 has a type of its own for each of twenty services
        """Return the cached SDK client of a service: making a client takes 0.1 to 0.3 s."""
        return _client(self, service)


@cache
def _session(place: Place) -> boto3.Session:
    return boto3.Session(
        aws_access_key_id=place.account_id, aws_secret_access_key=SECRET, region_name=place.region
    )


@cache
def _client(place: Place, service: str) -> Any:  # noqa: ANN401 - as above
    # The client must not retry without the test's knowledge, nor wait for a server that has ended.
    config = Config(connect_timeout=2, read_timeout=60, retries={"total_max_attempts": 1})
    untyped: Any = _session(place).client
    return untyped(
        service,
        endpoint_url=place.url,
        config=config,
        verify=None if place.certificate is None else str(place.certificate),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """A running emulator."""

    process_id: int
    place: Place
    folder: Path
    ec2_url: str | None

    def function_environment(self) -> dict[str, str]:
        """Return the variables that send a function outside the emulator to the emulator."""
        return self.place.environment() | (
            {} if self.ec2_url is None else {"AWS_ENDPOINT_URL_EC2": self.ec2_url}
        )

    @property
    def log(self) -> str:
        """All output of the emulator so far."""
        return (self.folder / "emulator.log").read_text(errors="replace")

    @property
    def decisions(self) -> list[dict[str, str]]:
        """What IAM has decided so far: the principal, the action, the resource, the decision."""
        text = _decisions(self.folder).read_text()
        return [json.loads(line) for line in text.splitlines()]

    def kept(self, kind: str, stack_name: str) -> list[dict[str, Any]]:
        """Return the properties of a stack's resources of a type that ministack does not know."""
        found = [
            json.loads(path.read_text()) for path in sorted((self.folder / "kept").glob("*.json"))
        ]
        return [
            resource["properties"]
            for resource in found
            if (resource["type"], resource["stack_name"]) == (kind, stack_name)
        ]


@contextmanager
def emulator(
    *, account_id: str, region: str, ec2_url: str | None = None, enforce_iam: bool = True
) -> Iterator[Emulator]:
    """Run ministack until the block ends, and leave neither process nor file behind.

    Parameters
    ----------
    account_id, region
        Account and Region of the emulator.
    ec2_url
        Where the functions' EC2 calls go; ``None`` leaves the calls to ministack, which checks
        their permissions.
    enforce_iam
        Whether ministack refuses what the policies do not allow.

    Raises
    ------
    EmulatorError
        The emulator ended, or did not answer in time.
    """
    with tempfile.TemporaryDirectory(prefix="flowverdict-emulator-") as name:
        folder = Path(name)
        # TLS, because the bucket policy refuses plain HTTP. ministack makes the certificate with
        # `openssl`.
        certificate = folder / "tmp" / "ministack-tls" / "server.crt"
        place = Place(
            url=f"https://{LOOPBACK}:{free_port()}",
            account_id=account_id,
            region=region,
            certificate=certificate,
        )
        with (folder / "emulator.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own script, in an environment of our own
                [
                    ROOT / ".venv-emulator" / "bin" / "python",
                    Path(__file__).with_name("emulator_process.py"),
                ],
                env=_environment(folder, place, ec2_url, enforce_iam=enforce_iam),
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches this process only, which then ends the group, workers included.
                start_new_session=True,
            )
        try:
            _wait_until_healthy(process, place, folder)
            yield Emulator(process_id=process.pid, place=place, folder=folder, ec2_url=ec2_url)
        finally:
            _stop(process)


@contextmanager
def moto_server(*, account_id: str, region: str) -> Iterator[Place]:
    """Run moto as a server in this process; ``moto.ec2.ec2_backends`` are its objects."""
    server = ThreadedMotoServer(ip_address=LOOPBACK, port=0, verbose=False)
    with patch.dict(
        os.environ, {"MOTO_ACCOUNT_ID": account_id, "MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}
    ):
        server.start()
        try:
            host, port = server.get_host_and_port()
            yield Place(url=f"http://{host}:{port}", account_id=account_id, region=region)
        finally:
            server.stop()


def make_shop(rules: Place) -> SampleWorld:
    """Make the shop that the sample events come from, in a moto that is a server."""
    with patch.dict(os.environ, rules.environment()):
        boto3.setup_default_session()
        return make_sample_world()


def free_port() -> int:
    """Return a port that no process listens on; another process may still take the port first."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def base_environment(folder: Path) -> dict[str, str]:
    """Return the environment of a child process, without the caller's AWS, Python and home."""
    (folder / "tmp").mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
    }


def _decisions(folder: Path) -> Path:
    return folder / "decisions.jsonl"


def _environment(
    folder: Path, place: Place, ec2_url: str | None, *, enforce_iam: bool
) -> Mapping[str, str]:
    for name in ("state", "s3", "kept"):
        (folder / name).mkdir()
    variables = base_environment(folder) | {
        "BIND_HOST": LOOPBACK,  # all interfaces otherwise
        "GATEWAY_PORT": place.url.rpartition(":")[2],
        "MINISTACK_HOST": LOOPBACK,
        "MINISTACK_ACCOUNT_ID": place.account_id,
        "MINISTACK_REGION": place.region,
        "USE_SSL": "1",
        "IOT_MTLS_ENABLED": "0",  # would listen on 8883
        "SFTP_ENABLED": "0",
        "STATE_DIR": str(folder / "state"),
        "S3_DATA_DIR": str(folder / "s3"),
        "KEPT_RESOURCES_DIR": str(folder / "kept"),
        "DECISIONS_FILE": str(_decisions(folder)),
        "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.2",  # a minute on AWS
        "AUTH": "true" if enforce_iam else "false",
        # The Lambda workers inherit these; their credentials come from their role.
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    return variables if ec2_url is None else variables | {"AWS_ENDPOINT_URL_EC2": ec2_url}


def _wait_until_healthy(process: subprocess.Popen[bytes], place: Place, folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            context = ssl.create_default_context(cafile=place.certificate)
            with urllib.request.urlopen(  # noqa: S310 - https, our own
                f"{place.url}/_ministack/health", timeout=1, context=context
            ):
                return
        except (OSError, ssl.SSLError):  # no certificate yet, a part of it, or no listener
            time.sleep(0.05)
    tail = (folder / "emulator.log").read_text(errors="replace")[-3000:]
    raise EmulatorError(
        f"not healthy after {_START_SECONDS:g} s, exit code {process.poll()}:\n{tail}"
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):  # the whole group has ended
            os.killpg(process.pid, sign)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    if process.stdin is not None:
        process.stdin.close()
