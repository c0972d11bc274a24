"""The prompts of one run as flat arrays, and what happens to the world meanwhile."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

# Kinds of happenings.
NODE_DOWN: Final = 0
NODE_UP: Final = 1
NODE_SLOW: Final = 2  # value: what the node's first speed is divided by
TELEMETRY_STALE: Final = 3  # value: for how many seconds; node -1: all


class Demand(NamedTuple):
    """P prompts in order of arrival; indices of nodes and models. Sizes are fixed before the run, so that every
    policy meets the same prompts."""

    at_s: Floats  # [P] arrival at the access node, run seconds, ascending
    model: Ints  # [P]
    access: Ints  # [P]
    service_s: Floats  # [P] true service at speed 1, alone
    hint_s: Floats  # [P] service the dispatcher believes in


class Happenings(NamedTuple):
    """What happens to nodes, ascending in time."""

    at_s: Floats  # [E]
    kind: Ints  # [E]
    node: Ints  # [E]
    value: Floats  # [E]


def no_demand() -> Demand:
    return Demand(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))


def no_happenings() -> Happenings:
    return Happenings(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
