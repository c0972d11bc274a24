"""Random numbers by name instead of by order: a draw depends on the seed and on what it is for, so that it stays the
same whatever else a policy does. Hash: SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
generators, OOPSLA 2014)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from edgewise.policy.kernel import INLINE, KERNEL

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_A = np.uint64(0xBF58476D1CE4E5B9)
_B = np.uint64(0x94D049BB133111EB)


@njit(**INLINE)
def _mix(x: np.uint64) -> np.uint64:
    x = (x ^ (x >> np.uint64(30))) * _A
    x = (x ^ (x >> np.uint64(27))) * _B
    return x ^ (x >> np.uint64(31))


@njit(**KERNEL)
def uniform(seed: int, a: int, b: int, c: int) -> float:
    """In [0, 1)."""
    x = _mix(np.uint64(seed) + _GAMMA)
    x = _mix(x + np.uint64(a) * _GAMMA)
    x = _mix(x ^ (np.uint64(b) + _GAMMA))
    x = _mix(x + np.uint64(c) * _GAMMA)
    return float(x >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(**KERNEL)
def normal(seed: int, a: int, b: int, c: int) -> float:
    """Standard normal (Box–Muller)."""
    first = 1.0 - uniform(seed, a, b, 2 * c)
    second = uniform(seed, a, b, 2 * c + 1)
    return math.sqrt(-2.0 * math.log(first)) * math.cos(2.0 * math.pi * second)
