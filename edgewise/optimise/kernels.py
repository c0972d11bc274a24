"""The estimate's inner loops: one plan under several draws of demand, on lists of its replicas.

R replicas stand in the order of their nodes: those of node n are first[n] … first[n + 1] − 1. What a formula means
stands in optimise.estimate. Scratch is the caller's, as these kernels make no arrays.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from edgewise.optimise.problem import Floats, Ints
from edgewise.policy.kernel import INLINE, KERNEL

ROUNDS = 12
LEVELLING = 8
SETTLED = 1e-11  # relative change of the slowing at which its fixed point counts as found
TINY = 1e-12


class Standing(NamedTuple):
    """A plan's replicas. node, model [R]; first [N + 1]; share [R]; usable [R]: part of the horizon it is ready for;
    work [R]: queued there, s at speed 1; stray [M]: waiting elsewhere, s; queued [N]: of its replicas, per second of
    the horizon."""

    node: Ints
    model: Ints
    first: Ints
    share: Floats
    usable: Floats
    work: Floats
    stray: Floats
    queued: Floats


class Terms(NamedTuple):
    """What does not hang on plan or draw. speed [N]; service, spread [M]: mean, and burst + scv; cores; horizon."""

    speed: Floats
    service: Floats
    spread: Floats
    cores: float
    horizon: float


class Scratch(NamedTuple):
    """weight, flow, slow, busy, load [R]; sums [M]; level, active, host [N]."""

    weight: Floats
    flow: Floats
    slow: Floats
    busy: Floats
    load: Floats
    sums: Floats
    level: Floats
    active: Floats
    host: Floats


def scratch(replicas: int, nodes: int, models: int) -> Scratch:
    r, n = (replicas,), (nodes,)
    return Scratch(
        np.empty(r), np.empty(r), np.empty(r), np.empty(r), np.empty(r), np.empty(models), np.empty(n), np.empty(n),
        np.empty(n),
    )  # fmt: skip


@njit(**INLINE)
def _bent(rho: float) -> float:
    """ρ/(1 + ρ^12)^(1/12): the probability of being busy, bent smoothly into 1."""
    x = min(rho, 1e6)
    square = x * x
    eighth = square * square
    eighth = eighth * eighth
    power = eighth * square * square
    if power < 1e-4:  # the series is exact to 1e-13 here, and spares a root
        return x * (1.0 - power / 12.0 * (1.0 - power * 13.0 / 24.0 * (1.0 - power * 25.0 / 36.0)))
    bent: float = x * (1.0 + power) ** (-1.0 / 12.0)
    return bent


@njit(**KERNEL)
def _to_rates(st: Standing, rates: Floats, weight: Floats, sums: Floats, flow: Floats) -> None:
    """flow [R] ∝ weight·usable of each model's replicas, summing to its rate."""
    sums[:] = 0.0
    for r in range(st.node.shape[0]):
        flow[r] = weight[r] * st.usable[r]
        sums[st.model[r]] += flow[r]
    for r in range(st.node.shape[0]):
        total = sums[st.model[r]]
        flow[r] = flow[r] / (total if total > 0.0 else 1.0) * rates[st.model[r]]


@njit(**KERNEL)
def _level(t: Terms, st: Standing, rates: Floats, x: Scratch) -> None:
    """Moves the flow towards nodes with less work, as dispatch by live state does."""
    models, nodes = rates.shape[0], t.speed.shape[0]
    for r in range(st.node.shape[0]):
        x.weight[r] = x.flow[r] / st.usable[r] if x.flow[r] > 0.0 else 0.0
    for _ in range(LEVELLING):
        _to_rates(st, rates, x.weight, x.sums, x.flow)
        for n in range(nodes):
            work = st.queued[n]
            for r in range(st.first[n], st.first[n + 1]):
                work += x.flow[r] * t.service[st.model[r]]
            if st.first[n] < st.first[n + 1]:
                x.level[n] = (0.02 + work / t.speed[n]) ** -0.7
        for m in range(models):
            x.sums[m] = 0.0
        for r in range(st.node.shape[0]):
            x.weight[r] *= x.level[st.node[r]]
            x.sums[st.model[r]] += x.weight[r]
        for r in range(st.node.shape[0]):
            x.weight[r] /= max(x.sums[st.model[r]], TINY)
    _to_rates(st, rates, x.weight, x.sums, x.flow)


