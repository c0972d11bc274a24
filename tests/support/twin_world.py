"""Small worlds for the twin: nodes, kinds of prompts, a demand, what happens; draws for queues with known answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from edgewise.policy.dispatch import LEAST_WORK
from edgewise.twin.arrays import FIXED, Physics, Rules, State
from edgewise.twin.demand import NODE_DOWN, NODE_SLOW, NODE_UP, TELEMETRY_STALE, Demand, Happenings, no_happenings
from edgewise.twin.run import Controller, Ended, Twin, fleet_for, run

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Unit = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Kind:
    """A model. slots 0: processor sharing; left_scv 0: what is expected of a prompt is what it needs."""

    memory: float = 1.0
    load_s: float = 1.0
    load_cv: float = 0.0
    slots: int = 1
    curve: Sequence[float] = (1.0,)
    left_scv: float = 0.0
    request_kib: float = 0.0
    response_kib: float = 0.0
    deadline_s: float = math.inf


def physics_for(
    speeds: Sequence[float],
    kinds: Sequence[Kind],
    *,
    memory: Sequence[float] | None = None,
    local_node: Ints | None = None,
    cores: float = math.inf,
    contention: bool = False,
    seed: int = 1,
) -> Physics:
    """memory: of the nodes; None: room for everything. local_node [N, M]: None: everybody at home."""
    nodes, longest = len(speeds), max(len(k.curve) for k in kinds)
    curve = np.array([[*k.curve, *[k.curve[-1]] * (longest - len(k.curve))] for k in kinds], np.float64)
    variance = np.array([math.log1p(k.load_cv**2) for k in kinds])
    load_mean = np.array([k.load_s for k in kinds], np.float64)
    home = np.repeat(np.arange(nodes, dtype=np.int64)[:, None], len(kinds), axis=1)
    return Physics(
        memory=np.array(memory if memory is not None else [1e9] * nodes, np.float64),
        need=np.array([k.memory for k in kinds], np.float64),
        first_speed=np.array(speeds, np.float64),
        slots=np.array([k.slots for k in kinds], np.int64),
        curve=curve,
        load_mean=load_mean,
        load_mu=np.log(load_mean) - variance / 2,
        load_sigma=np.sqrt(variance),
        left_scv=np.array([k.left_scv for k in kinds], np.float64),
        request_kib=np.array([k.request_kib for k in kinds], np.float64),
        response_kib=np.array([k.response_kib for k in kinds], np.float64),
        deadline_s=np.array([k.deadline_s for k in kinds], np.float64),
        local_node=home if local_node is None else local_node,
        cores=cores,
        contention=contention,
        seed=seed,
    )


def rules_for(
    dispatch: int = LEAST_WORK, placing: int = FIXED, *, eager: float = 1.0, yielding: float = 0.0,
    shedding: bool = False, knob: float = 1.0, sample: int = 32,
) -> Rules:  # fmt: skip
    return Rules(
        dispatch=dispatch,
        placing=placing,
        knob=knob,
        eager=eager,
        yielding=yielding,
        shedding=shedding,
        sample=sample,
    )


def demand_of(at_s: Any, service_s: Any, *, model: Any = 0, access: Any = 0, hint_s: Any = None) -> Demand:
    """Prompts; scalars are the same for all. hint_s: None: what they need."""
    at = np.asarray(at_s, np.float64)

    def column(value: Any, kind: type[np.generic]) -> NDArray[Any]:
        return np.broadcast_to(np.asarray(value, kind), at.shape).copy()

    service = column(service_s, np.float64)
    hint = service.copy() if hint_s is None else column(hint_s, np.float64)
    return Demand(at, column(model, np.int64), column(access, np.int64), service, hint)


def happenings(*events: tuple[float, int, int, float]) -> Happenings:
    """(at_s, kind, node, value), ascending."""
    if not events:
        return no_happenings()
    at_s, kind, node, value = zip(*events, strict=True)
    return Happenings(
        np.array(at_s, np.float64), np.array(kind, np.int64), np.array(node, np.int64), np.array(value, np.float64)
    )


def twin_of(
    physics: Physics,
    demand: Demand,
    rules: Rules | None = None,
    *,
    events: Happenings | None = None,
    standing: Any = True,
    share: Any = 1.0,
    latency_s: Any = 0.0,
    s_per_kib: Any = 0.0,
) -> Twin:
    """standing [N, M]: replicas that are there from the start, which are the goal as well. latency_s: both ways."""
    pair, links = (len(physics.memory), len(physics.need)), (len(physics.memory),) * 2
    away = 1.0 - np.eye(pair[0])
    fleet = fleet_for(physics, np.broadcast_to(latency_s, links) * away, np.broadcast_to(s_per_kib, links) * away)
    twin = Twin(physics, fleet, demand, no_happenings() if events is None else events, rules or rules_for())
    placed = np.broadcast_to(standing, pair).copy()
    twin.stand(placed)
    twin.want(placed)
    twin.share(np.broadcast_to(np.asarray(share, np.float64), pair))
    return twin


def to_the_end(twin: Twin, controller: Controller | None = None, slot_s: float = math.inf) -> Ended:
    """Runs it until it is empty."""
    return run(twin, controller, slot_s)


def latencies(twin: Twin) -> Floats:
    """[P] seconds from arrival to answer."""
    return twin.state.finished_s - twin.demand.at_s


# Draws, by the inverse of the distribution. `drawn` and `poisson_times` are plain independent draws.


def exponential(u: Floats) -> Floats:
    return -np.log1p(-u)


def constant(u: Floats) -> Floats:
    return np.ones_like(u)


def lognormal(cv: float) -> Unit:
    sigma = math.sqrt(math.log1p(cv * cv))
    return lambda u: np.exp(sigma * special.ndtri(u) - sigma * sigma / 2)


def drawn(unit: Unit, mean: float, count: int, rng: np.random.Generator) -> Floats:
    return np.asarray(mean * unit(rng.random(count)))


def poisson_times(rate: float, count: int, rng: np.random.Generator) -> Floats:
    return np.cumsum(rng.exponential(1.0 / rate, count))


# Worlds by chance, for properties.


@dataclass
class Wish:
    """Sets a random goal and random shares each slot; from slot `settled` on one that has every model."""

    goals: NDArray[np.bool_]  # [slots, N, M]
    shares: Floats  # [slots, N, M]

    def slot(self, twin: Twin, number: int) -> None:
        i = min(number, len(self.goals) - 1)
        twin.want(self.goals[i])
        twin.share(self.shares[i])


class Idle:
    """Looks on. The twin books what was given at each of its slots all the same."""

    def slot(self, twin: Twin, number: int) -> None:
        pass


@dataclass(frozen=True)
class Chance:
    """What a random world may have in it."""

    placing: int = FIXED
    dispatch: int = LEAST_WORK
    failures: bool = True  # nodes go down, and come back
    slow: bool = True  # nodes slow down
    stale: bool = True
    network: bool = True
    shedding: bool = False
    tight: bool = True  # not every model fits every node
    curves: bool = True
    yielding: float = 0.0


class RandomWorld:
    """Up to 4 nodes, 4 models and 80 prompts, drawn from a seed: `twin()` makes it anew each time."""

    def __init__(self, seed: int, chance: Chance) -> None:
        self.chance, self.seed = chance, seed
        rng = np.random.default_rng(seed)
        nodes, models, prompts = (int(rng.integers(*ends)) for ends in ((1, 5), (1, 5), (1, 81)))
        self.kinds = [self._kind(rng) for _ in range(models)]
        need = np.array([k.memory for k in self.kinds])
        # The first node has room for everything: otherwise a goal that has every model need not exist.
        memory = need.max() + rng.random(nodes) * need.sum() if chance.tight else np.full(nodes, need.sum())
        memory[0] = max(memory[0], need.sum())
        self.physics = physics_for(
            rng.uniform(0.5, 2.0, nodes).tolist(), self.kinds, memory=memory.tolist(), seed=seed,
            contention=chance.network and bool(rng.random() < 0.3),
        )  # fmt: skip
        span_s = prompts / rng.uniform(0.5, 2.0) / nodes
        self.demand = demand_of(
            np.sort(rng.uniform(0.0, span_s, prompts)), drawn(exponential, 1.0, prompts, rng) + 1e-3,
            model=rng.integers(models, size=prompts), access=rng.integers(nodes, size=prompts),
            hint_s=drawn(exponential, 1.0, prompts, rng) + 1e-3,
        )  # fmt: skip
        self.events = self._events(rng, nodes, span_s)
        latency = rng.uniform(0.0, 0.5, (nodes, nodes)) * chance.network
        self.latency_s, self.s_per_kib = latency + latency.T, 0.02 * chance.network
        self.rules = rules_for(
            chance.dispatch, chance.placing, yielding=chance.yielding, shedding=chance.shedding,
            eager=float(rng.uniform(0.1, 1.0)), sample=int(rng.integers(1, 5)),
        )  # fmt: skip
        goals = rng.random((12, nodes, models)) < 0.5
        goals[:, need[None, :] > memory[:, None]] = False
        goals[-1] = False
        goals[-1, 0] = True
        self.wish = Wish(goals, rng.uniform(0.1, 2.0, goals.shape))
        self.slot_s = max(span_s / 8, 0.5)

    def _kind(self, rng: np.random.Generator) -> Kind:
        slots = int(rng.integers(0, 4))
        curve = np.cumsum([1.0, *rng.uniform(0.0, 1.0, max(slots, 1) - 1)]) if self.chance.curves else [1.0]
        return Kind(
            memory=float(rng.uniform(0.5, 2.0)), load_s=float(rng.uniform(0.2, 4.0)), load_cv=0.3, slots=slots,
            curve=tuple(curve), left_scv=float(rng.choice([0.0, 0.5, 1.0])), request_kib=float(rng.uniform(0, 5)),
            response_kib=float(rng.uniform(0, 5)), deadline_s=float(rng.uniform(2.0, 20.0)),
        )  # fmt: skip

    def _events(self, rng: np.random.Generator, nodes: int, span_s: float) -> Happenings:
        found: list[tuple[float, int, int, float]] = []
        for n in range(nodes):
            if self.chance.failures and rng.random() < 0.7:
                down, up = np.sort(rng.uniform(0.0, 1.3 * span_s, 2)).tolist()
                found += [(down, NODE_DOWN, n, 0.0), (up, NODE_UP, n, 0.0)]
            if self.chance.slow and rng.random() < 0.5:
                found.append((float(rng.uniform(0.0, span_s)), NODE_SLOW, n, float(rng.uniform(0.5, 4.0))))
            if self.chance.stale and rng.random() < 0.5:
                found.append((float(rng.uniform(0.0, span_s)), TELEMETRY_STALE, n, float(rng.uniform(0.0, span_s))))
        return happenings(*sorted(found))

    def twin(self, standing: Any = None) -> Twin:
        """standing None: nothing stands."""
        placed = np.zeros_like(self.wish.goals[0]) if standing is None else standing
        return twin_of(
            self.physics, self.demand, self.rules, events=self.events, standing=placed, latency_s=self.latency_s,
            s_per_kib=self.s_per_kib,
        )  # fmt: skip

    def ended(self) -> Twin:
        """Run to its end: under FIXED with goals that change, else by demand."""
        twin = self.twin()
        to_the_end(twin, self.wish if self.chance.placing == FIXED else None, self.slot_s)
        return twin


def state_bytes(state: State) -> dict[str, bytes]:
    """Every array of a state, as bytes."""
    found: dict[str, Any] = state._asdict() | {f"fleet.{k}": v for k, v in state.fleet._asdict().items()}
    del found["fleet"]
    return {name: array.tobytes() for name, array in found.items()}
