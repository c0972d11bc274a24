"""The demo's workload: recorded prompts of every model, at a load that the machine can carry.

How many prompts of each model are sent follows from what they are expected to cost, prompt by prompt, so that each
model's part of the work is the one stated; each trace is then warped on its own clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from edgewise.domain.errors import BadInput, UnknownModel
from edgewise.domain.model import ModelSpec
from edgewise.domain.world import World
from evals.bundle import Frame, Part, Workload, assemble
from evals.prompts import DEMO_LIMITS, PromptLimits
from evals.spatial import Spatial, check_access_nodes
from evals.supply import Profiles, Supply, class_of, cost_s, open_supply
from evals.traces import DEFAULT_MODELS, ModelClass, TraceRow, nearest, read_trace
from evals.warp import Stretch, Tape, Warped, warp, warp_by_rate, warp_stretches

# Parts of the service work, before and after the shift: the two heaviest models change places, so that a placement
# made for one half is wrong in the other.
WORK_BEFORE = {
    ModelClass.TEXT_SMALL: 0.20,
    ModelClass.TEXT_LARGE: 0.15,
    ModelClass.IMAGE_CAPTION: 0.15,
    ModelClass.IMAGE_GENERATION: 0.50,
}
WORK_AFTER = WORK_BEFORE | {ModelClass.TEXT_LARGE: 0.53, ModelClass.IMAGE_GENERATION: 0.12}
MAX_PROMPTS = 1_000_000  # all are made before the first is sent, about 2 KiB each
MAX_RATE_PER_S = 40.0  # above this a small machine is busy with HTTP, not with models


def default_workload(
    world: World,
    profiles: Profiles,
    trace_folder: Path | None,
    duration_s: float,
    capacity_cores: float,
    target_load: float,
    speedup: float | None = None,
    seed: int = 1,
    shift: bool = True,
    *,
    limits: PromptLimits = DEMO_LIMITS,
    spatial: Spatial | None = None,
    max_rate_per_s: float = MAX_RATE_PER_S,
) -> Workload:
    """Prompts of all models of the catalogue, whose expected work is `target_load` of `capacity_cores` (cores of
    speed 1) over `duration_s`; with `shift`, popularity changes half-way. Fixed by the arguments.

    speedup: arrivals come this much faster than `target_load` asks for, so load grows with it. trace_folder: of
    recorded traces; a class without one there takes generated prompts, and the description says so.
    """
    _check(duration_s, capacity_cores, target_load, speedup)
    load = target_load * (speedup or 1.0)
    edges = (0.0, duration_s / 2, duration_s) if shift else (0.0, duration_s)
    spans = tuple(pairwise(edges))
    mixes = (WORK_BEFORE, WORK_AFTER)[: len(spans)]
    works = [
        _work_s(world, mix, load * capacity_cores * (end - begin))
        for mix, (begin, end) in zip(mixes, spans, strict=True)
    ]
    supplies = [
        open_supply(spec, profiles, trace_folder, sum(w[spec.id] for w in works), limits, seed)
        for spec in world.models
    ]
    counts, notes = _counts(supplies, works, spans, max_rate_per_s)
    parts = []
    for supply in supplies:
        stretches = [Stretch(b, e, n[supply.spec.id]) for (b, e), n in zip(spans, counts, strict=True)]
        parts.append(Part(supply, warp_stretches(supply.tape, supply.position, stretches)))
    if shift:
        notes.append(f"popularity shifts at {edges[1]:g} s: {_shift_words(world)}")
    return assemble(
        parts,
        Frame(
            spatial or Spatial.default(world.nodes),
            limits,
            seed,
            duration_s * capacity_cores,
            load,
            edges[1] if shift else None,
            tuple(notes),
        ),
    )


def trace_workload(
    file: Path,
    world: World,
    profiles: Profiles,
    duration_s: float,
    capacity_cores: float,
    target_load: float,
    speedup: float | None = None,
    seed: int = 1,
    *,
    limits: PromptLimits = DEMO_LIMITS,
    spatial: Spatial | None = None,
    max_rate_per_s: float = MAX_RATE_PER_S,
) -> Workload:
    """The prompts of one trace, from its first row on, each for the model it names, else its class's default.

    speedup: run the trace's clock this much faster, once through; None: warp it to `target_load`, again and again
    until the window is full. The whole file is read first,
    so that a bad row is found before anything starts. Raises BadInput (where = file:line), UnknownModel for a model
    that is not in the catalogue, UnknownNode for an access node that is not in the cluster.
    """
    _check(duration_s, capacity_cores, target_load, speedup)
    rows = read_trace(file)
    specs = [_spec_of(row, file, world) for row in rows]
    check_access_nodes(rows, file, world.nodes)
    costs = np.array([cost_s(row, spec, profiles, limits) for row, spec in zip(rows, specs, strict=True)])
    tape = Tape.of([row.timestamp_s for row in rows])
    whole = Supply(file, rows[0].model_class, specs[0], rows, costs, tape, 0)
    notes: tuple[str, ...] = ()
    if speedup is not None:
        # One round at most: a clock that runs fast must not unroll the trace a thousand times first.
        warped = _once(warp_by_rate(tape, 0, speedup, 0.0, min(duration_s, tape.round_s / speedup)))
    else:
        wanted = whole.count_for(0, capacity_cores * target_load * duration_s)
        count = min(wanted, max(1, int(max_rate_per_s * duration_s)))
        notes = (_capped(max_rate_per_s),) if count < wanted else ()
        _check_count(count)
        warped = warp(tape, 0, Stretch(0.0, duration_s, count))
    return assemble(
        list(_by_model(whole, warped, specs, world)),
        Frame(
            spatial or Spatial.default(world.nodes),
            limits,
            seed,
            duration_s * capacity_cores,
            target_load if speedup is None else None,
            notes=notes,
        ),
    )


def _by_model(whole: Supply, warped: Warped, specs: Sequence[ModelSpec], world: World) -> list[Part]:
    """A trace of several models as one part per model, all on the one clock."""
    parts = []
    for spec in world.models:
        mine = np.array([specs[i].id == spec.id for i in warped.rows.tolist()], dtype=bool)
        if not mine.any():
            continue
        rows = warped.rows[mine]
        first = int(rows[0])
        kind = whole.rows[first].model_class
        supply = Supply(whole.file, kind, spec, whole.rows, whole.cost_s, whole.tape, first)
        taken = Warped(rows, warped.turns[mine], warped.at_s[mine], warped.scale, warped.position)
        parts.append(Part(supply, (taken,)))
    return parts


def _once(warped: Warped) -> Warped:
    """The part before the trace starts again: a trace replayed at its own pace ends where it ends."""
    first = warped.turns == 0
    return replace(warped, rows=warped.rows[first], turns=warped.turns[first], at_s=warped.at_s[first])


def _check(duration_s: float, capacity_cores: float, target_load: float, speedup: float | None) -> None:
    named = {"duration": duration_s, "cores": capacity_cores, "load": target_load, "speedup": speedup}
    for name, value in named.items():
        if value is not None and not 0 < value < float("inf"):
            raise BadInput(f"{name} {value}: must be a number above 0")


def _work_s(world: World, mix: Mapping[ModelClass, float], total_s: float) -> dict[str, float]:
    """Service seconds of each model. Classes without a model give theirs to the rest; models of one class share."""
    kinds = {spec.id: class_of(spec) for spec in world.models}
    many = Counter(kinds.values())
    weights = {model: mix[kind] / many[kind] for model, kind in kinds.items()}
    return {model: total_s * weight / sum(weights.values()) for model, weight in weights.items()}


def _counts(
    supplies: Sequence[Supply],
    works: Sequence[Mapping[str, float]],
    spans: Sequence[tuple[float, float]],
    max_rate_per_s: float,
) -> tuple[list[dict[str, int]], list[str]]:
    """Prompts per model, one mapping per stretch, and a note when the rate had to be capped."""
    counts: list[dict[str, int]] = []
    used: Counter[str] = Counter()
    capped = False
    for work, (begin, end) in zip(works, spans, strict=True):
        wanted = {s.spec.id: s.count_for(used[s.spec.id], work[s.spec.id]) for s in supplies}
        factor = max_rate_per_s * (end - begin) / sum(wanted.values())
        if factor < 1:
            capped = True
            wanted = {model: max(1, int(n * factor)) for model, n in wanted.items()}
        used.update(wanted)
        counts.append(wanted)
        _check_count(used.total())
    return counts, [_capped(max_rate_per_s)] if capped else []


def _check_count(prompts: int) -> None:
    if prompts > MAX_PROMPTS:
        raise BadInput(
            f"more than {MAX_PROMPTS:,} prompts would be sent", hint="choose a shorter duration or a lower load"
        )


def _capped(max_rate_per_s: float) -> str:
    return f"at most {max_rate_per_s:g} prompts/s are sent; the load is lower for it"


def _spec_of(row: TraceRow, file: Path, world: World) -> ModelSpec:
    model = row.model or DEFAULT_MODELS[row.model_class]
    for spec in world.models:
        if spec.id == model:
            return spec
    column = "model" if row.model else f"model_class {row.model_class}"
    raise UnknownModel(
        f"{column}: model {model!r} is not in the catalogue",
        where=f"{file}:{row.line}",
        hint=nearest(model, [spec.id for spec in world.models]),
    )


def _shift_words(world: World) -> str:
    before, after = _work_s(world, WORK_BEFORE, 1.0), _work_s(world, WORK_AFTER, 1.0)
    changes = (f"{m} {before[m]:.0%} → {after[m]:.0%} of the work" for m in before if before[m] != after[m])
    return "; ".join(changes)
