"""The twin's node against a slow one that is written down as the definition says: speed is divided between models
with running prompts by their shares, a model's part equally among those that run; a queue is in order of arrival."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.twin.demand import Demand
from tests.support.twin_world import Floats, Kind, demand_of, happenings, physics_for, to_the_end, twin_of


def by_definition(d: Demand, kinds: list[Kind], share: Floats, speed: float, slow_s: float, factor: float) -> Floats:
    """Ends [P] on one node whose replicas stand, and whose speed is divided by `factor` from slow_s on."""
    count = len(d.at_s)
    left, ends = d.service_s.copy(), np.full(count, np.inf)
    running, waiting = [list[int]() for _ in kinds], [list[int]() for _ in kinds]
    now_s, arrived = 0.0, 0
    while not np.isfinite(ends).all():
        rate = np.zeros(count)
        total = sum(share[m] for m, here in enumerate(running) if here)
        for m, here in enumerate(running):
            for p in here:
                together = kinds[m].curve[min(len(here), len(kinds[m].curve)) - 1]
                rate[p] = speed * share[m] / total * together / len(here)
        going = np.nonzero(rate > 0)[0]
        ends_s = now_s + (left[going] / rate[going]).min() if going.size else math.inf
        next_s = min(ends_s, d.at_s[arrived] if arrived < count else math.inf, slow_s)
        left -= rate * (next_s - now_s)
        now_s = next_s
        if next_s == slow_s:
            speed, slow_s = speed / factor, math.inf
        elif next_s == ends_s:
            p = int(going[np.argmin(left[going] / rate[going])])
            ends[p] = now_s
            running[d.model[p]].remove(p)
        else:
            waiting[d.model[arrived]].append(arrived)
            arrived += 1
        for m, kind in enumerate(kinds):
            while waiting[m] and (kind.slots == 0 or len(running[m]) < kind.slots):
                running[m].append(waiting[m].pop(0))
    return ends


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.integers(0, 10**6))
def test_a_node_is_as_it_is_defined(seed: int) -> None:
    rng = np.random.default_rng(seed)
    models, prompts = int(rng.integers(1, 5)), int(rng.integers(1, 60))
    kinds = []
    for _ in range(models):
        slots = int(rng.integers(0, 5))
        kinds.append(Kind(slots=slots, curve=tuple(np.cumsum([1.0, *rng.uniform(0, 1, max(slots, 1) - 1)]))))
    share, speed = rng.uniform(0.05, 3.0, models), float(rng.uniform(0.3, 3.0))
    span_s = prompts / speed / rng.uniform(0.3, 2.0)
    slow_s, factor = float(rng.uniform(0, span_s)), float(rng.uniform(0.5, 4.0))
    d = demand_of(
        np.sort(rng.uniform(0, span_s, prompts)),
        rng.lognormal(-0.5, 1.0, prompts),
        model=rng.integers(models, size=prompts),
    )
    twin = twin_of(physics_for([speed], kinds), d, share=share, events=happenings((slow_s, 2, 0, factor)))
    to_the_end(twin)
    assert twin.state.finished_s == pytest.approx(by_definition(d, kinds, share, speed, slow_s, factor))
