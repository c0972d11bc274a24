"""A workload, put together: prompts of several traces in one order of time, with a description of what they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.prompts import PromptLimits, request_for
from evals.replayer import WorkloadRow
from evals.spatial import Spatial
from evals.supply import Supply
from evals.traces import GENERATED, ModelClass
from evals.warp import Warped


@dataclass(frozen=True, slots=True)
class TraceUse:
    """How one trace enters a workload. start_s: the trace second of its first prompt; counts, scales: prompts and
    run seconds per trace second, per stretch; clipped: prompts whose size was clipped."""

    file: Path
    model_class: ModelClass
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
    spatial: Spatial


@dataclass(frozen=True, slots=True)
class Part:
    """What one supply gives: its prompts of each stretch."""

    supply: Supply
    stretches: tuple[Warped, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """What all parts share. capacity_s: core seconds of the run; wanted_load None: none was asked for."""

    spatial: Spatial
    limits: PromptLimits
    seed: int
    capacity_s: float
    wanted_load: float | None
    shift_at_s: float | None = None
    notes: tuple[str, ...] = ()


def assemble(parts: Sequence[Part], frame: Frame) -> Workload:
    """Merge the parts by time; ties keep the order of the parts, and the rows' order within one. Prompts are
    numbered p-000001, p-000002, … in that order."""
    found = []
    for order, part in enumerate(parts):
        for warped in part.stretches:
            for i, turn, at_s in zip(warped.rows.tolist(), warped.turns.tolist(), warped.at_s.tolist(), strict=True):
                row = part.supply.rows[i]
                found.append((at_s, order, frame.spatial.node_for(row, frame.seed, turn), row))
    found.sort(key=lambda f: (f[0], f[1]))
    specs = [part.supply.spec for part in parts]
    rows = tuple(
        WorkloadRow(
            f"p-{number:06d}", at_s, specs[order].id, node, request_for(row, specs[order], frame.seed, frame.limits)
        )
        for number, (at_s, order, node, row) in enumerate(found, 1)
    )
    clipped = Counter(row.model for row in rows if row.request.clipped)
    uses = tuple(_use(part, clipped[part.supply.spec.id]) for part in parts)
    shares = tuple(_shares(uses, i) for i in range(len(uses[0].counts)))
    work_s = sum(float(p.supply.cost_s[w.rows].sum()) for p in parts for w in p.stretches)
    load = work_s / frame.capacity_s
    description = tuple(_describe(uses, shares, load, frame))
    return Workload(rows, description, shares, frame.shift_at_s, load, uses, frame.spatial)


def _use(part: Part, clipped: int) -> TraceUse:
    supply = part.supply
    return TraceUse(
        supply.file,
        supply.model_class,
        supply.spec.id,
        supply.rows[supply.position].timestamp_s,
        tuple(len(w.rows) for w in part.stretches),
        tuple(w.scale for w in part.stretches),
        clipped,
    )


def _shares(uses: Sequence[TraceUse], stretch: int) -> dict[str, float]:
    total = sum(use.counts[stretch] for use in uses)
    return {use.model: use.counts[stretch] / total for use in uses}


def _describe(
    uses: Sequence[TraceUse], shares: Sequence[Mapping[str, float]], load: float, frame: Frame
) -> list[str]:
    lines = []
    for use in uses:
        counts = " + ".join(str(n) for n in use.counts)
        parts = " → ".join(f"{share[use.model]:.0%}" for share in shares)
        pace = ", ".join(f"{1 / scale:.3g}×" if scale > 0 else "at once" for scale in use.scales)
        label = "generated prompts" if use.file == GENERATED else use.file.name
        clipped = f", {use.clipped} clipped" if use.clipped else ""
        lines.append(
            f"{use.model}: {counts} prompts ({parts}), {label} from {use.start_s:.0f} s, clock {pace}{clipped}"
        )
    target = f" (target {frame.wanted_load:.2f})" if frame.wanted_load is not None else ""
    lines.append(f"expected load {load:.2f} of the capacity{target}")
    lines.extend(frame.notes)
    lines.append(
        f"texts and images are made to the recorded sizes (traces hold none), clipped: {_limits(frame.limits)}"
    )
    return lines


def _limits(limits: PromptLimits) -> str:
    return "; ".join(
        (
            f"text {limits.context_tokens} tokens in + out, {limits.output_tokens} out",
            f"captions {limits.caption_images} image, {limits.caption_output_tokens} tokens out",
            f"generations {limits.images} images of {limits.image_px} px, {limits.steps} steps",
        )
    )
