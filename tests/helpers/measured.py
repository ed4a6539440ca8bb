"""Read one hostile input in a process of its own; print its outcome and the memory it took.

python -m tests.helpers.measured file|log-event PATH

Memory is measured by the kernel: the peak of the process, less its peak after everything was loaded
and a clean input read. It is not ``ru_maxrss``, which on Linux begins with the parent's memory.
"""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from flowverdict.core.errors import FlowVerdictError
from flowverdict.flowlog.cloudwatch_logs import decode
from flowverdict.verdict.batch import Batch

ROOT = Path(__file__).parents[2]
CLEAN = {
    "file": ROOT / "tests" / "scenarios" / "outbound-response.log",
    "log-event": ROOT / "tests" / "fuzz" / "seeds" / "subscription-data" / "gzip",
}
_MANY = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The counts of an input or the reason of its refusal, and its MiB beyond a clean input's."""

    counts: dict[str, int]
    refusal: str | None
    mib: float


def measured(kind: str, path: Path) -> Measured:
    """Read an input in another process."""
    done = subprocess.run(  # noqa: S603 - ourselves
        [
            sys.executable,
            "-m",
            __spec__.name if __name__ == "__main__" else __name__,
            kind,
            str(path),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcome = Measured(**json.loads(done.stdout))
    print(f"{path.name}: {outcome.mib:.0f} MiB, {outcome.refusal or outcome.counts}")  # noqa: T201
    return outcome


def _read_clean(kind: str) -> None:
    """Read a clean input; of files also one so large that it is read by column, with numpy."""
    _read(kind, CLEAN[kind])
    if kind == "file":
        header, *records = CLEAN[kind].read_bytes().splitlines(keepends=True)
        Batch().add_file(io.BytesIO(header + b"".join(records) * _MANY), name="large")
        assert "numpy" in sys.modules


def _read(kind: str, path: Path) -> tuple[dict[str, int], str | None]:
    batch = Batch()
    try:
        if kind == "file":
            with path.open("rb") as stream:
                batch.add_file(stream, name=path.name)
        else:
            decode({"awslogs": {"data": base64.b64encode(path.read_bytes()).decode()}})
    except FlowVerdictError as error:
        return {}, str(error)
    return {name: count for name, count in batch.counts.as_mapping().items() if count}, None


def _peak() -> float:
    (kib,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kib) / 1_024


def _main() -> None:
    kind, path = sys.argv[1:]
    _read_clean(kind)
    before = _peak()
    counts, refusal = _read(kind, Path(path))
    json.dump(asdict(Measured(counts=counts, refusal=refusal, mib=_peak() - before)), sys.stdout)


if __name__ == "__main__":
    _main()
