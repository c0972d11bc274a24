"""What chance decides about prompts: service times, hints, access nodes, beliefs. Each model has streams of its own,
so that a change to one moves nothing of another; all are fixed by the seed, and the same under every policy."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from edgewise.control.seeds import generator
from evals.recorded import Recorded
from evals.scenario import MeanService, Scenario, Service
from evals.warp import Floats, Ints


def stream(seed: int, what: str, model: str, part: int = 0) -> np.random.Generator:
    """The stream of one kind of draw for the `part`-th workload entry of a model."""
    return generator("arrivals", str(seed), what, model, str(part))


def service_s(service: Service, expected_s: Floats, rng: np.random.Generator) -> Floats:
    """True service times with means `expected_s` [P] and the spread of `service`."""
    return expected_s * unit_mean(service.distribution, service.cv, expected_s.size, rng)


def unit_mean(distribution: str, cv: float, count: int, rng: np.random.Generator) -> Floats:
    """Draws with mean 1. cv is that of the log-normal; an exponential has 1, a constant 0."""
    if distribution == "exponential":
        return rng.exponential(size=count)
    if distribution == "deterministic" or cv == 0:
        return np.ones(count)
    variance = math.log1p(cv * cv)  # of the logarithm
    return rng.lognormal(-variance / 2, math.sqrt(variance), count)


def hint_s(scenario: Scenario, model: str, expected_s: Floats, seed: int, rng: np.random.Generator) -> Floats:
    """What the dispatcher believes prompts of `expected_s` [P] take: the mean where service does not go by size;
    both times what its beliefs are off by."""
    factor = belief_factor(scenario, model, seed)
    noise = scenario.hints.noise
    if isinstance(scenario.model(model).service_s, MeanService) or noise == 0:
        return expected_s * factor
    return expected_s * rng.lognormal(-noise * noise / 2, noise, expected_s.size) * factor


def belief_factor(scenario: Scenario, model: str, seed: int) -> float:
    """Believed / true service time of a model: as stated for it, else drawn from the spread, else 1."""
    beliefs = scenario.beliefs
    if model in beliefs.service_factor:
        return beliefs.service_factor[model]
    if beliefs.spread is None:
        return 1.0
    low, high = (math.log(end) for end in beliefs.spread)
    return math.exp(stream(seed, "belief", model).uniform(low, high))


def access_shares(scenario: Scenario) -> Floats:
    """[N] shares of prompts by access node, in the order of the nodes; they sum to 1."""
    spatial = scenario.workload.spatial
    shares = np.array([spatial.get(n.id, 0.0) if spatial else 1.0 for n in scenario.nodes])
    return np.asarray(shares / shares.sum())


def cumulative_shares(scenario: Scenario) -> Floats:
    """[N] cumulative shares of prompts by access node; the last is 1."""
    return np.cumsum(access_shares(scenario))


def access_nodes(scenario: Scenario, count: int, rng: np.random.Generator) -> Ints:
    """[count] access nodes drawn by the scenario's shares."""
    return _at(cumulative_shares(scenario), rng.random(count))


def sticky_nodes(scenario: Scenario, trace: Recorded, rows: Ints, drawn: Ints, seed: int) -> Ints:
    """[P] access nodes of rows: the one the trace names; else one for each who asks; else as drawn."""
    cumulative, index = cumulative_shares(scenario), {n.id: i for i, n in enumerate(scenario.nodes)}
    who, named = trace.who[rows], trace.named[rows]
    used = np.unique(who[who >= 0])
    home = np.full(len(trace.askers) + 1, -1, np.int64)
    home[used] = _at(cumulative, np.array([_place(f"{seed}/{trace.askers[i]}") for i in used.tolist()]))
    named_at = np.array([index.get(name, -1) for name in trace.places] or [-1], np.int64)
    found = np.where(who >= 0, home[who], drawn)
    return np.where(named >= 0, named_at[named], found)


def clients(trace: Recorded, rows: Ints) -> Ints:
    """[P] who asked, as a number that is the same in every run; −1 unknown."""
    used = np.unique(trace.who[rows])
    number = np.full(len(trace.askers) + 1, -1, np.int64)
    for i in used[used >= 0].tolist():
        number[i] = _digest(trace.askers[i]) >> 1  # fits an int64, and is not negative
    return number[trace.who[rows]]


def _at(cumulative: Floats, places: Floats) -> Ints:
    """Nodes at places in [0, 1); a node without a share has none."""
    # Sums of shares may end just below 1.
    last = int(np.searchsorted(cumulative, cumulative[-1]))
    return np.minimum(np.searchsorted(cumulative, places, side="right"), last)


def _place(text: str) -> float:
    return _digest(text) / 2**64


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
