"""Small worlds and observations for tests of the controller, and a closed loop on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.control.forecast import Track, follow
from edgewise.control.state import Job
from edgewise.domain.cluster import Link, Network, NodeSpec, ReplicaState
from edgewise.domain.decision import Mode
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.observation import (
    ClusterFacts,
    DemandFact,
    ModelFact,
    NodeFact,
    Observation,
    ReplicaFact,
    ReplicaLoad,
    TelemetryFacts,
)
from edgewise.domain.plan import Plan, ReplicaGoal, Source
from edgewise.domain.world import World
from edgewise.settings import Settings, load_settings
from graphs.controller import Controller
from graphs.ports import Ports
from tests.support.fakes import FakeClock, FakeCluster, FakeJournal, FakeRouter, FakeTelemetry

MODELS = (
    ModelSpec("gpt2", Task.TEXT_GENERATION, 1.0, 0.12, load_s=1.0, deadline_s=20),
    ModelSpec("gpt2-large", Task.TEXT_GENERATION, 3.5, 0.4, load_s=1.5, deadline_s=30),
    ModelSpec("blip", Task.IMAGE_TO_TEXT, 2.0, 0.2, load_s=1.0, deadline_s=20),
    ModelSpec("stable-diffusion", Task.TEXT_TO_IMAGE, 5.0, 0.8, load_s=2.0, deadline_s=60),
)
SD_HEAVY = {"gpt2": 0.1, "gpt2-large": 0.08, "blip": 0.12, "stable-diffusion": 0.7}
LARGE_HEAVY = {"gpt2": 0.1, "gpt2-large": 0.7, "blip": 0.12, "stable-diffusion": 0.08}


def seven(memory_gib: float = 6.0, host_cores: float | None = 2.0, models: Sequence[ModelSpec] = MODELS) -> World:
    """Seven nodes on one machine; not every model fits every node."""
    nodes = tuple(NodeSpec(f"edge-{i}", memory_gib) for i in range(1, 8))
    return World(nodes, tuple(models), Network(Link(0.5, 1000)), host_cores)


def short_settings(**changes: Any) -> Settings:
    """A slot of 4 s, an epoch of 5 slots: the demo's cadence."""
    values: dict[str, Any] = {"slot_s": 4.0, "epoch_slots": 5, "window_s": 12.0, **changes}
    return load_settings(**values)


def rates(world: World, mix: Mapping[str, float], load: float) -> dict[str, float]:
    """Arrivals per second of each model, so that work is split by `mix` and sums to `load` × capacity."""
    capacity = sum(n.speed for n in world.nodes)
    capacity = min(capacity, world.host_cores or capacity)
    return {m.id: mix[m.id] * load * capacity / m.mean_service_s for m in world.models}


def demand(
    world: World, rate: Mapping[str, float], window_s: float, rng: np.random.Generator | None = None
) -> tuple[DemandFact, ...]:
    """Arrivals of one window, spread over the access nodes: expected ones rounded, or drawn."""
    out = []
    for i, node in enumerate(world.nodes):
        for model, r in rate.items():
            mean = r * window_s / len(world.nodes)
            # Largest remainders first, so that the rounded counts keep their total.
            count = int(rng.poisson(mean)) if rng else int(mean * (i + 1)) - int(mean * i)
            out.append(DemandFact(node.id, model, count, window_s))
    return tuple(out)


def observe(
    world: World,
    *,
    at_s: float = 0.0,
    slot: int = 0,
    states: Mapping[tuple[str, str], ReplicaState] | None = None,
    since_s: float = -1000.0,
    dead: Iterable[str] = (),
    demand_rows: Sequence[DemandFact] = (),
    loads: Sequence[ReplicaLoad] = (),
    waiting: Mapping[str, int] | None = None,
    settings: Settings | None = None,
    trigger: str = "slot",
) -> Observation:
    """An observation of a world in a given state."""
    settings = settings or short_settings()
    held = states or {}
    need = {m.id: m.memory_gib for m in world.models}
    gone = set(dead)
    used = {n.id: sum(need[m] for (x, m), s in held.items() if x == n.id and s.holds_memory) for n in world.nodes}
    nodes = tuple(NodeFact(n.id, n.id not in gone, n.memory_gib, used[n.id]) for n in world.nodes)
    facts = tuple(ReplicaFact(n, m, s, since_s) for (n, m), s in sorted(held.items()) if n not in gone)
    window_s, held_back = settings.window_s, waiting or {}
    outcomes = tuple(
        ModelFact(m.id, 10, window_s, 2 * m.mean_service_s, None, m.mean_service_s, held_back.get(m.id, 0))
        for m in world.models
    )
    return Observation(
        at_s=at_s,
        slot=slot,
        epoch=slot // settings.epoch_slots,
        slot_s=settings.slot_s,
        epoch_slots=settings.epoch_slots,
        node_specs=world.nodes,
        model_specs=world.models,
        network=world.network,
        cluster=ClusterFacts(at_s, nodes, facts),
        telemetry=TelemetryFacts(at_s, tuple(loads), tuple(demand_rows), outcomes),
        host_cores=world.host_cores,
        trigger=trigger,
    )


