"""What is left of a prompt that runs, as far as one can tell from its expected service and what it has been given."""

from __future__ import annotations

from numba import njit

from edgewise.policy.kernel import INLINE


@njit(**INLINE)
def left_s(expected_s: float, given_s: float, scv: float) -> float:
    """Expected service left, s at speed 1, of prompts expected to need `expected_s` together that were given
    `given_s`. scv: squared coefficient of variation of the need around what was expected.

    Exact at both ends: sizes that are known (scv 0) leave what was not given yet, exponential ones (scv 1) leave as
    much as at the start. Between them it is linear, and never below the half of a standard deviation: a prompt that
    should have ended long ago will end soon, but not at once.
    """
    known = min(max(scv, 0.0), 1.0)
    rest: float = expected_s - (1.0 - known) * given_s
    return max(rest, 0.5 * known**0.5 * expected_s)
