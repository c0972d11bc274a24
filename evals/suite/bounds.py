"""A lower bound on mean latency that no policy can beat, whatever it knows of the future.

Notation. Prompt j arrives at r_j, needs p_j seconds at speed 1, enters at node a_j. A node n has speed v_n(t) (0
while it is down). An engine that runs k prompts of a model at once works at c(k) times the speed of one (batch
curve); let G = max_k c(k) ≥ 1 and g = max_k c(k)/k ≥ 1. So a node gives model m at most v_n·G_m, and one prompt at
most v_n·g_m. L_j is the latency of j, S_j the moment its service ends, so L_j ≥ S_j − r_j + (response's way back).
Work that is done twice (a node went down, or a prompt was sent again) only takes more: below, count only the run of
service that ended well. It lies after r_j and amounts to p_j.

(a) *Alone.* L_j ≥ a_j := min over the nodes that can hold j's model of network + p_j / (best speed of n · g).

(b) *Pooled, shortest remaining first.* Let w_j = p_j / G. At each moment the cluster does at most V(t) = Σ_n v_n(t)
of this work, so any schedule is also one of a single machine of speed V(t). There SRPT minimises the number of
unfinished prompts at every moment (Schrage 1968; a varying speed only relabels time), hence Σ S_j ≥ Σ S_j^SRPT.

(c) *Mean busy times.* Let M_j be the mean of the moments at which j is worked on. Since j runs at rate at most v_j
= best speed of a node that can hold it · g, S_j ≥ M_j + p_j/(2 v_j), with equality when it is served last thing and
at full rate. Hence L_j ≥ b_j := M_j − r_j + p_j/(2 v_j) + response. On the pooled machine Σ_j u_j·M_j, u_j ≥ 0, is
a transport problem: a unit of j's work at moment t costs u_j·t/w_j. Swapping two units shows that it is least when,
of the prompts there, the one with the greatest u_j/w_j is always served (Goemans, Queyranne, Schulz, Skutella,
Wang, "Single machine scheduling with release dates", 2002; the swap does not mind a varying speed).

(d) *Both.* For any θ_j in [0, 1], L_j ≥ θ_j·a_j + (1 − θ_j)·b_j. So Σ L_j ≥ Σ θ_j·a_j + min_M Σ (1 − θ_j)·b_j, and
the minimum is (c) with u_j = 1 − θ_j. Every θ gives a true bound: θ = 1 is (a), θ = 0 is (c). The sum is concave in
θ with supergradient a_j − b_j; steps along it find a good one. θ tends to 1 in calm moments, to 0 in bursts.

Without shedding the bound is the largest of (a), (b) and (d), over the number of prompts.

(e) *Shedding.* A prompt that is shed counts max(age, deadline) ≥ d_j and may use no capacity; which are shed is not
known, so (b) to (d) say nothing. Let time on the pooled machine have a price λ(t) ≥ 0 per unit of work. All that is
bought costs at most ∫ V·λ. If j is served, its latency and what it pays for its work at rates x_j(t), ∫ x_j = w_j,
are at least a_j, and at least h_j + min over t ≥ r_j of (t − r_j) + w_j·λ(t), by (c) with h_j = p_j/(2 v_j) +
response. So Σ L_j ≥ Σ min(d_j, max(a_j, h_j + min_{t ≥ r_j} (t − r_j) + w_j·λ(t))) − ∫ V·λ dt for every λ. λ = 0
gives Σ min(a_j, d_j); others come from schedules that leave out more and more of the prompts which would rather be
shed (see price_kernels). The bound is the largest found. It is loose: who may shed freely sheds few long prompts
and has next to no queue.

In (b) to (e) r_j is put off by the least way in, over the nodes that can hold the model (none where the access node
can).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgewise.twin.demand import Demand, Floats
from evals.scenario import Scenario
from evals.suite.bound_kernels import alone, pooled
from evals.suite.bound_world import BestCase
from evals.suite.price_kernels import priced, stretches

if TYPE_CHECKING:
    from evals.arrivals import Arrivals

STEPS = 120  # along the supergradient; each is one run of the pooled machine
LEFT_OUT = 0.3
STEPS_PROMPTS = 4_000_000  # steps × prompts at most, so that a million prompts take seconds


@dataclass(frozen=True, slots=True)
class Bound:
    """Lower bounds on mean latency of one seed, s: (a), (b), (d) and (e) of the module's text. None: does not hold
    here (`pooled_s` and `mixed_s` with shedding) or says no more (`priced_s` without)."""

    alone_s: float
    pooled_s: float | None = None
    mixed_s: float | None = None
    priced_s: float | None = None

    @property
    def mean_latency_s(self) -> float:
        return max(v for v in (self.alone_s, self.pooled_s, self.mixed_s, self.priced_s) if v is not None)


def lower_bound(scenario: Scenario, arrivals: Arrivals) -> float:
    """Mean latency, s, that no policy beats on these prompts; 0 without prompts."""
    return bound(scenario, arrivals.demand).mean_latency_s


def bound(scenario: Scenario, demand: Demand) -> Bound:
    """The bound and its parts (see the module's text)."""
    if demand.at_s.size == 0:
        return Bound(0.0)
    best = BestCase.of(scenario)
    alone_s = _alone_s(best, demand)
    if scenario.shedding:
        alone_s = np.minimum(alone_s, best.deadline_s[demand.model])
        return Bound(float(alone_s.mean()), priced_s=_Jobs.of(best, demand, alone_s).priced_s())
    jobs = _Jobs.of(best, demand, alone_s)
    return Bound(float(alone_s.mean()), jobs.shortest_first_s(), jobs.mixed_s())


def _alone_s(best: BestCase, demand: Demand) -> Floats:
    """[P] s, a_j of the module's text."""
    order = np.lexsort((demand.model, demand.access))
    found: Floats = alone(
        demand.model, demand.access, demand.service_s, order, best.latency_s, best.s_per_kib, best.kib, best.pace
    )
    return found


@dataclass(frozen=True, slots=True)
class _Jobs:
    """Prompts with work in order of release on the pooled machine, [B]; `idle_s`: sum of a_j of those without any."""

    released_s: Floats
    work: Floats  # w_j
    network_s: Floats  # least way in and back
    service_s: Floats  # p_j / v_j
    alone_s: Floats  # a_j
    deadline_s: Floats  # d_j
    from_s: Floats  # speed of the machine, see BestCase
    speed: Floats
    prompts: int
    idle_s: float

    @staticmethod
    def of(best: BestCase, d: Demand, alone_s: Floats) -> _Jobs:
        request_s = best.request_s[d.access, d.model]
        released_s = d.at_s + request_s
        order = np.argsort(released_s, kind="stable")
        order = order[d.service_s[order] > 0]
        return _Jobs(
            released_s[order],
            (d.service_s / best.together[d.model])[order],
            (request_s + best.response_s[d.access, d.model])[order],
            (d.service_s / best.fastest[d.model])[order],
            alone_s[order],
            best.deadline_s[d.model[order]],
            best.from_s,
            best.speed,
            d.at_s.size,
            float(alone_s[d.service_s <= 0].sum()),
        )

    def _mean(self, latencies_s: Floats) -> float:
        return float(latencies_s.sum() + self.idle_s) / self.prompts

    def shortest_first_s(self) -> float:
        """(b)"""
        if self.work.size == 0:
            return self._mean(self.work)
        _, end = pooled(self.released_s, self.work, self.work, self.from_s, self.speed, True)
        return self._mean(end - self.released_s + self.network_s)

    def mixed_s(self) -> float:
        """(d), the best of a few θ, (c) among them"""
        if self.work.size == 0:
            return self._mean(self.work)
        theta, found = np.zeros(self.work.size), -np.inf
        for step in range(max(2, min(STEPS, STEPS_PROMPTS // self.work.size))):
            weight = 1.0 - theta
            key = np.full(self.work.size, np.inf)
            np.divide(self.work, weight, out=key, where=weight > 0)
            mean_busy, _ = pooled(self.released_s, self.work, key, self.from_s, self.speed, False)
            shared_s = mean_busy - self.released_s + self.service_s / 2 + self.network_s
            found = max(found, self._mean(theta * self.alone_s + weight * shared_s))
            slope = (self.alone_s - shared_s) / np.maximum(self.alone_s + shared_s, 1e-12)
            theta = np.clip(theta + slope / (1.0 + step / 4), 0.0, 1.0)
        return found

    def priced_s(self) -> float:
        """(e)"""
        if self.work.size == 0:
            return self._mean(self.work)
        least_s = self.service_s / 2 + self.network_s  # h_j
        cap_s = np.maximum(self.deadline_s - least_s, 0.0)
        kept, found = np.ones(self.work.size, np.bool_), -np.inf
        for _ in range(max(2, min(STEPS, STEPS_PROMPTS // self.work.size))):
            served = np.flatnonzero(kept)
            schedule = stretches(self.released_s[served], self.work[served], self.from_s, self.speed)
            delay_s, wanted_s, bill = priced(self.released_s, self.work, cap_s, served, *schedule)
            latencies_s = np.minimum(self.deadline_s, np.maximum(self.alone_s, least_s + delay_s))
            found = max(found, self._mean(latencies_s) - bill / self.prompts)
            # Those that most would rather be shed are left out, a part of them at a time: it makes room for others.
            over = np.flatnonzero(kept & (wanted_s > cap_s))
            if over.size == 0:
                break
            gain = (wanted_s[over] - cap_s[over]) * self.work[over]
            kept[over[np.argsort(-gain, kind="stable")[: math.ceil(over.size * LEFT_OUT)]]] = False
        return found
