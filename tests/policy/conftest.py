"""The clock of the tests that read a policy from AWS."""

from __future__ import annotations

import pytest

from tests.helpers.policy_sources import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()
