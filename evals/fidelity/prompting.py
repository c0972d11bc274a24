"""Prompts of the fidelity runs: which sizes are sent, at what load, and which are kept for calibration only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgewise.domain.model import ModelSpec, ServiceProfile
from edgewise.domain.world import World
from evals.bundle import Workload
from evals.prompts import PromptLimits, PromptRequest
from evals.replayer import WorkloadRow
from evals.workload import default_workload

# Longer answers than the demo's: what HTTP adds to a prompt should be small beside its service.
LIMITS = PromptLimits(
    context_tokens=512, output_tokens=96, caption_output_tokens=48, images=1, steps=24, image_px=64,
    image_prompt_chars=70,
)  # fmt: skip
# Calibration prompts come from elsewhere in the same traces: never the prompts that are compared.
CALIBRATION_SEED = 7_919
CALIBRATION_WINDOW_S = 600.0


@dataclass(frozen=True, slots=True)
class Unstreamed(PromptRequest):
    """A request whose answer is never streamed: a stream costs gateway and node per token, which no profile says."""

    @property
    def streamable(self) -> bool:
        return False


def band_workload(
    world: World, profiles: Mapping[str, ServiceProfile], folder: Path | None, duration_s: float, capacity: float,
    load: float, seed: int,
) -> Workload:  # fmt: skip
    """The prompts of one load band: the default mix, no shift, nothing streamed. capacity: service seconds that the
    nodes give per second together."""
    made = default_workload(
        world, profiles, folder, duration_s, capacity, load, None, seed, shift=False, limits=LIMITS
    )
    return replace(made, rows=tuple(_unstreamed(row) for row in made.rows))


def calibration_prompts(
    world: World, folder: Path | None, count: int, seed: int
) -> dict[str, tuple[PromptRequest, ...]]:
    """About `count` prompts of each model, of the sizes that the bands send; spread evenly over the model's sizes in
    order of expected service, so that few of them stand for all."""
    profiles = {m.id: m.service for m in world.models if m.service is not None}
    made = default_workload(
        world, profiles, folder, CALIBRATION_WINDOW_S, 1.0, 0.5, None, seed + CALIBRATION_SEED, shift=False,
        limits=LIMITS,
    )  # fmt: skip
    return {
        spec.id: _spread([r.request for r in made.rows if r.model == spec.id], spec, count) for spec in world.models
    }


def _spread(requests: Sequence[PromptRequest], spec: ModelSpec, count: int) -> tuple[PromptRequest, ...]:
    ordered = sorted(requests, key=lambda r: spec.expected_service_s(r.size))
    if len(ordered) <= count:
        return tuple(ordered)
    # The middle of each of `count` equal parts.
    return tuple(ordered[int((i + 0.5) * len(ordered) / count)] for i in range(count))


def _unstreamed(row: WorkloadRow) -> WorkloadRow:
    asked = row.request
    return replace(row, request=Unstreamed(asked.model, asked.path, asked.body, asked.size, asked.clipped))
