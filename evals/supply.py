"""Supplies: opened traces, priced row by row, from which a workload takes its prompts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from edgewise.domain.errors import BadInput
from edgewise.domain.model import ModelSpec, ServiceProfile, Task
from evals.prompts import PromptLimits, size_of
from evals.traces import DEFAULT_MODELS, GENERATED, ModelClass, TraceRow, read_trace
from evals.warp import Floats, Tape, draw_start

Profiles = Mapping[str, ServiceProfile]
READ_ROWS = 4096


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


@dataclass(frozen=True, slots=True)
class Supply:
    """The prompts of one trace for one model. cost_s: expected service seconds of each row at speed 1; position:
    where on the tape to start."""

    file: Path
    model_class: ModelClass
    spec: ModelSpec
    rows: tuple[TraceRow, ...]
    cost_s: Floats
    tape: Tape
    position: int

    def count_for(self, skip: int, work_s: float) -> int:
        """How many prompts, `skip` after the start, cost nearest to `work_s` seconds together; at least one."""
        rounds = int(work_s // float(self.cost_s.sum())) + 2
        order = self.tape.rows(self.position + skip, rounds * len(self.rows))
        total_s = np.cumsum(self.cost_s[order])
        above = int(np.searchsorted(total_s, work_s))
        below_s = total_s[above - 1] if above else 0.0
        return max(1, above if work_s - below_s <= total_s[above] - work_s else above + 1)


def open_supply(
    spec: ModelSpec, profiles: Profiles, folder: Path | None, work_s: float, limits: PromptLimits, seed: int
) -> Supply:
    """The first trace of the model's class that is in `folder`, else generated prompts. Reads about twice what
    `work_s` seconds of service need; `seed` draws where in that to start. Raises BadInput for a bad trace."""
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
            raise BadInput(
                f"no {kind} prompts from {part.start_s:g} s to {part.until_s:g} s",
                where=str(file),
                hint="remove the file to use generated prompts",
            )
        costs = np.array([cost_s(row, spec, profiles, limits) for row in rows])
        if len(rows) < limit or costs.sum() > 2 * work_s:
            break
        limit *= 4
    needed = int(np.searchsorted(np.cumsum(costs), work_s)) + 1
    position = draw_start(len(rows), needed, Random(f"{seed}/{spec.id}/start"))
    return Supply(file, kind, spec, rows, costs, Tape.of([row.timestamp_s for row in rows]), position)


def cost_s(row: TraceRow, spec: ModelSpec, profiles: Profiles, limits: PromptLimits) -> float:
    """Expected service seconds of the prompt made for a row; at least 0.1 ms, so that counts stay finite."""
    size, _ = size_of(row, spec.task, limits)
    profile = profiles.get(spec.id)
    return max(1e-4, profile.expected_s(size) if profile is not None else spec.expected_service_s(size))


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
