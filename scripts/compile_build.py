"""Compile the output of ``sam build`` to bytecode, which is deployed with the sources.

python scripts/compile_build.py .aws-sam/build (``make build``)

A function's folders are read-only on Lambda, so a module without bytecode is compiled at every cold
start; ``make size`` prints how long that takes. Packing may change the times of files
(https://github.com/serverless/serverless/issues/13889), and Python would then reject bytecode that
is checked against the source's time. This bytecode is unchecked, since source and bytecode are
always deployed together.
"""

from __future__ import annotations

import compileall
import sys
from pathlib import Path
from py_compile import PycInvalidationMode


def compile_build(folder: Path) -> None:
    """Compile everything below a folder. The running Python must be of Lambda's version.

    Raises
    ------
    RuntimeError
        A file does not compile; the error was printed.
    """
    # The folder's own path is left out, so that the bytecode is the same wherever it is built.
    if not compileall.compile_dir(
        folder,
        maxlevels=50,
        quiet=1,
        stripdir=folder,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    ):
        raise RuntimeError(f"{folder} has files that do not compile")


if __name__ == "__main__":
    compile_build(Path(sys.argv[1]))
