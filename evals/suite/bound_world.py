"""What a scenario's cluster could do at its very best, as arrays: the world of the lower bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgewise.twin.demand import Floats
from evals.scenario import NodeDown, NodeSlow, NodeUp, Scenario

Flags = np.ndarray[Any, np.dtype[np.bool_]]
KIB_BITS = 1024 * 8
ROOM = 1e-9  # GiB by which sums of memory may be off


@dataclass(frozen=True, slots=True)
class BestCase:
    """N nodes (also as access nodes), M models, K pieces of time. Seconds; work in service seconds at speed 1."""

    latency_s: Floats  # [N, N] both ways, without contention
    s_per_kib: Floats  # [N, N]
    kib: Floats  # [M] request and response
    pace: Floats  # [N, M] seconds per second of work, at the node's fastest; inf: the model does not fit
    fastest: Floats  # [M] most that one prompt can get, on any node
    together: Floats  # [M] greatest gain of an engine that runs several prompts at once
    request_s: Floats  # [N, M] least way in from an access node, to any node that can hold the model
    response_s: Floats  # [N, M] least way back
    deadline_s: Floats  # [M]
    from_s: Floats  # [K] ascending, the first 0
    speed: Floats  # [K] of all nodes together from then on

    @staticmethod
    def of(scenario: Scenario) -> BestCase:
        models = scenario.models
        latency_s, s_per_kib = _links(scenario)
        fits = _fits(scenario)
        single = np.array([max(1.0, *(c / (k + 1) for k, c in enumerate(m.speedups))) for m in models])
        pace = np.where(fits, 1.0 / _best_speed(scenario)[:, None], np.inf) / single
        from_s, speed = _speed_profile(scenario)
        request_kib, response_kib = (
            np.array([getattr(m, k) for m in models]) for k in ("request_kib", "response_kib")
        )
        return BestCase(
            latency_s=latency_s,
            s_per_kib=s_per_kib,
            kib=request_kib + response_kib,
            pace=pace,
            fastest=1.0 / pace.min(axis=0),
            together=np.array([max(1.0, *m.speedups) for m in models]),
            request_s=_least_way(latency_s, s_per_kib, request_kib, fits),
            response_s=_least_way(latency_s, s_per_kib, response_kib, fits),
            deadline_s=np.array([m.deadline_s for m in models]),
            from_s=from_s,
            speed=speed,
        )


def _speed_profile(scenario: Scenario) -> tuple[Floats, Floats]:
    """A node that comes back counts as no slower than at first: if it is still slow, the bound is looser, not
    wrong."""
    first = {n.id: n.speed for n in scenario.nodes}
    now, up = dict(first), dict.fromkeys(first, True)
    from_s, speed = [0.0], [sum(first.values())]
    for event in sorted(scenario.events, key=lambda e: e.at_s):
        if isinstance(event, NodeDown):
            up[event.node] = False
        elif isinstance(event, NodeUp):
            up[event.node] = True
            now[event.node] = max(now[event.node], first[event.node])
        elif isinstance(event, NodeSlow):
            now[event.node] = first[event.node] / event.factor
        else:
            continue
        from_s.append(event.at_s)
        speed.append(sum(now[n] for n in first if up[n]))
    cap = np.inf if scenario.host_cores is None else scenario.host_cores
    return np.array(from_s), np.minimum(np.array(speed), cap)


def _best_speed(scenario: Scenario) -> Floats:
    """[N] fastest that each node ever is."""
    best = {n.id: n.speed for n in scenario.nodes}
    for event in scenario.events:
        if isinstance(event, NodeSlow):
            best[event.node] = max(best[event.node], scenario.node(event.node).speed / event.factor)
    return np.array([best[n.id] for n in scenario.nodes])


def _fits(scenario: Scenario) -> Flags:
    """[N, M] which nodes can hold which models."""
    room = np.array([n.memory_gib for n in scenario.nodes])
    fits: Flags = room[:, None] + ROOM >= np.array([m.memory_gib for m in scenario.models])
    return fits


def _links(scenario: Scenario) -> tuple[Floats, Floats]:
    """([N, N] s both ways, [N, N] s per KiB); a prompt served where it came in pays nothing."""
    count, default = len(scenario.nodes), scenario.links.default
    latency_s = np.full((count, count), 2 * default.latency_ms / 1e3)
    s_per_kib = np.full((count, count), KIB_BITS / (default.bandwidth_mbps * 1e6))
    place = {n.id: i for i, n in enumerate(scenario.nodes)}
    for pair in scenario.links.pairs:
        a, b = place[pair.a], place[pair.b]
        latency_s[a, b] = latency_s[b, a] = 2 * pair.latency_ms / 1e3
        s_per_kib[a, b] = s_per_kib[b, a] = KIB_BITS / (pair.bandwidth_mbps * 1e6)
    np.fill_diagonal(latency_s, 0.0)
    np.fill_diagonal(s_per_kib, 0.0)
    return latency_s, s_per_kib


def _least_way(latency_s: Floats, s_per_kib: Floats, kib: Floats, fits: Flags) -> Floats:
    """[N, M] s one way."""
    ways = [np.where(fits[:, m], latency_s / 2 + s_per_kib * kib[m], np.inf).min(axis=1) for m in range(kib.size)]
    return np.stack(ways, axis=1)
