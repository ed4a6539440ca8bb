"""Import modules; print, as JSON, what their top-level code did that belongs into a call.

``test_import_purity`` runs this file by its path in a new process, because Python runs the code of
a module only at its first import:

    python record_imports.py OWN_FOLDER... -- TARGET...

A TARGET is the name of a module or the path of a file. A read of the environment counts if the
innermost module that is being imported lies in an OWN_FOLDER; reads by a third-party module at its
own import do not count. Nor does the locale that gettext looks up for the words that click
translates when a command is declared. A client counts, whichever module makes it.
"""

from __future__ import annotations

import gettext
import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

own_folders: list[str] = []
environment_reads: list[str] = []
clients: list[str] = []


def importing_file(frame: FrameType | None) -> str | None:
    """Return the file of the innermost module-level frame; ``None`` for the reads of gettext."""
    while frame is not None and frame.f_code.co_filename != gettext.__file__:
        if frame.f_code.co_name == "<module>":
            return frame.f_code.co_filename
        frame = frame.f_back
    return None


def recorded(original: Callable[..., Any]) -> Callable[..., Any]:
    """Record reads of the environment on their way to ``original``."""

    def read(environment: object, *arguments: object) -> object:
        file = importing_file(sys._getframe(1))  # noqa: SLF001 - the stack is what is asked about
        if file is not None and any(Path(file).is_relative_to(folder) for folder in own_folders):
            environment_reads.append(
                f"{Path(file).name}: {', '.join(map(str, arguments)) or 'all'}"
            )
        return original(environment, *arguments)

    return read


def counted(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    """Record calls of what makes clients."""

    def make(*arguments: object, **named: object) -> object:
        clients.append(f"{Path(importing_file(sys._getframe(1)) or '?').name}: {name}")  # noqa: SLF001 - as above
        return original(*arguments, **named)

    return make


def watch() -> None:
    """Put the recorders in place; ``get``, ``in`` and ``os.getenv`` all end in ``__getitem__``."""
    environment = type(os.environ)
    for name in ("__getitem__", "__iter__"):
        setattr(environment, name, recorded(getattr(environment, name)))
    for owner, name in (
        (boto3, "client"),
        (boto3, "resource"),
        (botocore.session.Session, "create_client"),
    ):
        setattr(owner, name, counted(name, getattr(owner, name)))


def load(target: str) -> None:
    """Import one target."""
    if not target.endswith(".py"):
        importlib.import_module(target)
        return
    spec = importlib.util.spec_from_file_location(f"target_{len(sys.modules)}", target)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{target} cannot be loaded")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


if __name__ == "__main__":
    divider = sys.argv.index("--")
    own_folders += sys.argv[1:divider]
    watch()
    for argument in sys.argv[divider + 1 :]:
        load(argument)
    ours = sorted(
        name for name in sys.modules if name.partition(".")[0] in {"flowverdict", "flowverdict_cli"}
    )
    print(json.dumps({"environment_reads": environment_reads, "clients": clients, "modules": ours}))  # noqa: T201 - its answer