@njit(**INLINE)
def _host(t: Terms, st: Standing, x: Scratch) -> None:
    """E[max(1, B/cores)] for a busy node into x.host, from busy probabilities."""
    nodes = t.speed.shape[0]
    if t.cores >= nodes:
        x.host[:] = 1.0
        return
    total, spread = 0.0, 0.0
    for n in range(nodes):
        free = 1.0
        for r in range(st.first[n], st.first[n + 1]):
            free *= 1.0 - min(x.busy[r], 1.0)
        x.active[n] = 1.0 - free
        total += 1.0 - free
        spread += (1.0 - free) * free
    for n in range(nodes):
        on = x.active[n]
        mean = 1.0 + total - on
        sd = math.sqrt(max(spread - on * (1.0 - on), 1e-6))
        z = (mean - t.cores) / sd
        below = 0.5 * math.erfc(-z / math.sqrt(2.0))
        over = (mean - t.cores) * below + sd * math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi)
        x.host[n] = 1.0 + max(0.0, over) / t.cores


@njit(**KERNEL)
def _slow(t: Terms, st: Standing, x: Scratch) -> None:
    """Seconds a busy prompt takes per second of service at speed 1, into x.slow: a fixed point."""
    replicas, nodes = st.node.shape[0], t.speed.shape[0]
    for r in range(replicas):
        x.slow[r] = 1.0 / t.speed[st.node[r]]
    for _ in range(ROUNDS):
        for r in range(replicas):
            x.busy[r] = _bent(x.flow[r] * t.service[st.model[r]] * x.slow[r])
        _host(t, st, x)
        moved = 0.0
        for n in range(nodes):
            host = x.host[n] / t.speed[n]
            total = 0.0
            for r in range(st.first[n], st.first[n + 1]):
                x.load[r] = x.flow[r] * t.service[st.model[r]] * host
                total += x.load[r]
            for r in range(st.first[n], st.first[n + 1]):
                rest = 1.0 / max(1.0 - (total - x.load[r]), 1e-3)
                taken = 1.0
                for k in range(st.first[n], st.first[n + 1]):
                    if k != r:
                        taken += min(x.busy[k] * st.share[k] / st.share[r], x.load[k] * rest)
                now = taken * host
                moved = max(moved, abs(now - x.slow[r]) / now)
                x.slow[r] = now
        if moved < SETTLED:
            break


@njit(**KERNEL)
def _waits(t: Terms, st: Standing, rates: Floats, x: Scratch, out: Floats) -> None:
    """Adds service, wait in the queue and wait for what is queued already to out [M], weighted by part."""
    horizon = t.horizon
    x.sums[:] = 0.0
    for r in range(st.node.shape[0]):
        part = x.flow[r] / rates[st.model[r]]
        x.sums[st.model[r]] += part * part
    for r in range(st.node.shape[0]):
        m = st.model[r]
        part = x.flow[r] / rates[m]
        service = t.service[m] * x.slow[r]
        rho = x.flow[r] * service
        replicas = max(1.0, 1.0 / max(x.sums[m], TINY))
        pooled = min(max(rho, 1e-9), 1.0) ** (math.sqrt(2.0 * (replicas + 1.0)) - 2.0) / replicas
        c = rho * service * t.spread[m] / 2.0 * pooled
        idle = 1.0 - rho
        root = math.sqrt(idle * idle + 8.0 * c / horizon)
        # The second form is the first without its loss of digits when the queue is short.
        wait = 2.0 * c / (idle + root) if idle > 0.0 else horizon / 4.0 * (root - idle)
        backlog = (st.work[r] + st.stray[m] * part) * x.slow[r]
        spare = max(idle, TINY)
        gone = backlog <= spare * horizon
        drained = backlog * backlog / (2.0 * spare * horizon) if gone else backlog - spare * horizon / 2.0
        out[m] += part * (service + wait + drained)


@njit(**KERNEL)
def latencies_of(
    t: Terms, st: Standing, flows: Floats, trips: Floats, rates: Floats, x: Scratch, out: Floats, busy: Floats
) -> None:
    """Mean latency out [K, M] of a plan, s, without the wait for loads. flows [K, R]: prompts per second as the
    weights would have it; trips [K, M]: mean network seconds; rates [K, M]. busy [K, N]: work that arrives, per
    speed, by the weights alone."""
    for k in range(rates.shape[0]):
        for r in range(st.node.shape[0]):
            x.flow[r] = flows[k, r]
            busy[k, st.node[r]] += x.flow[r] * t.service[st.model[r]] / t.speed[st.node[r]]
        _level(t, st, rates[k], x)
        _slow(t, st, x)
        for m in range(rates.shape[1]):
            out[k, m] = trips[k, m]
        _waits(t, st, rates[k], x, out[k])


@njit(**KERNEL)
def flows_of(st: Standing, weight: Floats, rates: Floats, mean_trip: Floats, flows: Floats, trips: Floats) -> None:
    """Flows [K, R] and trips [K, M] (both start at 0) of weights [R] that are the same for every access node.
    mean_trip [K, M, N]: network seconds to a node, averaged over where prompts enter."""
    for k in range(rates.shape[0]):
        for r in range(st.node.shape[0]):
            m = st.model[r]
            flows[k, r] = rates[k, m] * weight[r]
            trips[k, m] += weight[r] * mean_trip[k, m, st.node[r]]
