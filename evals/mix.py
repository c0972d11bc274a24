"""How many prompts a scenario asks for, of each part of its workload, between one popularity shift and the next."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from edgewise.domain.errors import BadInput
from evals.recorded import recorded
from evals.scenario import MeanService, PopularityShift, Scenario, model_of


class Mix(NamedTuple):
    """Mean rates in [begin_s, end_s), prompts/s: of each workload entry in the order of the file, and of each model
    that has any (a model without prompts in this stretch has 0)."""

    begin_s: float
    end_s: float
    entries: tuple[float, ...]
    models: dict[str, float]


def entry_models(scenario: Scenario) -> tuple[str, ...]:
    """The model of each workload entry, in the order of the file."""
    traces, synthetic = scenario.workload.traces, scenario.workload.synthetic
    return tuple(model_of(t) for t in traces) or tuple(s.model for s in synthetic)


def entry_means_s(scenario: Scenario) -> tuple[float, ...]:
    """Expected service at speed 1 of the prompts of each workload entry; over its trace where it goes by size."""
    means = []
    for i, model_id in enumerate(entry_models(scenario)):
        service = scenario.model(model_id).service_s
        if isinstance(service, MeanService):
            means.append(service.mean)
            continue
        rows = recorded(scenario.workload.traces[i], scenario)
        mean = float(rows.cost_s.mean())
        if mean <= 0:
            what = f"prompts of {model_id!r} take no time at all"
            raise BadInput(what, where=str(rows.file), hint="give its service_s a base, or a part its prompts have")
        means.append(mean)
    return tuple(means)


def mixes(scenario: Scenario) -> tuple[Mix, ...]:
    """One mix per stretch. With a target_load the rates carry exactly that, in each stretch; a model's share is
    split over its entries in proportion. Without one, rates of traces are 0 here: their clock says how many come."""
    workload, models = scenario.workload, entry_models(scenario)
    weights = _weights(scenario)
    before = _by_model(models, weights)
    means = entry_means_s(scenario) if workload.target_load is not None else ()
    shares, found = dict(before), []
    for begin_s, end_s, changed in _stretches(scenario):
        shares |= changed
        relative = [w / before[m] * shares[m] if w else 0.0 for m, w in zip(models, weights, strict=True)]
        scale = 1.0
        if workload.target_load is not None:
            work = sum(r * s for r, s in zip(relative, means, strict=True))
            scale = workload.target_load * scenario.capacity / work
        rates = tuple(r * scale for r in relative)
        found.append(Mix(begin_s, end_s, rates, _by_model(models, rates)))
    return tuple(found)


def _by_model(models: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    sums = dict.fromkeys(models, 0.0)
    for model, value in zip(models, values, strict=True):
        sums[model] += value
    return sums


def _weights(scenario: Scenario) -> tuple[float, ...]:
    """Relative rates of the entries. Synthetic ones are shares of all prompts, so that a shift can restate them."""
    workload = scenario.workload
    if workload.traces:
        return tuple(t.share or 0.0 for t in workload.traces)
    rates = [s.rate_per_s for s in workload.synthetic]
    if workload.target_load is None:
        return tuple(rates)
    return tuple(r / sum(rates) for r in rates)


def _stretches(scenario: Scenario) -> list[tuple[float, float, dict[str, float]]]:
    """(begin, end, what changes at the begin) of each stretch. Of two shifts at one time the later line wins."""
    changes: dict[float, dict[str, float]] = {0.0: {}}
    shifts = (e for e in scenario.events if isinstance(e, PopularityShift))
    for event in sorted(shifts, key=lambda e: e.at_s):
        changes[event.at_s] = changes.get(event.at_s, {}) | event.shares
    edges = (*sorted(changes), scenario.duration_s)
    return [(begin, end, changes[begin]) for begin, end in pairwise(edges)]
