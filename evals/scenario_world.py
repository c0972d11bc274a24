"""From a scenario to the world it describes, and back: a run writes down what it ran as a scenario."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from edgewise.domain.cluster import Link, LinkPair, Network, NodeSpec
from edgewise.domain.errors import BadInput
from edgewise.domain.model import ModelSpec, PromptSize, ServiceProfile, Task
from edgewise.domain.world import World
from evals.bundle import Workload
from evals.prompts import UNKNOWN_STEPS, UNKNOWN_TOKENS, PromptLimits, size_of
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
from evals.traces import GENERATED, read_trace, trace_folder

MEAN_ROWS = 5_000  # rows that the mean size of a trace's prompts is taken over
SHIPPED_TRACES = frozenset(
    f"{name}.csv.gz"
    for name in (
        "azure2023-code", "azure2023-conv", "servegen-m-small", "servegen-m-large", "servegen-mm-image",
        "alibaba-genai-lora", "azure-lmm2024-recon", "mooncake-conversation",
    )
)  # fmt: skip


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
    )


class TraceSource(NamedTuple):
    """Where a trace's prompts come from. note: what a reader of results must know; "" when there is nothing."""

    file: Path
    start_s: float
    note: str


def trace_source(entry: TraceEntry) -> TraceSource:
    """The file of a trace: as written, else in the folder of traces. The recorded traces that shipped scenarios name
    have a generated stand-in, and the note says so.

    Raises BadInput when there is no such file.
    """
    written = Path(entry.file)
    if written.is_absolute() and written.is_file():
        return TraceSource(written, entry.start_s, "")
    folder = trace_folder()
    if folder is not None and (folder / entry.file).is_file():
        return TraceSource(folder / entry.file, entry.start_s, "")
    if entry.file in SHIPPED_TRACES and entry.model_class is not None:
        note = f"{entry.file} is not here: generated {entry.model_class} prompts stand in for it"
        return TraceSource(GENERATED, 0.0, note)
    raise BadInput(
        f"no such trace file: {entry.file}",
        hint="paths are relative to the scenario, or to the folder that EDGEWISE_TRACES names",
    )


def notes(scenario: Scenario) -> tuple[str, ...]:
    """What a reader of results must know of where the prompts came from."""
    found = [trace_source(entry).note for entry in scenario.workload.traces]
    return tuple(dict.fromkeys(note for note in found if note))


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
    service = entry.service_s
    profile = None
    if isinstance(service, SizedService):
        profile = ServiceProfile(
            service.base,
            service.per_input_token,
            service.per_output_token,
            service.per_image,
            service.per_step,
            service.cv,
        )
    return ModelSpec(
        id=entry.id,
        task=entry.task,
        memory_gib=entry.memory_gib,
        mean_service_s=_mean_s(entry, profile, scenario),
        load_s=entry.load_s.mean,
        load_cv=entry.load_s.cv,
        service=profile,
        service_cv=service.cv,
        max_concurrency=entry.max_concurrency,
        request_kib=entry.request_kib,
        response_kib=entry.response_kib,
        deadline_s=entry.deadline_s,
    )


def _mean_s(entry: ModelEntry, profile: ServiceProfile | None, scenario: Scenario) -> float:
    if isinstance(entry.service_s, MeanService) or profile is None:
        return entry.service_s.mean if isinstance(entry.service_s, MeanService) else 0.0
    total = weight = 0.0
    for trace in scenario.workload.traces:
        if model_of(trace) != entry.id:
            continue
        source = trace_source(trace)
        rows = read_trace(source.file, model_class=trace.model_class, start_s=source.start_s, limit=MEAN_ROWS)
        if not rows:
            raise BadInput(f"no prompts for {entry.id!r} from {source.start_s:g} s on", where=str(source.file))
        sizes = (size_of(row, entry.task, PromptLimits())[0] for row in rows)
        share = trace.share or 1.0
        total += share * sum(profile.expected_s(size) for size in sizes) / len(rows)
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
