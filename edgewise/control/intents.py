"""What the operator's intents ask of a decision: which hold now, which begin soon, and what they change.

An intent acts a lead before it begins, as replicas take their time to load: pins, weights, floors, longest waits and
alpha all from then on. Of several that hold the larger weight and floor count, the shorter wait, and the last alpha.
What is announced of demand is in announced.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgewise.domain.intent import Intent, LongestWait, Weight
from edgewise.domain.observation import Observation
from edgewise.domain.plan import ANY, Floor, Plan, ReplicaGoal
from edgewise.optimise.problem import Floats, Problem

# Slots before an intent begins, beyond the longest load. Where demand turns from one kind to another, being ready too
# early costs the kind that is still there more than being a little late does (docs/decisions/0029-intents.md).
LEAD_SLOTS = 1
# A prompt of a kind takes longer than so many times the kind's mean once in twenty where latencies are about
# exponential: a longest wait bounds the mean, which is what rollouts predict, at this part of it.
TAIL = 3.0


@dataclass(frozen=True, slots=True)
class Aims:
    """What holds for one decision, of all intents together. alpha None: the setting's."""

    alpha: float | None = None
    weights: tuple[Weight, ...] = ()
    floors: tuple[Floor, ...] = ()
    pins: tuple[ReplicaGoal, ...] = ()
    waits: tuple[LongestWait, ...] = ()


def lead_s(o: Observation) -> float:
    """Seconds before its beginning from which an intent acts."""
    return max((m.load_s for m in o.model_specs), default=0.0) + LEAD_SLOTS * o.slot_s


def due(intents: Sequence[Intent], o: Observation) -> tuple[Intent, ...]:
    """Those in force, or to be within the lead."""
    soon_s = o.at_s + lead_s(o)
    return tuple(i for i in intents if i.from_s <= soon_s and (i.until_s is None or o.at_s < i.until_s))


def aims(intents: Sequence[Intent], o: Observation) -> Aims:
    """What the intents that are due ask for."""
    weights: dict[tuple[str, str], Weight] = {}
    floors: dict[str, Floor] = {}
    waits: dict[str, LongestWait] = {}
    pins: dict[ReplicaGoal, None] = {}
    alpha: float | None = None
    for intent in due(intents, o):
        for w in intent.weights:
            key = (w.model, w.access_node)
            weights[key] = w if key not in weights else max(w, weights[key], key=lambda x: x.weight)
        for f in intent.floors:
            floors[f.model] = f if f.model not in floors else max(f, floors[f.model], key=lambda x: x.share)
        for t in intent.waits:
            waits[t.model] = t if t.model not in waits else min(t, waits[t.model], key=lambda x: x.latency_s)
        pins |= dict.fromkeys(intent.pins)
        alpha = intent.alpha if intent.alpha is not None else alpha
    return Aims(alpha, tuple(weights.values()), tuple(floors.values()), tuple(pins), tuple(waits.values()))


def aimed(p: Problem, found: Aims, mean: Floats) -> Problem:
    """The problem with weights and longest waits. mean[a, m]: expected prompts per second.

    Neither the kernels nor an outcome keep access nodes apart: a weight for one of them counts for the kind as far
    as the kind's prompts enter there."""
    prices = p.prices if found.alpha is None else replace(p.prices, alpha=found.alpha)
    weight = _weights(p, found.weights, mean) if found.weights else None
    longest = _longest(p, found.waits) if found.waits else None
    return replace(p, prices=prices, weight=weight, longest=longest)


def pins_of(incumbent: Plan | None, intents: Sequence[Intent], o: Observation) -> tuple[ReplicaGoal, ...]:
    """Replicas to be kept or added: the intents', and those of an incumbent that has not run out."""
    mine = incumbent.pins if incumbent is not None and o.at_s < incumbent.expires_s else ()
    return tuple(dict.fromkeys((*aims(intents, o).pins, *mine)))


def _weights(p: Problem, given: Sequence[Weight], mean: Floats) -> Floats:
    """Weight [M] of each kind: the mean over access nodes by their part of its prompts."""
    at_access = {name: i for i, name in enumerate(p.access)}
    at_model = {name: j for j, name in enumerate(p.models)}
    table = np.ones((len(p.access), len(p.models)))
    for w in sorted(given, key=lambda w: w.access_node != ANY):  # what is said of one node goes before all
        if w.model in at_model and (w.access_node == ANY or w.access_node in at_access):
            rows = slice(None) if w.access_node == ANY else at_access[w.access_node]
            table[rows, at_model[w.model]] = w.weight
    total = mean.sum(axis=0)
    part = np.where(total > 0, mean / np.where(total > 0, total, 1.0), 1 / max(1, len(p.access)))
    return np.asarray((part * table).sum(axis=0))


def _longest(p: Problem, given: Sequence[LongestWait]) -> Floats:
    """Mean latency [M] above which a kind's wait is too long, inf where nothing is said."""
    longest = np.full(len(p.models), np.inf)
    for j, model in enumerate(p.models):
        for wait in given:
            if wait.model in (ANY, model):
                longest[j] = min(longest[j], wait.latency_s)
    return np.asarray(np.maximum(longest / TAIL, p.ideal))
