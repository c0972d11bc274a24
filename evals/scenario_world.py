"""From a scenario to the world it describes, and back: a run writes down what it ran as a scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from edgewise.domain.cluster import Link, LinkPair, Network, NodeSpec
from edgewise.domain.model import ModelSpec, PromptSize, ServiceProfile, Task
from edgewise.domain.world import World
from evals.bundle import Workload
from evals.draws import belief_factor
from evals.prompts import UNKNOWN_STEPS, UNKNOWN_TOKENS
from evals.recorded import profile_of, recorded
from evals.scenario import (
    Event,
    LinkEntry,
    Links,
    LoadTime,
    MeanService,
    ModelEntry,
    NodeEntry,
    PairEntry,
    PopularityShift,
    Power,
    Scenario,
    SizedService,
    TraceEntry,
    WorkloadEntry,
    model_of,
)
from evals.traces import trace_folder


def to_world(scenario: Scenario) -> World:
    """The nodes, models and network of a scenario. Means of models whose service goes by size are taken over the
    prompts of their traces. Raises BadInput for a trace that cannot be read."""
    return World(
        tuple(_node(entry) for entry in scenario.nodes),
        tuple(_model(entry, scenario) for entry in scenario.models),
        Network(
            Link(scenario.links.default.latency_ms, scenario.links.default.bandwidth_mbps),
            tuple(LinkPair(p.a, p.b, Link(p.latency_ms, p.bandwidth_mbps)) for p in scenario.links.pairs),
        ),
        scenario.host_cores,
    )


def believed_world(scenario: Scenario, seed: int) -> World:
    """The world as policies believe it to be: service times off by the scenario's beliefs."""
    world = to_world(scenario)
    return replace(world, models=tuple(m.taking(belief_factor(scenario, m.id, seed)) for m in world.models))


def from_world(
    world: World,
    *,
    name: str,
    duration_s: float,
    slot_s: float,
    epoch_slots: int,
    seed: int = 1,
    shedding: bool = False,
    workload: WorkloadEntry,
    initial: Mapping[str, Sequence[str]] | None = None,
    events: Sequence[Event] = (),
) -> Scenario:
    """The scenario of a run, for its run directory."""
    pairs = tuple(
        PairEntry(p.a, p.b, p.link.latency_ms, p.link.bandwidth_mbps) for p in world.network.pairs if p.a != p.b
    )
    default = world.network.default
    return Scenario(
        name=name,
        seed=seed,
        slot_s=slot_s,
        epoch_slots=epoch_slots,
        duration_s=duration_s,
        shedding=shedding,
        nodes=tuple(_node_entry(n) for n in world.nodes),
        host_cores=world.host_cores,
        links=Links(LinkEntry(default.latency_ms, default.bandwidth_mbps), pairs),
        models=tuple(_model_entry(m) for m in world.models),
        initial={node: tuple(models) for node, models in (initial or {}).items()},
        workload=workload,
        events=tuple(events),
    )


def workload_entry(workload: Workload) -> tuple[WorkloadEntry, tuple[PopularityShift, ...]]:
    """A demo's workload in the scenario's words, and its shift. Where on its trace each model started is kept to the
    second; sizes were clipped by the demo's limits, which a scenario does not state."""
    folder = trace_folder()
    traces = []
    for use in workload.uses:
        known = folder is not None and use.file.parent == folder
        traces.append(
            TraceEntry(
                file=use.file.name if known else str(use.file.resolve()),
                model_class=use.model_class,
                model=use.model,
                share=workload.shares[0][use.model],
                start_s=use.start_s,
            )
        )
    spatial = workload.spatial
    shares = (b - a for a, b in pairwise((0.0, *spatial.cumulative)))
    entry = WorkloadEntry(
        traces=tuple(traces),
        spatial=dict(zip(spatial.nodes, shares, strict=True)),
        target_load=workload.realised_load,
    )
    if workload.shift_at_s is None:
        return entry, ()
    return entry, (PopularityShift(workload.shift_at_s, "popularity-shift", workload.shares[1]),)


def _node(entry: NodeEntry) -> NodeSpec:
    power = entry.power_w or Power()
    return NodeSpec(entry.id, entry.memory_gib, entry.speed, power.idle, power.busy)


def _node_entry(node: NodeSpec) -> NodeEntry:
    power = Power(node.idle_w, node.busy_w) if node.idle_w or node.busy_w else None
    return NodeEntry(node.id, node.memory_gib, node.speed, power)


def _model(entry: ModelEntry, scenario: Scenario) -> ModelSpec:
    profile = profile_of(entry)
    service = entry.service_s
    spread = {"exponential": 1.0, "deterministic": 0.0}
    return ModelSpec(
        id=entry.id,
        task=entry.task,
        memory_gib=entry.memory_gib,
        mean_service_s=_mean_s(entry, profile, scenario),
        load_s=entry.load_s.mean,
        load_cv=entry.load_s.cv,
        service=profile,
        service_cv=spread.get(service.distribution, service.cv),
        max_concurrency=entry.max_concurrency,
        request_kib=entry.request_kib,
        response_kib=entry.response_kib,
        deadline_s=entry.deadline_s,
    )


def _mean_s(entry: ModelEntry, profile: ServiceProfile | None, scenario: Scenario) -> float:
    """The mean that arrivals are made with: over all rows of each of the model's traces, traces by their share."""
    if isinstance(entry.service_s, MeanService) or profile is None:
        return entry.service_s.mean if isinstance(entry.service_s, MeanService) else 0.0
    total = weight = 0.0
    for trace in scenario.workload.traces:
        if model_of(trace) == entry.id:
            share = trace.share or 1.0
            total += share * float(recorded(trace, scenario).cost_s.mean())
            weight += share
    return total / weight if weight else profile.expected_s(_usual_size(entry.task))


def _usual_size(task: Task) -> PromptSize:
    """The size taken for a model that no trace goes to."""
    if task is Task.TEXT_TO_IMAGE:
        return PromptSize(images=1, steps=UNKNOWN_STEPS)
    return PromptSize(UNKNOWN_TOKENS, UNKNOWN_TOKENS, 1 if task is Task.IMAGE_TO_TEXT else 0)


def _model_entry(model: ModelSpec) -> ModelEntry:
    p = model.service
    return ModelEntry(
        id=model.id,
        task=model.task,
        memory_gib=model.memory_gib,
        load_s=LoadTime(model.load_s, model.load_cv),
        service_s=MeanService(model.mean_service_s, model.service_cv)
        if p is None
        else SizedService(p.base_s, p.per_input_token_s, p.per_output_token_s, p.per_image_s, p.per_step_s, p.cv),
        max_concurrency=model.max_concurrency,
        request_kib=model.request_kib,
        response_kib=model.response_kib,
        deadline_s=model.deadline_s,
    )
