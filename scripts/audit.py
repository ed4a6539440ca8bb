"""Known vulnerabilities of every pin: ``make audit``.

pip-audit ends with 0 too where the service knows none of the packages, as a mirror without its database does, or where all were
passed over. Here a pin counts as audited only if the service answered for it; what was not is told, and is a failure where
``AUDIT_REQUIRED=1`` asks for it. A known vulnerability is one always.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

_SECONDS = (
    600  # for one file: some hundred requests of a second or less, and no gate waits for ever
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the service said of the pins of one file, each as ``name version``; ``failure`` says why it said nothing."""

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
    """Read what pip-audit printed as JSON for a file, or, where that is none, its last line of complaint."""
    try:
        listed = json.loads(printed)["dependencies"]
        passed_over = tuple(one["name"] for one in listed if "skip_reason" in one)
        answered = [one for one in listed if "skip_reason" not in one]
        return Audit(
            file=file,
            audited=tuple(f"{one['name']} {one['version']}" for one in answered),
            passed_over=passed_over,
            vulnerable=tuple(
                f"{one['name']} {one['version']}: {known['id']}, fixed in {', '.join(known['fix_versions']) or 'none'}"
                for one in answered
                for known in one["vulns"]
            ),
        )
    except (ValueError, KeyError, TypeError):
        lines = complaint.strip().splitlines()
        return Audit(file=file, failure=lines[-1][:200] if lines else "pip-audit printed nothing")


def audit(file: str, service: str) -> Audit:
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
        finished = subprocess.run(  # noqa: S603 - ours
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Audit(file=file, failure=f"no answer within {_SECONDS} s")
    return judge(file, finished.stdout, finished.stderr)


def report(audits: list[Audit], service: str, *, required: bool) -> tuple[list[str], int]:
    """Give the lines to print, what was audited last of all, and the exit status."""
    lines = []
    for one in audits:
        lines += [f"VULNERABLE: {one.file}: {found}" for found in one.vulnerable]
        if one.failure is not None:
            lines.append(f"NOT AUDITED: {one.file}: {one.failure}")
        elif not one.is_whole:
            lines.append(
                f"NOT AUDITED: {one.file}: {service} has no answer for {', '.join(one.passed_over) or 'any pin'}"
            )
    whole = [one for one in audits if one.is_whole]
    vulnerable = sum(len(one.vulnerable) for one in audits)
    missing = len(audits) - len(whole)
    failed = vulnerable > 0 or (required and (missing > 0 or not audits))
    pins = len({pin for one in audits for pin in one.audited})
    told = f"audited {pins:,} pins with {service}, {len(whole)} of {len(audits)} files whole: {vulnerable:,} known vulnerabilities"
    if missing or not audits:
        told += f"; NOT AUDITED: {missing} files ({'which AUDIT_REQUIRED forbids' if required else 'not required'})"
    return [*lines, told], int(failed)


def main(files: list[str]) -> int:
    """Audit the files and give the exit status."""
    service = os.environ.get("AUDIT_SERVICE") or "pypi"
    lines, status = report(
        [audit(file, service) for file in files],
        service,
        required=os.environ.get("AUDIT_REQUIRED") == "1",
    )
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
