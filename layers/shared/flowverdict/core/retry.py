"""How long to wait before a write or a call is tried again.

The bound of the wait doubles with each failed try, and a random share of the bound keeps two
writers that met once from meeting again and again. "Full" and "equal" jitter are AWS's names:
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/. The caller counts its
tries and sleeps.
"""

from __future__ import annotations

import random


def full_jitter(tried: int, *, first: float, longest: float) -> float:
    """Return seconds to wait: a random number between 0 and ``min(longest, first * 2**tried)``.

    Parameters
    ----------
    tried
        How many tries failed before the one that has just failed: 0 after the first.
    first, longest
        The bound of the first wait, and the bound of all later ones, in seconds.
    """
    return random.uniform(0, min(longest, first * 2**tried))  # noqa: S311 - spreads load, no secret


def equal_jitter(tried: int, *, first: float) -> float:
    """Return seconds to wait: a random number between half of ``first * 2**tried`` and the whole.

    For a throttled service, which needs some rest before each try. Parameters are those of
    ``full_jitter``; nothing but the caller's number of tries bounds the wait.
    """
    return random.uniform(0.5, 1) * first * 2.0**tried  # noqa: S311 - spreads load, no secret
