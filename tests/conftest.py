"""Hypothesis profiles, and the local AWS that tests of whole functions share."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict_cli.local_aws import LocalAws

# How many examples a law gets, chosen by HYPOTHESIS_PROFILE: `dev` for `make test`, `ci` for
# `make test-all`, `nightly` for a long search. No deadline: the first example pays for imports, and
# a busy machine fails no law.
for _profile, _examples in {"dev": 8, "ci": 40, "nightly": 1_000}.items():
    settings.register_profile(_profile, max_examples=_examples, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

# Often enough that the worlds of earlier tests, which are full of cycles, do not pile up.
_GC_THRESHOLD = (200_000, 10, 10)
gc.disable()  # until all modules are imported: they make objects that stay


def pytest_collection_finish() -> None:
    """Let the garbage collector pass by what was imported, and moto remember what never changes."""
    if "moto" in sys.modules:
        from tests.helpers.quick_aws import quick_aws  # noqa: PLC0415 - imports moto

        quick_aws(pytest.MonkeyPatch())
    gc.freeze()
    gc.enable()


def pytest_runtest_setup() -> None:
    """Undo what a function did to the garbage collector of this process, which lives on."""
    gc.set_threshold(*_GC_THRESHOLD)


@pytest.fixture
def aws() -> Iterator[LocalAws]:
    from flowverdict_cli.local_aws import local_aws  # noqa: PLC0415 - a second; most tests need no AWS

    with local_aws() as local:
        yield local
