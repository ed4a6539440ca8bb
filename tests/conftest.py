"""Hypothesis profiles, and the local AWS that tests of whole functions share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from flowverdict_cli.local_aws import LocalAws, local_aws

if TYPE_CHECKING:
    from collections.abc import Iterator

# How many examples a law gets, chosen by HYPOTHESIS_PROFILE: `dev` for `make test`, `ci` for
# `make test-all`, `nightly` for a long search. No deadline: the first example pays for imports, and
# a busy machine fails no law.
for _profile, _examples in {"dev": 20, "ci": 100, "nightly": 1_000}.items():
    settings.register_profile(_profile, max_examples=_examples, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture
def aws() -> Iterator[LocalAws]:
    with local_aws() as local:
        yield local
