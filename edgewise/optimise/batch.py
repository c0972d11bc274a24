"""Many placements estimated in one call, weights and shares included: what a step of the search asks for.

The same as a plan made by weights.make_plan and estimated, but for that plan's rounding to six digits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from edgewise.optimise.filling import fill_all
from edgewise.optimise.kernels import TINY, Scratch, Standing, Terms, flows_of, latencies_of, scratch
from edgewise.optimise.problem import Bools, Floats, Ints
from edgewise.policy.kernel import KERNEL


class Ground(NamedTuple):
    """What placements are laid out on. usable, work [N, M]; stray [M] as in kernels.Standing, before anything is
    dropped; size [M]: relative shares; demand [M]: prompts per second that weights are made for; order [M]: models by
    falling work; least: weight every replica keeps; least_share; sweeps: of the water-filling."""

    usable: Floats
    work: Floats
    stray: Floats
    size: Floats
    demand: Floats
    order: Ints
    least: float
    least_share: float
    sweeps: int


class Layout(NamedTuple):
    """Scratch for one placement: Standing's arrays with room for N·M replicas, and the same replicas by model.
    place [R]: where the r-th by model is in the order of nodes."""

    node: Ints
    model: Ints
    first: Ints
    share: Floats
    usable: Floats
    work: Floats
    stray: Floats
    queued: Floats
    starts: Ints
    by_model: Ints
    place: Ints
    put: Floats
    level: Floats
    weight: Floats


def layout(nodes: int, models: int) -> Layout:
    many = nodes * models

    def ints(size: int) -> Ints:
        return np.empty(size, np.int64)

    return Layout(
        ints(many), ints(many), ints(nodes + 1), np.empty(many), np.empty(many), np.empty(many), np.empty(models),
        np.empty(nodes), ints(models + 1), ints(many), ints(many), np.empty(many), np.empty(nodes), np.empty(many),
    )  # fmt: skip


@njit(**KERNEL)
def _lay_out(t: Terms, g: Ground, here: Bools, lay: Layout) -> int:
    """Lists the placement's replicas with their shares; returns how many they are."""
    nodes, models = here.shape
    r = 0
    for m in range(models):
        lay.stray[m] = g.stray[m]
    for n in range(nodes):
        lay.first[n] = r
        total, queued = 0.0, 0.0
        for m in range(models):
            if here[n, m]:
                lay.node[r], lay.model[r] = n, m
                lay.share[r], lay.usable[r], lay.work[r] = g.size[m], g.usable[n, m], g.work[n, m]
                total += g.size[m]
                queued += g.work[n, m]
                r += 1
            else:
                lay.stray[m] += g.work[n, m]
        for i in range(lay.first[n], r):
            lay.share[i] = max(lay.share[i] / total, g.least_share)
        lay.queued[n] = queued / t.horizon
        lay.level[n] = queued / t.horizon / t.speed[n]
    lay.first[nodes] = r
    return r


@njit(**KERNEL)
def _weigh(t: Terms, g: Ground, many: int, lay: Layout) -> None:
    """Water-filled weights of the replicas, those of a model summing to 1."""
    models = g.demand.shape[0]
    for m in range(models + 1):
        lay.starts[m] = 0
    for r in range(many):
        lay.starts[lay.model[r] + 1] += 1
    for m in range(models):
        lay.starts[m + 1] += lay.starts[m]
    for r in range(many):
        at = lay.starts[lay.model[r]]
        lay.by_model[at], lay.place[at], lay.put[r] = lay.node[r], r, 0.0
        lay.starts[lay.model[r]] = at + 1
    for m in range(models, 0, -1):
        lay.starts[m] = lay.starts[m - 1]
    lay.starts[0] = 0
    fill_all(lay.starts, lay.by_model[:many], g.order, g.demand, t.speed, lay.level, lay.put[:many], g.sweeps, -1.0)
    for m in range(models):
        first, last = lay.starts[m], lay.starts[m + 1]
        total = 0.0
        for i in range(first, last):
            total += lay.put[i]
        sums = 0.0
        for i in range(first, last):
            lay.put[i] = max(lay.put[i] / (total if total > 0.0 else 1.0), g.least)
            sums += lay.put[i]
        usable = 0.0
        for i in range(first, last):
            lay.put[i] = lay.put[i] / sums * lay.usable[lay.place[i]]
            usable += lay.put[i]
        for i in range(first, last):
            lay.weight[lay.place[i]] = lay.put[i] / (usable if usable > 0.0 else 1.0)


@njit(**KERNEL)
def _predict_all(
    t: Terms, g: Ground, here: Bools, rates: Floats, mean_trip: Floats, lay: Layout, x: Scratch, flows: Floats,
    trips: Floats, out: Floats, busy: Floats,
) -> None:  # fmt: skip
    for i in range(here.shape[0]):
        many = _lay_out(t, g, here[i], lay)
        _weigh(t, g, many, lay)
        st = Standing(
            lay.node[:many], lay.model[:many], lay.first, lay.share[:many], lay.usable[:many], lay.work[:many],
            lay.stray, lay.queued,
        )  # fmt: skip
        room = Scratch(
            x.weight[:many], x.flow[:many], x.slow[:many], x.busy[:many], x.load[:many], x.sums, x.level, x.active,
            x.host,
        )  # fmt: skip
        for k in range(rates.shape[0]):
            for m in range(rates.shape[1]):
                trips[k, m] = 0.0
        flows_of(st, lay.weight[:many], rates, mean_trip, flows, trips)
        latencies_of(t, st, flows, trips, rates, room, out[i], busy[i])


def predict_all(t: Terms, g: Ground, here: Bools, rates: Floats, mean_trip: Floats) -> tuple[Floats, Floats]:
    """As estimate's prediction: (latency [P, K, M] without the wait for loads, busy [P, K, N]) of placements
    [P, N, M] at rates [K, M]. g.demand times service is what weights level."""
    plans, nodes, models = here.shape
    draws = len(rates)
    out, busy = np.empty((plans, draws, models)), np.zeros((plans, draws, nodes))
    work = g._replace(demand=np.maximum(g.demand, 1e-9) * t.service)
    many = nodes * models
    _predict_all(
        t, work, here, np.maximum(rates, TINY), mean_trip, layout(nodes, models), scratch(many, nodes, models),
        np.empty((draws, many)), np.empty((draws, models)), out, busy,
    )  # fmt: skip
    return out, busy
