"""The twin's half: the prompts that were really sent, at the times they really came, in a world of what was measured.

The unit of work is a second of one core, and a node's speed is its quota. What a prompt occupies its node for besides
its service is part of its service there; what HTTP adds elsewhere is no work of a node and is added to its latency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import orjson

from edgewise.domain.errors import RunFailed
from edgewise.domain.model import ModelSpec, PromptSize
from edgewise.policy.dispatch import MARGINAL
from edgewise.twin.arrays import COMPLETED, FIXED, Rules
from edgewise.twin.demand import Demand, Floats, Ints
from edgewise.twin.run import run
from evals import draws
from evals.arrivals import Arrivals
from evals.fidelity.calibration import Doubt
from evals.fidelity.constants import Constants
from evals.fidelity.world import FidelityWorld
from evals.profiles.fit import scaled
from evals.profiles.record import sized
from evals.recorded import profile_of
from evals.scenario import Hints, Scenario, SizedService, TraceEntry, WorkloadEntry
from evals.scenario_world import from_world
from evals.setting import Setting, setting
from evals.supply import class_of
from evals.traces import TraceRow, read_trace, write_trace

SLOT_S = 30.0
SOURCE = "edgewise-fidelity"
# The node counts hint − served as the work left, no more and no less, whatever the spread of the service.
EXACT = 0.0


@dataclass(frozen=True, slots=True)
class SentPrompts:
    """P prompts in order of arrival at the gateway. at_s: from the first one; hint_s: what the gateway believed, core
    seconds."""

    at_s: Floats
    model: Ints
    access: Ints
    sizes: tuple[PromptSize, ...]
    hint_s: Floats


@dataclass(frozen=True, slots=True)
class Costs:
    """What the twin is told. models: with measured services, node seconds; level: how much longer than these prompts
    took during the band, by model; host_cores: that all nodes share; doubt: how far the levels may be off."""

    models: tuple[ModelSpec, ...]
    level: Mapping[str, float]
    constants: Constants
    quota: float
    host_cores: float
    doubt: Doubt

    def services(self) -> dict[str, SizedService]:
        """Core seconds of a prompt by size, all that it occupies its node for."""
        gap_s, found = self.constants.gap_s * self.quota, {}
        for m in self.models:
            assert m.service is not None
            found[m.id] = sized(scaled(m.service, self.level[m.id] * self.quota, gap_s))
        return found


def write_prompts(path: Path, world: FidelityWorld, sent: SentPrompts) -> None:
    """What was sent, as a trace."""
    rows = []
    for at_s, m, n, size in zip(
        sent.at_s.tolist(), sent.model.tolist(), sent.access.tolist(), sent.sizes, strict=True
    ):
        spec = world.world.models[m]
        extra = orjson.dumps({"steps": size.steps} if size.steps else {}).decode()
        tokens = (size.input_tokens or None, size.output_tokens or None)
        node = world.world.nodes[n].id
        rows.append(TraceRow(at_s, class_of(spec), SOURCE, *tokens, size.images, extra, spec.id, node))
    write_trace(path, rows)


def scenario_for(
    world: FidelityWorld, costs: Costs, name: str, duration_s: float, seed: int, trace: Path
) -> Scenario:
    """The band's world, whose prompts are in `trace`, and replayed at their own pace."""
    used = [
        TraceEntry(str(trace.resolve()), class_of(m), m.id, rate_scale=1.0)
        for m in costs.models
        if read_trace(trace, model_class=class_of(m), limit=1)
    ]
    services = costs.services()
    nodes = tuple(replace(n, speed=costs.quota) for n in world.world.nodes)
    made = from_world(
        replace(world.world, nodes=nodes),
        name=name,
        duration_s=duration_s,
        slot_s=SLOT_S,
        epoch_slots=10,
        seed=seed,
        workload=WorkloadEntry(traces=tuple(used)),
        initial=world.placement,
    )
    models = tuple(replace(m, service_s=services[m.id]) for m in made.models)
    return replace(made, models=models, host_cores=costs.host_cores, hints=Hints(noise=0.0))


def twin_latencies(
    world: FidelityWorld,
    sent: SentPrompts,
    costs: Costs,
    scenario: Scenario,
    seeds: Sequence[int],
    doubted: bool = False,
) -> Floats:
    """[S, P] latency of every prompt under each seed of the spread that size does not explain and, when `doubted`, of
    the doubt about the level. s. Raises RunFailed when a prompt gets no answer."""
    doubt = costs.doubt if doubted else None
    http_s = np.array([costs.constants.http_s[m.id] for m in costs.models])[sent.model]
    return np.stack([_run(world, setting(scenario, s, prompts(scenario, sent, s, doubt))) + http_s for s in seeds])


def prompts(scenario: Scenario, sent: SentPrompts, seed: int, doubt: Doubt | None = None) -> Arrivals:
    """What was sent, with service times drawn: as a scenario's own prompts draw theirs, and with `doubt` at a level
    that is drawn."""
    service_s = np.empty(len(sent.at_s))
    factors = doubt.factors(draws.stream(seed, "level", "")) if doubt is not None else {}
    for i, entry in enumerate(scenario.models):
        mine = np.nonzero(sent.model == i)[0]
        profile = profile_of(entry)
        assert profile is not None
        expected_s = np.array([profile.expected_s(sent.sizes[p]) for p in mine])
        expected_s *= factors.get(entry.id, 1.0)
        service_s[mine] = draws.service_s(entry.service_s, expected_s, draws.stream(seed, "service", entry.id))
    count = len(sent.at_s)
    sizes = np.array([(s.input_tokens, s.output_tokens, s.images, s.steps) for s in sent.sizes], np.int64).reshape(
        -1, 4
    )
    return Arrivals(
        Demand(sent.at_s, sent.model, sent.access, service_s, sent.hint_s),
        sizes[:, 0], sizes[:, 1], sizes[:, 2], sizes[:, 3], np.full(count, -1, np.int64), (),
    )  # fmt: skip


def _run(world: FidelityWorld, where: Setting) -> Floats:
    """[P] latency of one run, HTTP left out: marginal-cost dispatch as the gateway's, and nothing ever moved."""
    rules = Rules(MARGINAL, FIXED, knob=0.0, eager=1.0, yielding=0.0, shedding=False, sample=len(where.world.nodes))
    physics = where.physics._replace(left_scv=np.full(len(where.world.models), EXACT))
    twin = replace(where, physics=physics).twin(rules)
    twin.want(where.initial)
    twin.share(np.tile([world.shares[m.id] for m in where.world.models], (len(where.world.nodes), 1)))
    run(twin, None, SLOT_S)
    left = int((twin.state.status != COMPLETED).sum())
    if left:
        raise RunFailed(f"{left} prompts got no answer in the twin")
    return np.asarray(twin.state.finished_s - where.arrivals.demand.at_s, np.float64)
