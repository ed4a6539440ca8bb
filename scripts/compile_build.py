"""Compile what ``sam build`` made to bytecode, which is deployed with it.

python scripts/compile_build.py .aws-sam/build (``make build``)

A function's folders are read-only on Lambda, so what comes without bytecode is compiled anew at every cold start: ``make size``
prints what that takes. Bytecode that goes by the source's time would be refused there, as packing may change the times
(https://github.com/serverless/serverless/issues/13889); this goes by nothing, since the two are never apart.
"""

from __future__ import annotations

import compileall
import sys
from pathlib import Path
from py_compile import PycInvalidationMode


def compile_build(folder: Path) -> None:
    """Compile everything below a folder, with the Python that runs this, which has to be of Lambda's version.

    Raises
    ------
    RuntimeError
        A file does not compile; what is wrong with it was printed.
    """
    # Without the folder's own path in it, so that the same code is the same bytecode wherever it is built.
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
