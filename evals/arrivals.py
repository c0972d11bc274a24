"""The prompts of a scenario: when, for which model, entering where, how large, how long. Fixed by (scenario, seed).

Prompts are in order of time; ties keep the order of the workload's entries, and within one the order of its rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgewise.twin.demand import Demand
from evals import draws
from evals.mix import Mix, mixes
from evals.recorded import Recorded, recorded
from evals.scenario import MeanService, Scenario, TraceEntry, model_of
from evals.sources import notes
from evals.synthetic import arrival_times
from evals.warp import Floats, Ints, Stretch, Tape, Warped, draw_start, warp_by_rate, warp_stretches


@dataclass(frozen=True, slots=True)
class Arrivals:
    """P prompts. Sizes as clipped to what the model takes; −1: the prompt has none. client: who asked, −1 unknown.
    notes: what a reader of results must know."""

    demand: Demand
    input_tokens: Ints
    output_tokens: Ints
    images: Ints
    steps: Ints
    client: Ints
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """The prompts of one workload entry, in order. sizes [P, 4]; expected_s: service by size, or the mean."""

    model: str
    at_s: Floats
    expected_s: Floats
    service_s: Floats
    hint_s: Floats
    access: Ints
    sizes: Ints
    client: Ints
    use: _Use | None = None


class _Use(NamedTuple):
    """What became of a trace: its name, how many prompts it has and gave, and how many of these were clipped, had
    sizes assumed."""

    file: str
    has: int
    gave: int
    clipped: int
    assumed: int


def arrivals(scenario: Scenario, seed: int) -> Arrivals:
    """The prompts of a run. Raises BadInput for a trace that cannot be read, or does not fit the scenario."""
    parts = list(_traced(scenario, seed) if scenario.workload.traces else _generated(scenario, seed))
    index = {m.id: i for i, m in enumerate(scenario.models)}
    at_s = np.concatenate([p.at_s for p in parts])
    order = np.argsort(at_s, kind="stable")
    model = np.repeat(np.array([index[p.model] for p in parts], np.int64), [p.at_s.size for p in parts])

    def merged(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(columns)[order]

    inputs, outputs, images, steps = (merged([p.sizes[:, i] for p in parts]) for i in range(4))
    return Arrivals(
        Demand(
            at_s[order],
            model[order],
            merged([p.access for p in parts]),
            merged([p.service_s for p in parts]),
            merged([p.hint_s for p in parts]),
        ),
        inputs,
        outputs,
        images,
        steps,
        merged([p.client for p in parts]),
        (*notes(scenario), *_notes(parts)),
    )


def _generated(scenario: Scenario, seed: int) -> Iterator[_Part]:
    times, parts = arrival_times(scenario, seed), Counter[str]()
    for entry, at_s in zip(scenario.workload.synthetic, times, strict=True):
        model, part = scenario.model(entry.model), parts[entry.model]
        parts[entry.model] += 1
        assert isinstance(model.service_s, MeanService)  # synthetic prompts have no sizes; reading refuses it
        expected_s = np.full(at_s.size, model.service_s.mean)
        unknown = np.full(at_s.size, -1, np.int64)
        yield _Part(
            model.id,
            at_s,
            expected_s,
            draws.service_s(model.service_s, expected_s, draws.stream(seed, "service", model.id, part)),
            draws.hint_s(scenario, model.id, expected_s, seed, draws.stream(seed, "hint", model.id, part)),
            draws.access_nodes(scenario, at_s.size, draws.stream(seed, "access", model.id, part)),
            np.broadcast_to(unknown[:, None], (at_s.size, 4)),
            unknown,
        )


def _traced(scenario: Scenario, seed: int) -> Iterator[_Part]:
    stretches, parts = mixes(scenario), Counter[str]()
    for i, entry in enumerate(scenario.workload.traces):
        trace, model = recorded(entry, scenario), scenario.model(model_of(entry))
        part = parts[model.id]
        parts[model.id] += 1
        warped = _warped(scenario, entry, i, trace, stretches, Random(f"{seed}/{model.id}/{part}/start"))
        rows = np.concatenate([w.rows for w in warped])
        service = model.service_s
        expected_s = np.full(rows.size, service.mean) if isinstance(service, MeanService) else trace.cost_s[rows]
        drawn = draws.access_nodes(scenario, rows.size, draws.stream(seed, "access", model.id, part))
        yield _Part(
            model.id,
            np.concatenate([w.at_s for w in warped]),
            expected_s,
            draws.service_s(service, expected_s, draws.stream(seed, "service", model.id, part)),
            draws.hint_s(scenario, model.id, expected_s, seed, draws.stream(seed, "hint", model.id, part)),
            draws.sticky_nodes(scenario, trace, rows, drawn, seed),
            trace.sizes[rows],
            draws.clients(trace, rows),
            _use(trace, rows, sized=not isinstance(service, MeanService)),
        )


def _warped(
    scenario: Scenario, entry: TraceEntry, index: int, trace: Recorded, stretches: Sequence[Mix], random: Random
) -> tuple[Warped, ...]:
    """The prompts that a trace gives: a stated number in each stretch, or what its clock brings in."""
    tape = Tape.of(trace.at_s)
    if scenario.workload.target_load is None:
        rate_scale = entry.rate_scale or 1.0
        # The window fits from a row when that much of the trace is left.
        last_s = float(trace.at_s[-1]) - scenario.duration_s * rate_scale
        fitting = int(np.searchsorted(trace.at_s, last_s, side="right"))
        start = random.randrange(fitting or trace.at_s.size)
        return (warp_by_rate(tape, start, rate_scale, 0.0, scenario.duration_s),)
    wanted = [
        Stretch(mix.begin_s, mix.end_s, round(mix.entries[index] * (mix.end_s - mix.begin_s))) for mix in stretches
    ]
    start = draw_start(trace.at_s.size, sum(s.count for s in wanted), random)
    return warp_stretches(tape, start, wanted)


def _use(trace: Recorded, rows: Ints, sized: bool) -> _Use:
    # Where service does not go by size, what a size was made of changes nothing.
    clipped, assumed = (int(found[rows].sum()) if sized else 0 for found in (trace.clipped, trace.assumed))
    return _Use(trace.file.name, trace.at_s.size, rows.size, clipped, assumed)


def _notes(parts: Sequence[_Part]) -> Iterator[str]:
    """One line for each thing to know of a model's trace, whatever number of entries it is cut into."""
    uses: dict[tuple[str, str], list[_Use]] = {}
    for part in parts:
        if part.use is not None:
            uses.setdefault((part.model, part.use.file), []).append(part.use)
    for (model, file), found in uses.items():
        gave = sum(use.gave for use in found)
        if any(use.gave > use.has for use in found):
            yield f"{model}: {file} has fewer prompts than the run needs, and starts again"
        if clipped := sum(use.clipped for use in found):
            yield f"{model}: {clipped} of {gave} prompts of {file} ask for more than it takes, and are clipped"
        if assumed := sum(use.assumed for use in found):
            yield f"{model}: {assumed} of {gave} prompts of {file} do not say how large they are: a usual size"
