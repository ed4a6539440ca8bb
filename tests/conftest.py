"""Hypothesis profiles, and the local AWS that tests of whole functions share."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from flowverdict_cli.local_aws import LocalAws

# How many examples a law gets, chosen by HYPOTHESIS_PROFILE: `dev` for `make test`, `ci` for
# `make test-all`, `nightly` for a long search. No deadline: the first example pays for imports, and
# a busy machine fails no law.
for _profile, _examples in {"dev": 5, "ci": 40, "nightly": 1_000}.items():
    settings.register_profile(_profile, max_examples=_examples, deadline=None)
_PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "dev")
settings.load_profile(_PROFILE)

# Seconds of CPU time that a test of the fast suite may take; most take less than 0.1 s, the dearest
# 12 s. A slow or busy machine needs twice the time.
_MOST_CPU = 40.0
_CPU_BEFORE = pytest.StashKey[float]()

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Note the CPU time before the first fixture."""
    item.stash[_CPU_BEFORE] = _cpu_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test of the fast suite that takes too much CPU time."""
    report = yield
    spent = _cpu_seconds() - item.stash[_CPU_BEFORE]
    if call.when == "call" and report.passed and spent > _MOST_CPU and _is_fast(item):
        report.outcome = "failed"
        report.longrepr = (
            f"took {spent:.1f} s of CPU time with its fixtures, more than {_MOST_CPU:g} s: "
            "make it cheaper, or mark it slow"
        )
    return report


def _is_fast(item: pytest.Item) -> bool:
    """Whether a test is one of ``make test``, with as few examples and worlds as there."""
    marks = {mark.name for mark in item.iter_markers()}
    searches = "hypothesis" in marks and _PROFILE != "dev"
    return not (marks & {"slow", "e2e"} or searches or "SIMULATOR_SEEDS" in os.environ)


def _cpu_seconds() -> float:
    return sum(os.times()[:4])  # of this process and of those that have ended


def pytest_runtest_setup() -> None:
    """Undo what a function did to the garbage collector of this process, which lives on."""
    gc.set_threshold(*_GC_THRESHOLD)


@pytest.fixture
def aws() -> Iterator[LocalAws]:
    from flowverdict_cli.local_aws import local_aws  # noqa: PLC0415 - a second; most tests need no AWS

    with local_aws() as local:
        yield local
