"""Run the SAM CLI quickly: with short pauses, and without zipping the same folder twice.

``stack.py`` starts this file with the Python of the SAM CLI. The SAM CLI pauses 15 or 30 seconds
between two looks at a stack, since CloudFormation limits the rate of calls; the emulator does not.
Each deployment of a build would zip the same layers again, which takes 15 seconds of a core, and
its YAML parser written in Python needs seconds for the template.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from botocore.waiter import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PAUSE = 0.3  # seconds
_LOOKS = 1_000


def main() -> int:
    """Run the command line of this process."""
    yaml.SafeLoader, yaml.SafeDumper = yaml.CSafeLoader, yaml.CSafeDumper  # type: ignore[misc, assignment]
    # The SAM CLI derives a class from the dumper when it is imported.
    from samcli.cli.main import cli  # noqa: PLC0415
    from samcli.lib.package import utils  # noqa: PLC0415

    zip_folder, wait = utils.zip_folder, Waiter.wait

    @contextmanager
    def zip_folder_once(folder: str, zip_method: Callable[..., str]) -> Iterator[tuple[str, str]]:
        """Yield the zip of a built folder, which never changes, and the folder's checksum."""
        kept, name = Path(os.environ["KEPT_ZIPS"]), Path(folder).name
        if not [*kept.glob(f"{name}-*.zip")]:
            with zip_folder(folder, zip_method) as (zipped, checksum):
                shutil.move(zipped, kept / f"{name}-{checksum}.zip")
        (path,) = kept.glob(f"{name}-*.zip")
        yield str(path), path.stem.rpartition("-")[2]

    def wait_with_short_pauses(waiter: Waiter, **named: Any) -> None:  # noqa: ANN401 - handed through
        wait(waiter, **named | {"WaiterConfig": {"Delay": _PAUSE, "MaxAttempts": _LOOKS}})

    utils.zip_folder = zip_folder_once
    Waiter.wait = wait_with_short_pauses  # type: ignore[method-assign, assignment]
    return int(cli(prog_name="sam") or 0)


if __name__ == "__main__":
    sys.exit(main())
