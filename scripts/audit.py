"""Report the known vulnerabilities of every pin: ``make audit``.

pip-audit also exits with 0 where the service knows none of the packages (a mirror without the
database), or where all packages were skipped. Here a pin counts as audited only if the service
answered for it. Pins without an answer are printed, and fail the audit only with
``AUDIT_REQUIRED=1``. A known vulnerability always fails it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# For one file: some hundred requests of a second or less each.
_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The service's answer for the pins of one file, each as ``name version``.

    ``failure`` is the reason why there is no answer at all.
    """

    file: str
    audited: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    vulnerable: tuple[str, ...] = ()
    failure: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every pin was audited."""
        return self.failure is None and bool(self.audited) and not self.passed_over


def judge(file: str, printed: str, complaint: str) -> Audit:
    """Parse the JSON that pip-audit printed for a file.

    Without valid JSON, the audit's failure is the last line of standard error (``complaint``).
    """
    try:
        listed = json.loads(printed)["dependencies"]
        answered = [package for package in listed if "skip_reason" not in package]
        return Audit(
            file=file,
            audited=tuple(f"{package['name']} {package['version']}" for package in answered),
            passed_over=tuple(package["name"] for package in listed if "skip_reason" in package),
            vulnerable=tuple(
                f"{package['name']} {package['version']}: {vulnerability['id']}, "
                f"fixed in {', '.join(vulnerability['fix_versions']) or 'none'}"
                for package in answered
                for vulnerability in package["vulns"]
            ),
        )
    except (ValueError, KeyError, TypeError):
        lines = complaint.strip().splitlines()
        return Audit(file=file, failure=lines[-1][:200] if lines else "pip-audit printed nothing")


def run_audit(file: str, service: str) -> Audit:
    """Ask the service about the pins of a file."""
    options = [
        "--vulnerability-service",
        service,
        "--format",
        "json",
        "--desc",
        "off",
        "--progress-spinner",
        "off",
    ]
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        *options,
        "--disable-pip",
        "--require-hashes",
        "--requirement",
        file,
    ]
    try:
        finished = subprocess.run(  # noqa: S603 - our own arguments
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Audit(file=file, failure=f"no answer within {_SECONDS} s")
    return judge(file, finished.stdout, finished.stderr)


def report(audits: list[Audit], service: str, *, required: bool) -> tuple[list[str], int]:
    """Return the lines to print, the summary last, and the exit status."""
    vulnerable = sum(len(audit.vulnerable) for audit in audits)
    whole = sum(audit.is_whole for audit in audits)
    missing = len(audits) - whole
    incomplete = missing > 0 or not audits
    pins = len({pin for audit in audits for pin in audit.audited})
    summary = (
        f"audited {pins:,} pins with {service}, {whole} of {len(audits)} files whole: "
        f"{vulnerable:,} known vulnerabilities"
    )
    if incomplete:
        allowed = "which AUDIT_REQUIRED forbids" if required else "not required"
        summary += f"; NOT AUDITED: {missing} files ({allowed})"
    lines = [line for audit in audits for line in _problems(audit, service)]
    return [*lines, summary], int(vulnerable > 0 or (required and incomplete))


def _problems(audit: Audit, service: str) -> Iterator[str]:
    for found in audit.vulnerable:
        yield f"VULNERABLE: {audit.file}: {found}"
    if audit.failure is not None:
        yield f"NOT AUDITED: {audit.file}: {audit.failure}"
    elif not audit.is_whole:
        pins = ", ".join(audit.passed_over) or "any pin"
        yield f"NOT AUDITED: {audit.file}: {service} has no answer for {pins}"


def main(files: list[str]) -> int:
    """Audit the files, print the report and return the exit status."""
    service = os.environ.get("AUDIT_SERVICE") or "pypi"
    lines, status = report(
        [run_audit(file, service) for file in files],
        service,
        required=os.environ.get("AUDIT_REQUIRED") == "1",
    )
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
