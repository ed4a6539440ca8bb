"""Run a law with more or fewer examples than other laws, whatever the profile."""

from __future__ import annotations

from hypothesis import settings


def examples(weight: float, parent: settings | None = None) -> settings:
    """Return the settings of a law that needs `weight` times the profile's number of examples.

    `parent` holds the fixed settings of the law. The profiles stand in ``tests/conftest.py``.
    """
    return settings(parent, max_examples=max(1, round(settings().max_examples * weight)))
