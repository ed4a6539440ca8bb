"""Try one of several parameters in ``make test``, and all of them in ``make test-all``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable


def one_fast[T](parameters: Iterable[T], fast: T) -> list[object]:
    """Return the parameters, all but one of them marked slow."""
    return [one if one == fast else pytest.param(one, marks=pytest.mark.slow) for one in parameters]
