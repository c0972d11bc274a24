"""A run of the twin: the event loop, stopped at each slot so that a controller can act."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np

from edgewise.domain.errors import RunFailed
from edgewise.policy.dispatch import ABSENT, FleetArrays, empty_fleet
from edgewise.policy.order import trusts_order
from edgewise.twin.arrays import (
    IN_TRANSIT,
    LOG_ROWS,
    NEXT_ARRIVAL,
    NEXT_HAPPENING,
    Physics,
    Rules,
    State,
    new_state,
)
from edgewise.twin.demand import Bools, Demand, Floats, Happenings, Ints
from edgewise.twin.loop import advance
from edgewise.twin.place import stand, start_load

FIRST_LOG = 4096


class Controller(Protocol):
    """Acts once per slot on a twin that stands still. Slot 0 is before the first prompt."""

    def slot(self, twin: Twin, number: int) -> None: ...


class Twin:
    """A cluster in the twin, and the prompts it is to serve. Not thread-safe; copies share nothing that changes."""

    def __init__(
        self, physics: Physics, fleet: FleetArrays, demand: Demand, happenings: Happenings, rules: Rules
    ) -> None:
        self.physics = physics
        self.demand = self._told = demand
        self._times: Floats = np.ones(len(physics.need))
        self.happenings = happenings
        self.rules = rules
        # The first fill alone may be a change for each place.
        rows = max(FIRST_LOG, 4 * fleet.state.size)
        fleet.overtakes[:] &= trusts_order(rules.yielding, rules.shedding)
        self.state: State = new_state(physics, fleet, len(demand.at_s), rows)

    @property
    def now_s(self) -> float:
        return float(self.state.clock[0])

    def run_until(self, until_s: float, retake: bool = False) -> bool:
        """All events before `until_s`. True when every prompt of the demand has its answer. retake: what was set
        since the last call takes effect now."""
        over = advance(self.physics, self.demand, self.happenings, self.state, self.rules, until_s, retake)
        if self.state.tally[LOG_ROWS] > len(self.state.log_s) // 2:
            self._lengthen_log()
        return bool(over)

    @property
    def stuck(self) -> bool:
        """Nothing will happen any more, though prompts are open: nobody is there to serve them."""
        s = self.state
        ended = s.tally[NEXT_ARRIVAL] == len(self.demand.at_s) and s.tally[NEXT_HAPPENING] == len(
            self.happenings.at_s
        )
        return bool(ended and s.tally[IN_TRANSIT] == 0 and np.isinf(s.tree[1]))

    def stand(self, placement: Bools) -> None:
        """Replicas [N, M] that are there, ready, before the run. Raises RunFailed when they do not fit."""
        if ((placement * self.physics.need).sum(axis=1) > self.state.free + 1e-9).any():
            raise RunFailed("the initial replicas do not fit the memory of their nodes")
        for n, m in zip(*np.nonzero(placement), strict=True):
            stand(self.physics, self.state, n, m)

    def load(self, placement: Bools) -> None:
        """Start loads of these replicas [N, M] now, once, where memory allows."""
        for n, m in zip(*np.nonzero(placement), strict=True):
            if self.state.fleet.state[n, m] == ABSENT and self.state.free[n] >= self.physics.need[m] - 1e-9:
                start_load(self.physics, self.state, n, m, self.now_s)

    def want(self, goal: Bools) -> None:
        """Replicas wanted [N, M]; what is there and not wanted drains (under FIXED placing)."""
        self.state.goal[:] = goal

    def share(self, shares: Floats) -> None:
        """On-node shares [N, M], relative, > 0."""
        self.state.fleet.share[:] = shares

    def route(self, rows: Ints, weights: Floats) -> None:
        """Routes as FleetArrays has them: rows [N, M] and weights [R, N]; counts of what was sent start anew when
        the weights are others."""
        fleet = self.state.fleet
        if fleet.route_weight.shape == weights.shape:
            fleet.route_row[:] = rows
            fleet.route_weight[:] = weights
            return
        fleet = fleet._replace(route_row=rows.copy(), route_weight=weights.copy(), route_sent=np.zeros(weights.shape))
        self.state = self.state._replace(fleet=fleet)

    def believe(self, speed: Floats, times: Floats) -> None:
        """What dispatch goes by from now on: speeds of nodes [N], and by how much the hints of prompts yet to come
        are off, by model [M]."""
        self.state.fleet.speed[:] = speed
        if np.array_equal(times, self._times):
            return
        self._times = times
        first, d = int(self.state.tally[NEXT_ARRIVAL]), self._told
        hints = np.concatenate([self.demand.hint_s[:first], d.hint_s[first:] * times[d.model[first:]]])
        self.demand = d._replace(hint_s=hints)

    def _lengthen_log(self) -> None:
        if self.state.tally[LOG_ROWS] > len(self.state.log_s):
            raise RunFailed(f"more than {len(self.state.log_s)} replica changes between two slots")
        s, more = self.state, len(self.state.log_s)
        self.state = s._replace(
            log_s=np.concatenate([s.log_s, np.zeros(more)]),
            log_kind=np.concatenate([s.log_kind, np.zeros(more, np.int64)]),
            log_node=np.concatenate([s.log_node, np.zeros(more, np.int64)]),
            log_model=np.concatenate([s.log_model, np.zeros(more, np.int64)]),
        )


class Ended(NamedTuple):
    """at_s: when the last prompt was answered, or when it was given up. slots: how many a controller saw."""

    at_s: float
    slots: int


def run(twin: Twin, controller: Controller | None, slot_s: float, give_up_s: float = math.inf) -> Ended:
    """Run until every prompt is answered, until `give_up_s`, or, without a controller that could act, until nothing
    will happen any more; prompts without an answer then stay PENDING."""
    number = 0
    while True:
        if controller is not None:
            controller.slot(twin, number)
        number += 1
        until_s = min(number * slot_s, give_up_s)
        if twin.run_until(until_s, retake=controller is not None or number == 1):
            return Ended(float(twin.state.clock[1]), number)
        if until_s >= give_up_s:
            return Ended(give_up_s, number)
        if controller is None and twin.stuck:
            return Ended(twin.now_s, number)


def fleet_for(physics: Physics, latency_s: Floats, s_per_kib: Floats) -> FleetArrays:
    """An empty fleet of live nodes of their first speed. latency_s, s_per_kib [N, N]: both ways, and per KiB."""
    nodes, models = len(physics.memory), len(physics.need)
    fleet = empty_fleet(nodes, models)._replace(latency_s=latency_s, s_per_kib=s_per_kib)
    fleet.alive[:] = True
    fleet.speed[:] = physics.first_speed
    fleet.slots[:] = physics.slots
    fleet.payload_kib[:] = physics.request_kib + physics.response_kib
    return fleet
