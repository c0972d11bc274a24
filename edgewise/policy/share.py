"""On-node sharing: which model computes next. Start-time fair queueing on flat arrays.

A node computes one step (a token, a denoising step) at a time. Each model has a virtual time, s: the service it
got divided by its share. The model with work and the least virtual time goes next, so that service is in
proportion to the shares of the models with work. A model that comes back from idleness starts at the virtual
time of the others: it hoards no credit. (Goyal, Vin, Cheng: Start-time Fair Queueing, SIGCOMM 1996.)

Models are indices; arrays are the caller's and are changed in place.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from edgewise.policy.kernel import KERNEL

NOBODY = -1
MIN_SHARE = 1e-3  # of the largest share; a smaller one would stand still for minutes

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@njit(**KERNEL)
def next_model(virtual_s: Floats, has_work: Bools) -> int:
    """The model that computes next: least virtual time among those with work, the first of equals; NOBODY when
    none has work."""
    best = NOBODY
    for m in range(virtual_s.shape[0]):
        if has_work[m] and (best == NOBODY or virtual_s[m] < virtual_s[best]):
            best = m
    return best


@njit(**KERNEL)
def charge(virtual_s: Floats, shares: Floats, model: int, used_s: float) -> None:
    """Book `used_s` seconds of service on a model."""
    largest = 0.0
    for m in range(shares.shape[0]):
        largest = max(largest, shares[m])
    share = max(shares[model], MIN_SHARE * largest)
    if share > 0.0:
        virtual_s[model] += used_s / share


@njit(**KERNEL)
def wake(virtual_s: Floats, model: int, clock_s: float) -> None:
    """A model gets work after it had none. `clock_s`: virtual time at which the latest step began."""
    virtual_s[model] = max(virtual_s[model], clock_s)


def precompile() -> None:
    """Compile, or read from the cache, before the first prompt has to wait for it."""
    virtual_s, shares = np.zeros(1), np.ones(1)
    wake(virtual_s, 0, 0.0)
    charge(virtual_s, shares, 0, 0.0)
    next_model(virtual_s, np.zeros(1, dtype=np.bool_))
