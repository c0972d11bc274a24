"""Numba compiles a kernel anew for each constant that it is called with, and a kernel of the twin takes seconds."""

from __future__ import annotations

from numba import njit

from edgewise.policy.kernel import INLINE


@njit(**INLINE)
def plain(x: int) -> int:
    """The number, as one that is no constant."""
    return x + 0


@njit(**INLINE)
def yes() -> bool:
    """True, as a value that is no constant."""
    return plain(1) > 0
