"""Who goes next in a model's queue on a node: arrival, with longer prompts yielding to shorter ones.

The key of a prompt is its arrival plus `yielding` times its expected service; the least key goes first. So a prompt
lets later, shorter ones pass, but none that arrived more than yielding × (its own size) after it: as it waits, it
ages past everybody, and nobody starves. 0 is first come, first served; ∞ would be shortest first.
"""

from __future__ import annotations

from numba import njit

from edgewise.policy.kernel import INLINE


@njit(**INLINE)
def queue_key(arrived_s: float, expected_s: float, yielding: float) -> float:
    """Least first. arrived_s: at the access node; expected_s: at speed 1; yielding ≥ 0."""
    key: float = arrived_s + yielding * expected_s
    return key


def trusts_order(yielding: float, shedding: bool) -> bool:
    """Whether dispatch reckons with short prompts passing long ones. Not where late prompts are refused: who is let
    in on the promise of passing others makes those late."""
    return yielding > 0.0 and not shedding
