"""The short form of the soak, in a process of its own.

moto has one EC2 for each process, and the other tests need the EC2 of the shop.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.e2e.emulator import ROOT

if TYPE_CHECKING:
    from tests.e2e.stack import Build

# Seconds of load; with build, deployment and drain the soak takes 40 s on an idle machine, a minute
# on a busy one.
_SECONDS = "15"
_LONGEST = 500.0
_LAST_LINE = re.compile(
    r"soak: (?P<objects>\d+) objects, (?P<records>\d+) records in, "
    r"(?P<accounted>\d+) accounted for \(.*\), (?P<kills>\d+) kills, "
    r"(?P<redeliveries>\d+) redeliveries, "
    r"alerts expected (?P<expected>\d+), sent (?P<sent>\d+), twice (?P<twice>\d+)"
)


def test_every_record_and_every_alert_is_accounted_for_though_workers_are_killed(
    built: Build,
) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.e2e.soak"],
        cwd=ROOT,
        env=os.environ | {"SOAK_SECONDS": _SECONDS, "SOAK_BUILT": str(built.folder)},
        capture_output=True,
        text=True,
        timeout=_LONGEST,
        check=False,
    )

    assert finished.returncode == 0, finished.stdout + finished.stderr
    told = _LAST_LINE.fullmatch(finished.stdout.splitlines()[-1])
    assert told is not None, finished.stdout
    assert told["accounted"] == told["records"]
    assert told["sent"] == told["expected"]
    # Without these the run shows nothing.
    assert (
        min(int(told[name]) for name in ("objects", "records", "kills", "redeliveries", "expected"))
        > 0
    )
