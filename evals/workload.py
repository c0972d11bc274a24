"""The demo's workload: recorded prompts of every model, at a load that the machine can carry.

How many prompts of each model are sent follows from what they are expected to cost, prompt by prompt, so that each
model's part of the work is the one stated; each trace is then warped on its own clock.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np

from edgewise.domain.errors import BadInput, UnknownModel
from edgewise.domain.model import ModelSpec, PromptSize, ServiceProfile, Task
from edgewise.domain.world import World
from evals.prompts import DEMO_LIMITS, PromptLimits, request_for, size_of
from evals.replayer import WorkloadRow
from evals.spatial import Spatial, check_access_nodes
from evals.traces import DEFAULT_MODELS, GENERATED, ModelClass, TraceRow, nearest, read_trace
from evals.warp import Floats, Stretch, Tape, Warped, draw_start, warp_by_rate, warp_stretches

Profiles = Mapping[str, ServiceProfile]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A trace of the folder, and the part of it that is used, trace seconds."""

    name: str
    start_s: float = 0.0
    until_s: float = math.inf


# Traces of each class, best first. Image generation: 13:15 to 17:45 on a weekday; its nights are nearly empty, and a
# warp over one makes a window of overload and one of nothing.
SOURCES: dict[ModelClass, tuple[Recorded, ...]] = {
    ModelClass.TEXT_SMALL: (Recorded("azure2023-code.csv.gz"), Recorded("servegen-m-small.csv.gz")),
    ModelClass.TEXT_LARGE: (Recorded("azure2023-conv.csv.gz"), Recorded("servegen-m-large.csv.gz")),
    ModelClass.IMAGE_CAPTION: (Recorded("servegen-mm-image.csv.gz"),),
    ModelClass.IMAGE_GENERATION: (Recorded("alibaba-genai-lora.csv.gz", 134_100.0, 150_300.0),),
}
# Parts of the service work, before and after the shift: the two heaviest models change places, so that a placement
# made for one half is wrong in the other.
WORK_BEFORE = {
    ModelClass.TEXT_SMALL: 0.20,
    ModelClass.TEXT_LARGE: 0.15,
    ModelClass.IMAGE_CAPTION: 0.15,
    ModelClass.IMAGE_GENERATION: 0.50,
}
WORK_AFTER = WORK_BEFORE | {ModelClass.TEXT_LARGE: 0.53, ModelClass.IMAGE_GENERATION: 0.12}
MAX_RATE_PER_S = 40.0  # above this a small machine is busy with HTTP, not with models
READ_ROWS = 4096


@dataclass(frozen=True, slots=True)
class TraceUse:
    """How one trace enters a workload. start_s: the trace second of its first prompt; counts, scales: prompts and
    run seconds per trace second, per stretch; clipped: prompts whose size was clipped."""

    file: Path
    model_class: ModelClass | None
    model: str
    start_s: float
    counts: tuple[int, ...]
    scales: tuple[float, ...]
    clipped: int


@dataclass(frozen=True, slots=True)
class Workload:
    """Prompts in order of time, and what they are. shares: part of the prompts of each model, one mapping per
    stretch; shift_at_s: where the second stretch begins, None without a shift; realised_load: expected service
    seconds of all prompts / (duration · cores)."""

    rows: tuple[WorkloadRow, ...]
    description: tuple[str, ...]
    shares: tuple[dict[str, float], ...]
    shift_at_s: float | None
    realised_load: float
    uses: tuple[TraceUse, ...]


