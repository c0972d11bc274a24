"""A scenario's card: what its prompts amount to before any policy has touched them.

A mean load says little: a window of pure overload and one of nothing have the mean of a steady stream, and in both
all policies look alike. So the card says how high the load gets, and how much work piles up at best.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evals.arrivals import Arrivals
from evals.scenario import NodeDown, NodeSlow, Scenario
from evals.warp import Floats

WINDOW_S = 300.0
STEP_S = 30.0


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model's prompts. share, work_share: part of all prompts, of all service seconds; mean_service_s: at speed
    1 (0 without prompts); dispersion: variance over mean of the counts of 30 s, 1 for a Poisson stream."""

    prompts: int
    share: float
    work_share: float
    mean_service_s: float
    dispersion: float


@dataclass(frozen=True, slots=True)
class Card:
    """Loads are service seconds over what all nodes could do, events and placement left aside.

    peak_load_5min: the highest of any five minutes, in steps of 30 s. largest_backlog_s, largest_backlog_prompts: the
    most work (seconds of the whole capacity) and prompts waiting or running if one server of the whole capacity took
    them in order. dispersion: variance over mean of the counts of 30 s.
    """

    scenario: str
    prompts: int
    capacity: float
    realised_load: float
    peak_load_5min: float
    largest_backlog_s: float
    largest_backlog_prompts: int
    dispersion: float
    per_model: Mapping[str, ModelCard]
    notes: tuple[str, ...]


def card(scenario: Scenario, arrivals: Arrivals) -> Card:
    """The card of one draw of a scenario's prompts."""
    demand, capacity = arrivals.demand, scenario.capacity
    work_s = float(demand.service_s.sum())
    backlog_s, backlog = _backlog(demand.at_s, demand.service_s / capacity)
    per_model = {}
    for i, model in enumerate(scenario.models):
        mine = demand.model == i
        count, own_s = int(mine.sum()), float(demand.service_s[mine].sum())
        per_model[model.id] = ModelCard(
            count,
            count / max(1, demand.at_s.size),
            own_s / work_s if work_s > 0 else 0.0,
            own_s / count if count else 0.0,
            _dispersion(demand.at_s[mine], scenario.duration_s),
        )
    return Card(
        scenario.name,
        int(demand.at_s.size),
        capacity,
        work_s / (scenario.duration_s * capacity),
        _peak(demand.at_s, demand.service_s, scenario.duration_s) / capacity,
        backlog_s,
        backlog,
        _dispersion(demand.at_s, scenario.duration_s),
        per_model,
        (*arrivals.notes, *_lost_capacity(scenario)),
    )


def card_json(card: Card) -> dict[str, Any]:
    """The card as plain values, for JSON."""
    return asdict(card)


def card_lines(card: Card) -> list[str]:
    """The card for people."""
    lines = [
        f"{card.scenario}: {card.prompts:,} prompts, load {card.realised_load:.2f} of {card.capacity:g} speeds",
        f"  peak load of five minutes {card.peak_load_5min:.2f}; largest backlog {card.largest_backlog_s:.0f} s of "
        f"the whole capacity, {card.largest_backlog_prompts:,} prompts; dispersion {card.dispersion:.1f}",
    ]
    for model, m in card.per_model.items():
        lines.append(
            f"  {model}: {m.prompts:,} prompts ({m.share:.0%}), {m.work_share:.0%} of the work, "
            f"mean {m.mean_service_s:.2f} s, dispersion {m.dispersion:.1f}"
        )
    return [*lines, *(f"  note: {note}" for note in card.notes)]


def _peak(at_s: Floats, service_s: Floats, duration_s: float) -> float:
    """The most work per second in any window, service seconds per second; a short run is one window."""
    window_s = min(WINDOW_S, duration_s)
    begins = np.arange(0.0, duration_s - window_s + 1e-9, STEP_S)
    done = np.concatenate(((0.0,), np.cumsum(service_s)))
    ends = done[np.searchsorted(at_s, begins + window_s)]
    return float((ends - done[np.searchsorted(at_s, begins)]).max()) / window_s


def _backlog(at_s: Floats, work_s: Floats) -> tuple[float, int]:
    """The most work, and prompts, in one server of speed 1 that takes prompts in order; just after an arrival."""
    if at_s.size == 0:
        return 0.0, 0
    arrived_s = np.cumsum(work_s)
    # What would be left had the server never idled; it idles by as much as this was ever below 0 before an arrival.
    idle_s = np.minimum.accumulate(np.minimum(arrived_s - work_s - at_s, 0.0))
    left_s = arrived_s - at_s - idle_s
    finished = np.searchsorted(at_s + left_s, at_s, side="right")
    return float(left_s.max()), int((np.arange(1, at_s.size + 1) - finished).max())


def _dispersion(at_s: Floats, duration_s: float) -> float:
    bins = max(1, int(duration_s // STEP_S))
    counts, _ = np.histogram(at_s, bins=bins, range=(0.0, bins * STEP_S))
    mean = float(counts.mean())
    return float(counts.var()) / mean if mean > 0 else 0.0


def _lost_capacity(scenario: Scenario) -> list[str]:
    lost = [e.node for e in scenario.events if isinstance(e, NodeDown | NodeSlow)]
    if not lost:
        return []
    return [f"loads count all nodes all the time, also while {', '.join(dict.fromkeys(lost))} is down or slow"]
