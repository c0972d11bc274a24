"""A small queueing cluster in steps of time, to see what decisions do to prompts: shares on nodes, FIFO per model,
dispatch to the least expected wait, loads that take time. Slow and simple on purpose: it shares no formula with the
estimate that it checks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from agents.deployer import arrange
from edgewise.control.carry import Carry, after, take_result, ticket
from edgewise.control.decide import decide, order_of
from edgewise.control.intake import URGENT, take
from edgewise.control.keepers import keepers, published, scene
from edgewise.control.planning import epoch_plans
from edgewise.control.reconcile import next_commands
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.decision import Decision, Mode
from edgewise.domain.measures import jain_normalized
from edgewise.domain.model import ModelSpec
from edgewise.domain.observation import ClusterFacts, DemandFact, NodeFact, ReplicaFact, ReplicaLoad
from edgewise.domain.plan import ChangeKind, Plan
from edgewise.domain.world import World
from edgewise.settings import Settings
from tests.support.control_world import observe

Place = tuple[str, str]
STEP_S = 0.05
READY, LOADING, DRAINING = ReplicaState.READY, ReplicaState.LOADING, ReplicaState.DRAINING


@dataclass
class Prompt:
    model: str
    arrived_s: float
    left_s: float
    finished_s: float | None = None


@dataclass
class QueueWorld:
    """`rate(t)`: arrivals per second by model; `batch`: mean prompts per arrival event (geometric)."""

    world: World
    settings: Settings
    rate: Callable[[float], Mapping[str, float]]
    batch: float = 1.0
    seed: int = 1
    now_s: float = 0.0
    states: dict[Place, ReplicaState] = field(default_factory=dict)
    since: dict[Place, float] = field(default_factory=dict)
    queues: dict[Place, deque[Prompt]] = field(default_factory=dict)
    held: dict[str, deque[Prompt]] = field(default_factory=dict)
    prompts: list[Prompt] = field(default_factory=list)
    arrivals: deque[tuple[float, str, str]] = field(default_factory=deque)
    decisions: list[Decision] = field(default_factory=list)
    goal: Plan | None = None
    acked: Plan | None = None
    loads: int = 0
    drains: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.need = {m.id: m.memory_gib for m in self.world.models}
        self.specs: dict[str, ModelSpec] = {m.id: m for m in self.world.models}
        self.held = {m.id: deque() for m in self.world.models}

    def run(self, slots: int, decide_every: bool = True) -> None:
        """`slots` slots; without `decide_every` only the first is decided and its plan kept."""
        carry = Carry()
        for number in range(slots):
            if number == 0 or decide_every:
                carry = self._decide(carry, number)
            for _ in range(round(self.settings.slot_s / STEP_S)):
                self._step()
                if round(self.now_s / STEP_S) % 10 == 0:
                    self._reconcile()

    def _decide(self, carry: Carry, number: int) -> Carry:
        carry = take_result(carry, number, self.settings)
        start = ticket(carry, number, Mode.ACTIVE)
        job = take(start, self._observe(number))
        decision = decide(job, self.settings, arrange)
        self.decisions.append(decision)
        self.goal = decision.plan
        self.order = [(c.node, c.model) for c in order_of(decision, ())]
        carry = after(carry, job, decision)
        if job.observation.trigger in URGENT or number % self.settings.epoch_slots == 0:
            result_id = f"e-{carry.epochs + 1:06d}"
            asked = replace(job, incumbent=decision.plan, asked=carry.asked, decision_id=result_id)
            found = epoch_plans(asked, (), self.settings, result_id)
            carry = replace(carry, finished=found, epochs=carry.epochs + 1)
        return carry

    def _observe(self, number: int):  # type: ignore[no-untyped-def]
        window_s = self.settings.window_s
        while self.arrivals and self.arrivals[0][0] <= self.now_s - window_s:
            self.arrivals.popleft()
        counts: dict[tuple[str, str], int] = {(n.id, m.id): 0 for n in self.world.nodes for m in self.world.models}
        for _, node, model in self.arrivals:
            counts[(node, model)] += 1
        rows = [DemandFact(n, m, c, window_s) for (n, m), c in counts.items()]
        o = observe(
            self.world,
            at_s=self.now_s,
            slot=number,
            demand_rows=rows if self.now_s > 0 else [],
            loads=self._loads(),
            waiting={m: len(q) for m, q in self.held.items()},
            settings=self.settings,
        )
        return replace(o, cluster=self._facts())

    def _facts(self) -> ClusterFacts:
        used = {n.id: 0.0 for n in self.world.nodes}
        for (node, model), s in self.states.items():
            used[node] += self.need[model] if s.holds_memory else 0.0
        nodes = tuple(NodeFact(n.id, True, n.memory_gib, used[n.id]) for n in self.world.nodes)
        replicas = tuple(ReplicaFact(*p, s, self.since[p], self._ready_in(p)) for p, s in sorted(self.states.items()))
        return ClusterFacts(self.now_s, nodes, replicas)

    def _ready_in(self, place: Place) -> float:
        if self.states[place] is not LOADING:
            return 0.0
        return max(0.0, self.since[place] + self.specs[place[1]].load_s - self.now_s)

    def _loads(self) -> tuple[ReplicaLoad, ...]:
        return tuple(
            ReplicaLoad(n, m, max(0, len(q) - 1), min(1, len(q)), self._work((n, m)))
            for (n, m), q in self.queues.items()
        )

    def _work(self, place: Place) -> float:
        # Who queues is known by number; how long each will take is not.
        return len(self.queues.get(place, ())) * self.specs[place[1]].mean_service_s

    def _reconcile(self) -> None:
        assert self.goal is not None
        facts = self._facts()
        self.acked = published(self.goal, keepers(scene(self.goal, facts, self.need)))
        for c in next_commands(self.goal, self.acked, facts, self._loads(), self.now_s, self.settings, self.need):
            place = (c.node, c.model)
            if c.kind is ChangeKind.LOAD:
                self.states[place] = LOADING
                self.loads += 1
            elif c.kind is ChangeKind.DRAIN:
                self.states[place] = DRAINING
                self.drains += 1
                while len(self.queues[place]) > 1:
                    self._dispatch(self.queues[place].pop(), place)
            elif not self.queues.get(place):
                del self.states[place]
            self.since[place] = self.now_s

    def _step(self) -> None:
        self.now_s += STEP_S
        for place, s in self.states.items():
            if s is LOADING and self._ready_in(place) <= 0:
                self.states[place], self.since[place] = READY, self.now_s
                self.queues.setdefault(place, deque())
        self._arrive()
        for model, queue in self.held.items():
            while queue and any(m == model and s is READY for (_, m), s in self.states.items()):
                self._dispatch(queue.popleft())
        self._serve()

    def _arrive(self) -> None:
        for model, rate in self.rate(self.now_s).items():
            for _ in range(int(self.rng.poisson(rate / self.batch * STEP_S))):
                for _ in range(int(self.rng.geometric(1 / self.batch))):
                    spec = self.specs[model]
                    sigma = np.sqrt(np.log1p(spec.service_cv**2))
                    service_s = float(self.rng.lognormal(np.log(spec.mean_service_s) - sigma**2 / 2, sigma))
                    prompt = Prompt(model, self.now_s, service_s)
                    self.prompts.append(prompt)
                    node = self.world.nodes[int(self.rng.integers(len(self.world.nodes)))].id
                    self.arrivals.append((self.now_s, node, model))
                    self._dispatch(prompt)

    def _dispatch(self, prompt: Prompt, but: Place | None = None) -> None:
        routed = {(r.node, r.model) for r in self.acked.routes} if self.acked else set()
        places = [
            p for p, s in self.states.items()
            if p[1] == prompt.model and s is READY and p != but and (not routed or p in routed)
        ]  # fmt: skip
        if not places:
            self.held[prompt.model].append(prompt)
            return
        best = min(places, key=lambda p: (self._wait(p), p))
        self.queues[best].append(prompt)

    def _wait(self, place: Place) -> float:
        """Expected seconds to the end of one more prompt there."""
        node, model = place
        share = self._share(place)
        mine = self._work(place) + self.specs[model].mean_service_s
        others = 0.0
        for other in self.specs:
            if other != model and self.queues.get((node, other)):
                others += min(self._work((node, other)), mine * self._share((node, other)) / share)
        return (mine + others) / self.world.node(node).speed

    def _share(self, place: Place) -> float:
        assert self.goal is not None
        for s in self.goal.shares:
            if (s.node, s.model) == place:
                return s.share
        return 1.0

    def _serve(self) -> None:
        busy: dict[str, list[Place]] = {}
        for place, queue in self.queues.items():
            if queue:
                busy.setdefault(place[0], []).append(place)
        cores = self.world.host_cores or float("inf")
        slowed = min(1.0, cores / len(busy)) if busy else 1.0
        for node, places in busy.items():
            total = sum(self._share(p) for p in places)
            for p in places:
                part = self.world.node(node).speed * slowed * self._share(p) / total * STEP_S
                queue = self.queues[p]
                while queue and part > 0:
                    done = min(part, queue[0].left_s)
                    queue[0].left_s -= done
                    part -= done
                    if queue[0].left_s <= 1e-12:
                        queue.popleft().finished_s = self.now_s

    def mean_s(self, model: str | None = None) -> float:
        mine = [p for p in self.prompts if model in (None, p.model)]
        return sum((p.finished_s or self.now_s) - p.arrived_s for p in mine) / max(1, len(mine))

    def objective(self, alpha: float = 1.0) -> float:
        """The design's objective without churn; a prompt without an answer counts with its age."""
        ideal = {m.id: m.mean_service_s / max(n.speed for n in self.world.nodes) for m in self.world.models}
        count = {m: sum(p.model == m for p in self.prompts) for m in ideal}
        x = [min(1.0, ideal[m] / self.mean_s(m)) for m in ideal if count[m]]
        mean_ideal = sum(ideal[m] * count[m] for m in ideal) / max(1, len(self.prompts))
        return self.mean_s() / mean_ideal * (1 + alpha * (1 - jain_normalized(x)))