def ready(plan: Plan) -> dict[tuple[str, str], ReplicaState]:
    """The cluster as a plan wants it."""
    return {(r.node, r.model): ReplicaState.READY for r in plan.replicas}


def plan_of(places: Iterable[tuple[str, str]], plan_id: str = "p-test", **changes: Any) -> Plan:
    replicas = tuple(ReplicaGoal(n, m) for n, m in places)
    return replace(Plan(plan_id, Source.OPTIMISER, 0.0, 1000.0, replicas), **changes)


def job(observation: Observation, incumbent: Plan | None, **changes: Any) -> Job:
    track = changes.pop("track", None) or follow(Track(), observation)
    return replace(Job("d-000007", observation, incumbent, track), **changes)


class NoMemory:
    """A case memory that holds nothing."""

    def __init__(self) -> None:
        self.remembered: list[Any] = []
        self.scored: list[str] = []

    async def recall(self, situation: Any, count: int, reach: Any = None, *, both: bool = False) -> Sequence[Any]:
        return ()

    async def remember(self, case: Any) -> None:
        self.remembered.append(case)

    async def score(self, case_id: str, outcome: Any) -> None:
        self.scored.append(case_id)

    async def count(self) -> int:
        return len(self.remembered)

    async def aclose(self) -> None:
        return None


class Loop:
    """A controller over in-memory ports on a virtual clock, with Poisson demand that a test may change."""

    def __init__(
        self, tmp: Path, world: World | None = None, chat: Any = None, mode: Mode = Mode.ACTIVE, **changes: Any
    ) -> None:
        self.world = world or seven()
        self.settings = short_settings(**changes)
        self.clock = FakeClock()
        self.cluster = FakeCluster(self.world, self.clock)
        self.telemetry = FakeTelemetry(self.clock, self.settings.window_s, self.cluster)
        self.router, self.journal, self.memory = FakeRouter(self.clock), FakeJournal(), NoMemory()
        self.rate: dict[str, float] = {}
        self.batch = 1.0  # mean prompts per arrival event; geometric, so that counts have dispersion 2·batch − 1
        self.rng = np.random.default_rng(5)
        ports = Ports(self.cluster, self.telemetry, self.router, self.journal, self.memory, self.clock, chat)
        self.controller = Controller(ports, self.world, self.settings, mode, tmp / "checkpoints.sqlite", "run")
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Loop:
        self._task = asyncio.create_task(self.controller.run())
        await self.decided(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.controller.stop()
        assert self._task is not None
        await asyncio.wait_for(self._task, 20)

    async def decided(self, slot: int) -> None:
        """Wait, in real time, until a slot is decided: decisions compute in threads, which virtual time ignores."""
        await until(lambda: self.controller.latest.slot >= slot or (self._task is not None and self._task.done()))
        await asyncio.sleep(0)

    async def slots(self, count: int, each: Callable[[], None] | None = None) -> None:
        """Let `count` more slots pass, the background planner done before each."""
        for _ in range(count):
            target = self.controller.latest.slot + 1
            for _ in range(8):
                self._arrive(self.settings.slot_s / 8)
                await self.clock.advance(self.settings.slot_s / 8)
            await self.decided(target)
            epoch = self.controller._epoch
            if epoch is not None:
                await until(epoch.done)
            if each:
                each()

    def _arrive(self, seconds: float) -> None:
        for model, rate in self.rate.items():
            for node in self.world.nodes:
                events = int(self.rng.poisson(rate / self.batch * seconds / len(self.world.nodes)))
                if events:
                    self.telemetry.arrive(node.id, model, int(self.rng.geometric(1 / self.batch, events).sum()))


async def until(done: Callable[[], bool], limit_s: float = 30.0) -> None:
    """Poll in real time; fails after `limit_s`."""
    for _ in range(int(limit_s / 0.005)):
        if done():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen in time")
