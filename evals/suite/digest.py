"""What the report keeps of one run: its figures and a few hundred numbers for the plots, not each prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgewise.twin.arrays import DRAIN, FAILED_ROW, NODE_DOWN_ROW, READY_ROW, UNLOAD
from edgewise.twin.demand import Floats, Ints
from evals.scenario import Scenario
from evals.suite.events import shifts

# Where latency is read off for its distribution: even in the body, finer in the tail.
PROBABILITIES = (*(i / 100 for i in range(100)), 0.993, 0.995, 0.997, 0.999, 1.0)
BINS = 240  # of the run's duration, for prompts in system
PLACEMENT_BINS = 120
PLACEMENT_CELLS = 1000  # node × model pairs at most for a map; larger clusters have counts of replicas by model


class Prompts(Protocol):
    """Columns [P]; seconds of the run. finished_s: inf when never; latency_s: as it counts."""

    @property
    def arrived_s(self) -> Floats: ...
    @property
    def finished_s(self) -> Floats: ...
    @property
    def latency_s(self) -> Floats: ...
    @property
    def model(self) -> Ints: ...


class Replicas(Protocol):
    """Columns [R], ascending in time. kind: 0 load, 1 ready, 2 drain, 3 unload, 4 failed, 5 node-down, 6 node-up."""

    @property
    def at_s(self) -> Floats: ...
    @property
    def kind(self) -> Ints: ...
    @property
    def node(self) -> Ints: ...
    @property
    def model(self) -> Ints: ...


class Outcome(Protocol):
    """One run of the twin."""

    @property
    def figures(self) -> dict[str, Any]: ...
    @property
    def prompts(self) -> Prompts: ...
    @property
    def replicas(self) -> Replicas: ...
    @property
    def end_s(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Digest:
    """One run. figures: as summary.json. quantiles: by model id ("" is all), latency in s at PROBABILITIES.
    in_system: [BINS] mean prompts in the system by part of duration_s. windows: request-seconds in system after each
    shift. ready: {model: [PLACEMENT_BINS] mean number of ready replicas}. placement: {node: {model: part of each bin
    in which it was ready, a digit 0–9 each}}, empty for clusters too large to draw."""

    figures: Mapping[str, Any]
    quantiles: Mapping[str, list[float]]
    in_system: list[float]
    windows: list[float]
    ready: Mapping[str, list[float]]
    placement: Mapping[str, Mapping[str, str]]

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def digest(scenario: Scenario, outcome: Outcome) -> Digest:
    """Boil a run down."""
    p = outcome.prompts
    edges = np.linspace(0.0, scenario.duration_s, BINS + 1)
    held = np.diff(presence(p, edges)) / np.diff(edges)
    windows = [
        float(np.diff(presence(p, np.array([s.from_s, min(s.until_s, max(outcome.end_s, s.from_s))])))[0])
        for s in shifts(scenario)
    ]
    quantiles = {"": _quantiles(p.latency_s)}
    for i, model in enumerate(scenario.models):
        quantiles[model.id] = _quantiles(p.latency_s[p.model == i])
    standing = standing_parts(scenario, outcome)
    ready = {m.id: np.round(standing[:, i].sum(axis=0), 4).tolist() for i, m in enumerate(scenario.models)}
    drawn = standing.shape[0] * standing.shape[1] <= PLACEMENT_CELLS
    placement = {n.id: _digits(scenario, standing[i]) for i, n in enumerate(scenario.nodes)} if drawn else {}
    figures = {k: v for k, v in outcome.figures.items() if k not in ("wall_s", "peak_pss_mib")}
    return Digest(figures, quantiles, np.round(held, 4).tolist(), windows, ready, placement)


def presence(prompts: Prompts, at_s: Floats) -> Floats:
    """∫ N(t) dt from the start to each of at_s, request-seconds, N the prompts in the system (shed ones until
    then)."""
    came, went = np.sort(prompts.arrived_s), np.sort(prompts.finished_s[np.isfinite(prompts.finished_s)])
    return _elapsed(came, at_s) - _elapsed(went, at_s)


def _elapsed(moments: Floats, at_s: Floats) -> Floats:
    """Σ max(0, t − moment) for each t of at_s; moments ascending."""
    sums = np.concatenate(([0.0], np.cumsum(moments)))
    before = np.searchsorted(moments, at_s, side="right")
    found: Floats = before * at_s - sums[before]
    return found


def _quantiles(latency_s: Floats) -> list[float]:
    """Empty without prompts."""
    if latency_s.size == 0:
        return []
    return [float(f"{v:.6g}") for v in np.quantile(latency_s, PROBABILITIES)]


def standing_parts(scenario: Scenario, outcome: Outcome) -> Floats:
    """[N, M, PLACEMENT_BINS] part of each bin of duration_s in which the replica was ready."""
    r, width = outcome.replicas, scenario.duration_s / PLACEMENT_BINS
    nodes, models = len(scenario.nodes), len(scenario.models)
    found = np.zeros((nodes, models, PLACEMENT_BINS))
    since = np.full((nodes, models), np.nan)

    def close(n: int, m: int, at_s: float) -> None:
        if since[n, m] < at_s:
            edges = np.arange(PLACEMENT_BINS + 1) * width
            covered = np.clip(np.minimum(edges[1:], at_s) - np.maximum(edges[:-1], since[n, m]), 0.0, None)
            found[n, m] += covered / width
        since[n, m] = np.nan

    for at_s, kind, node, model in zip(r.at_s, r.kind, r.node, r.model, strict=True):
        if kind == READY_ROW:
            since[node, model] = at_s
        elif kind in (DRAIN, UNLOAD, FAILED_ROW):
            close(node, model, at_s)
        elif kind == NODE_DOWN_ROW:
            for m in range(models):
                close(node, m, at_s)
    for n, m in zip(*np.nonzero(~np.isnan(since)), strict=True):
        close(int(n), int(m), scenario.duration_s)
    return found


def _digits(scenario: Scenario, parts: Floats) -> dict[str, str]:
    """parts: [M, bins] of one node. Models that were never ready are left out."""
    found = {}
    for model, row in zip(scenario.models, parts, strict=True):
        if row.any():
            found[model.id] = "".join(str(min(9, round(v * 9))) for v in row)
    return found
