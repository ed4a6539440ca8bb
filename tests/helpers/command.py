"""The command in this process, and the flow log lines that its tests read."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Protocol

from flowverdict_cli import commands

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

HEADER = (
    b"version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes"
    b" start end action log-status\n"
)
# From https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-records-examples.html
SSH = (
    b"2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249"
    b" 1418530010 1418530070 ACCEPT OK\n"
)
RDP = (
    b"2 123456789010 eni-1235b8ca123456789 172.31.9.69 172.31.9.12 49761 3389 6 20 4249"
    b" 1418530010 1418530070 REJECT OK\n"
)
PING = (
    b"2 123456789010 eni-1235b8ca123456789 203.0.113.12 172.31.16.139 0 0 1 4 336"
    b" 1432917027 1432917142 ACCEPT OK\n"
)
PONG = (
    b"2 123456789010 eni-1235b8ca123456789 172.31.16.139 203.0.113.12 0 0 1 4 336"
    b" 1432917094 1432917142 REJECT OK\n"
)
SUMMARY = "2 records: 1 accepted, 1 rejected in 1 flow\n"  # of SSH and RDP, or PING and PONG


class Outcome(Protocol):
    """The exit status and the output of a run."""

    code: int
    out: str
    err: str


class Runner:
    """Runs the command in this process, as its entry point does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.code = 0
        self.out = self.err = ""

    def __call__(self, *arguments: str | Path, stdin: bytes = b"") -> Outcome:
        """Run the command with these arguments."""
        self._monkeypatch.setattr(sys, "argv", ["flowverdict", *map(str, arguments)])
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            commands.run()
            self.code = 0
        except SystemExit as ended:
            self.code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        self.out, self.err = self._capsys.readouterr()
        return self


def write(path: Path, *lines: bytes) -> Path:
    """Write a file of these lines; return its path."""
    path.write_bytes(b"".join(lines))
    return path
