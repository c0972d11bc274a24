"""When a prompt that is refused now would be answered in time: what Retry-After says.

The backlog must shrink until a prompt of its kind fits into its deadline, which takes as long as the prediction is
over it. And who was refused before comes back too: each refusal is counted as work that will be there, drained at the
rate at which the model is served. So a thousand refused at once are told a thousand different times, not one.
"""

from __future__ import annotations

import numpy as np

from edgewise.policy.dispatch import LOADING, READY, FleetArrays

LEAST_S = 1.0
MOST_DEADLINES = 20.0  # nobody is told to wait longer than so many deadlines beyond the backlog


class Comebacks:
    """Work that was refused and will be back, by model, s at speed 1."""

    def __init__(self, models: int) -> None:
        self._work_s = np.zeros(models)
        self._since_s = np.zeros(models)

    def after_s(self, fleet: FleetArrays, model: int, over_s: float, service_s: float, deadline_s: float,
                now_s: float) -> float:  # fmt: skip
        """Seconds until a prompt like this one would be answered in time; it is counted from now on. over_s: by which
        the best prediction misses the deadline."""
        rate = served_rate(fleet, model)
        gone_s = max(0.0, now_s - self._since_s[model])
        self._work_s[model] = max(0.0, self._work_s[model] - rate * gone_s)
        self._since_s[model] = now_s
        behind_s = self._work_s[model] / rate if rate > 0 else 0.0
        self._work_s[model] += service_s
        return max(LEAST_S, over_s + min(behind_s, MOST_DEADLINES * deadline_s))


def served_rate(fleet: FleetArrays, model: int) -> float:
    """Service the model is sure of, s at speed 1 per second: its part of every node that has it or loads it, if all
    models there have work."""
    up = ((fleet.state == READY) | (fleet.state == LOADING)) & fleet.alive[:, None]
    total = (fleet.share * up).sum(axis=1)
    mine = up[:, model]
    return float((fleet.speed[mine] * fleet.share[mine, model] / total[mine]).sum())


def loaded_in_s(fleet: FleetArrays, model: int, service_s: float, deadline_s: float) -> float:
    """Seconds until a loading replica would answer a new prompt in time; inf where none is loading."""
    loading = fleet.alive & (fleet.state[:, model] == LOADING)
    if not loading.any():
        return float("inf")
    ready_s = fleet.ready_in_s[loading, model]
    after_s = (fleet.work_s[loading, model] + service_s) / fleet.speed[loading]
    return float((ready_s + np.maximum(0.0, after_s - deadline_s)).min())