@dataclass(frozen=True, slots=True)
class _Source:
    """A trace of one model, opened: what each of its rows is expected to cost, and the tape to take them from."""

    file: Path
    model_class: ModelClass
    spec: ModelSpec
    rows: tuple[TraceRow, ...]
    cost_s: Floats
    tape: Tape
    position: int

    def count_for(self, skip: int, work_s: float) -> int:
        """How many prompts from `skip` on cost nearest to `work_s` together; at least one."""
        per_round = float(self.cost_s.sum())
        rounds = int(work_s // per_round) + 2 if per_round > 0 else 1
        order = self.tape.rows(self.position + skip, rounds * len(self.rows))
        total_s = np.cumsum(self.cost_s[order])
        above = int(np.searchsorted(total_s, work_s))
        if above >= len(total_s):
            return len(total_s)
        below_s = total_s[above - 1] if above else 0.0
        return max(1, above if work_s - below_s <= total_s[above] - work_s else above + 1)


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
    edges = (0.0, duration_s / 2, duration_s) if shift else (0.0, duration_s)
    spans = list(pairwise(edges))
    mixes = (WORK_BEFORE, WORK_AFTER)[: len(spans)]
    cores_s = capacity_cores * target_load * (speedup or 1.0)
    works = [_work(world, mix, cores_s * (end - begin)) for mix, (begin, end) in zip(mixes, spans, strict=True)]

    sources = []
    for spec in world.models:
        needed_s = sum(work[spec.id] for work in works)
        sources.append(_open(spec, profiles, trace_folder, needed_s, limits, seed))
    counts, capped = _counts(sources, works, spans, max_rate_per_s)
    parts: list[tuple[_Source, tuple[Warped, ...]]] = []
    for source in sources:
        stretches = [Stretch(b, e, n[source.spec.id]) for (b, e), n in zip(spans, counts, strict=True)]
        parts.append((source, warp_stretches(source.tape, source.position, stretches)))
    notes = [f"at most {max_rate_per_s:g} prompts/s are sent; the load is lower for it"] if capped else []
    if shift:
        notes.append(f"popularity shifts at {edges[1]:g} s: " + "; ".join(_shift_words(world)))
    return _assemble(
        world, parts, spatial, limits, seed, duration_s * capacity_cores, spans, notes, target_load * (speedup or 1.0)
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

    speedup: run the trace's clock this much faster; None: warp it to `target_load`. The whole file is read first,
    so that a bad row is found before anything starts. Raises BadInput (where = file:line), UnknownModel for a model
    that is not in the catalogue, UnknownNode for an access node that is not in the cluster.
    """
    _check(duration_s, capacity_cores, target_load, speedup)
    rows = read_trace(file)
    specs = [_spec_of(row, file, world) for row in rows]
    check_access_nodes(rows, file, world.nodes)
    costs = np.array([_cost_s(r, s, profiles, limits) for r, s in zip(rows, specs, strict=True)])
    tape = Tape.of([r.timestamp_s for r in rows])
    notes: list[str] = []
    if speedup is not None:
        warped = warp_by_rate(tape, 0, speedup, 0.0, duration_s)
    else:
        whole = _Source(file, rows[0].model_class, specs[0], rows, costs, tape, 0)
        most = max(1, int(max_rate_per_s * duration_s))
        count = whole.count_for(0, capacity_cores * target_load * duration_s)
        if count > most:
            notes.append(f"at most {max_rate_per_s:g} prompts/s are sent; the load is lower for it")
        (warped,) = warp_stretches(tape, 0, [Stretch(0.0, duration_s, min(count, most))])
    if not len(warped.rows):
        raise BadInput(
            f"no prompt of the trace falls in {duration_s:g} s", where=str(file), hint="raise --speedup or --duration"
        )
    parts = []
    for spec in world.models:
        mine = np.array([specs[i].id == spec.id for i in warped.rows], dtype=bool)
        if mine.any():
            part = Warped(warped.rows[mine], warped.turns[mine], warped.at_s[mine], warped.scale, warped.position)
            kind = rows[int(part.rows[0])].model_class
            parts.append((_Source(file, kind, spec, rows, costs, tape, int(part.rows[0])), (part,)))
    return _assemble(
        world,
        parts,
        spatial,
        limits,
        seed,
        duration_s * capacity_cores,
        [(0.0, duration_s)],
        notes,
        target_load if speedup is None else None,
    )


def _check(duration_s: float, capacity_cores: float, target_load: float, speedup: float | None) -> None:
    named = {"duration": duration_s, "cores": capacity_cores, "load": target_load, "speedup": speedup}
    for name, value in named.items():
        if value is not None and not 0 < value < float("inf"):
            raise BadInput(f"{name} {value}: must be a number above 0")


def class_of(spec: ModelSpec) -> ModelClass:
    """The class of prompts a model answers."""
    for kind, model in DEFAULT_MODELS.items():
        if model == spec.id:
            return kind
    return {
        Task.TEXT_GENERATION: ModelClass.TEXT_LARGE,
        Task.IMAGE_TO_TEXT: ModelClass.IMAGE_CAPTION,
        Task.TEXT_TO_IMAGE: ModelClass.IMAGE_GENERATION,
    }[spec.task]


def _work(world: World, mix: Mapping[ModelClass, float], total_s: float) -> dict[str, float]:
    """Service seconds of each model. Classes without a model give theirs to the rest; models of one class share."""
    kinds = {spec.id: class_of(spec) for spec in world.models}
    many = Counter(kinds.values())
    weights = {model: mix[kind] / many[kind] for model, kind in kinds.items()}
    return {model: total_s * w / sum(weights.values()) for model, w in weights.items()}


def _open(
    spec: ModelSpec, profiles: Profiles, folder: Path | None, work_s: float, limits: PromptLimits, seed: int
) -> _Source:
    kind = class_of(spec)
    file, part = GENERATED, Recorded(GENERATED.name)
    for recorded in SOURCES[kind] if folder is not None else ():
        if folder is not None and (folder / recorded.name).is_file():
            file, part = folder / recorded.name, recorded
            break
    limit = READ_ROWS
    while True:
        rows = read_trace(file, model_class=kind, start_s=part.start_s, until_s=part.until_s, limit=limit)
        if not rows:
            raise BadInput(f"no {kind} prompts from {part.start_s:g} s to {part.until_s:g} s", where=str(file))
        costs = np.array([_cost_s(row, spec, profiles, limits) for row in rows])
        if len(rows) < limit or costs.sum() > 2 * work_s:
            break
        limit *= 4
    needed = int(np.searchsorted(np.cumsum(costs), work_s)) + 1
    tape = Tape.of([row.timestamp_s for row in rows])
    position = draw_start(len(rows), needed, Random(f"{seed}/{spec.id}/start"))
    return _Source(file, kind, spec, rows, costs, tape, position)


def _cost_s(row: TraceRow, spec: ModelSpec, profiles: Profiles, limits: PromptLimits) -> float:
    return max(1e-6, _expected_s(size_of(row, spec.task, limits)[0], spec, profiles))


def _expected_s(size: PromptSize, spec: ModelSpec, profiles: Profiles) -> float:
    profile = profiles.get(spec.id)
    return profile.expected_s(size) if profile is not None else spec.expected_service_s(size)


def _counts(
    sources: Sequence[_Source],
    works: Sequence[Mapping[str, float]],
    spans: Sequence[tuple[float, float]],
    max_rate_per_s: float,
) -> tuple[list[dict[str, int]], bool]:
    """Prompts per model, one mapping per stretch, and whether the rate had to be capped."""
    counts: list[dict[str, int]] = []
    used: Counter[str] = Counter()
    capped = False
    for work, (begin, end) in zip(works, spans, strict=True):
        wanted = {s.spec.id: s.count_for(used[s.spec.id], work[s.spec.id]) for s in sources}
        factor = max_rate_per_s * (end - begin) / sum(wanted.values())
        if factor < 1:
            capped = True
            wanted = {model: max(1, int(n * factor)) for model, n in wanted.items()}
        used.update(wanted)
        counts.append(wanted)
    return counts, capped


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


def _assemble(
    world: World,
    parts: Sequence[tuple[_Source, tuple[Warped, ...]]],
    spatial: Spatial | None,
    limits: PromptLimits,
    seed: int,
    capacity_s: float,
    spans: Sequence[tuple[float, float]],
    notes: Sequence[str],
    wanted_load: float | None,
) -> Workload:
    where = spatial or Spatial.default(world.nodes)
    found: list[tuple[float, int, str, TraceRow, ModelSpec]] = []
    work_s = 0.0
    for order, (source, stretches) in enumerate(parts):
        for part in stretches:
            work_s += float(source.cost_s[part.rows].sum())
            for i, turn, at_s in zip(part.rows.tolist(), part.turns.tolist(), part.at_s.tolist(), strict=True):
                row = source.rows[i]
                found.append((at_s, order, where.node_for(row, seed, turn), row, source.spec))
    found.sort(key=lambda f: (f[0], f[1]))  # stable: ties of one trace keep their order
    requests = [request_for(row, spec, seed, limits) for _, _, _, row, spec in found]
    rows = tuple(
        WorkloadRow(f"p-{i:06d}", at_s, spec.id, node, request)
        for i, ((at_s, _, node, _, spec), request) in enumerate(zip(found, requests, strict=True), 1)
    )
    clipped = Counter(r.model for r in requests if r.clipped)
    uses = tuple(
        TraceUse(
            source.file,
            source.model_class,
            source.spec.id,
            source.rows[source.position].timestamp_s,
            tuple(len(p.rows) for p in stretches),
            tuple(p.scale for p in stretches),
            clipped[source.spec.id],
        )
        for source, stretches in parts
    )
    shares = tuple(_shares(uses, i) for i in range(len(spans)))
    load = work_s / capacity_s
    return Workload(
        rows,
        tuple(_describe(uses, shares, limits, load, wanted_load, notes)),
        shares,
        spans[1][0] if len(spans) > 1 else None,
        load,
        uses,
    )


def _shares(uses: Sequence[TraceUse], stretch: int) -> dict[str, float]:
    total = sum(use.counts[stretch] for use in uses)
    return {use.model: use.counts[stretch] / total for use in uses}


def _shift_words(world: World) -> list[str]:
    before, after = _work(world, WORK_BEFORE, 1.0), _work(world, WORK_AFTER, 1.0)
    return [f"{m} {before[m]:.0%} → {after[m]:.0%} of the work" for m in before if before[m] != after[m]]


def _describe(
    uses: Sequence[TraceUse],
    shares: Sequence[Mapping[str, float]],
    limits: PromptLimits,
    load: float,
    wanted_load: float | None,
    notes: Sequence[str],
) -> list[str]:
    lines = []
    for use in uses:
        counts = " + ".join(str(n) for n in use.counts)
        parts = " → ".join(f"{share[use.model]:.0%}" for share in shares)
        pace = ", ".join(f"{1 / scale:.3g}×" if scale > 0 else "at once" for scale in use.scales)
        label = "generated prompts" if use.file == GENERATED else use.file.name
        lines.append(
            f"{use.model}: {counts} prompts ({parts}) of {label} from {use.start_s:.0f} s on, clock {pace}"
            + (f", {use.clipped} clipped" if use.clipped else "")
        )
    target = f" (target {wanted_load:.2f})" if wanted_load is not None else ""
    lines.append(f"expected load {load:.2f} of the capacity{target}")
    lines.extend(notes)
    lines.append(
        "texts and images are made to the recorded sizes (traces hold none), clipped to "
        f"{limits.context_tokens} tokens in + out, {limits.output_tokens} out; "
        f"captions {limits.caption_images} images, {limits.caption_output_tokens} tokens out; "
        f"generations {limits.images} images of {limits.image_px} px, {limits.steps} steps"
    )
    return lines
