"""Announced demand in the forecast: what an operator expects, as far as it is to be believed.

"Four times the usual from 19:00" is a turn: at a time, a kind's rate goes from what it was to what was said. What is
usual is noted (Track.marks) when the turn comes within the lead. Until it happens every draw of demand makes it
happen or not, with the setting `announced_trust` as its probability, at about the time and to about the rate: so a
plan made for it must pay on the mean over both, and a false announcement does harm for a while only. Once demand is
nearer to what was announced than to what was usual, the turn has come, and what is seen counts alone. One that is
late is believed less with each slot, and not at all after LATE_SLOTS. The end of a period is a turn back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgewise.control.forecast import Coming, Forecast, Mark, Path, Track
from edgewise.control.intents import due, lead_s
from edgewise.domain.intent import Intent
from edgewise.domain.observation import Observation
from edgewise.domain.plan import ANY
from edgewise.optimise.problem import Problem

LATE_SLOTS = 3
# What is said is about right: σ of the logarithm of the rate, and of the time in slots.
RATE_ERROR, TIME_ERROR_SLOTS = 0.3, 1.0
LEAST_RATE = 1e-4


@dataclass(frozen=True, slots=True)
class Turn:
    """Demand of `model` (entering at `access_node`; ANY: all) goes from `before` to `after` per second at `at_s`."""

    intent: str
    at_s: float
    model: str
    access_node: str
    before: float
    after: float


def marked(track: Track, intents: Sequence[Intent], o: Observation) -> Track:
    """The track with what is usual noted for what is announced soon, and notes of what is over dropped."""
    if not track.marks and not any(i.demand for i in intents):
        return track
    late_s = LATE_SLOTS * o.slot_s
    soon = {i.id for i in due(intents, o)}
    ended = {i.id for i in intents if i.until_s is not None and i.until_s <= o.at_s < i.until_s + late_s}
    known = {(m.intent, m.model, m.access_node): m for m in track.marks}
    marks = []
    for i in intents:
        for e in i.demand:
            key = (i.id, e.model, e.access_node)
            if key in known and i.id in soon | ended:
                marks.append(known[key])
            elif i.id in soon and track.levels:
                marks.append(Mark(*key, _usual(track, e.model, e.access_node)))
    return replace(track, marks=tuple(marks))


def turns(intents: Sequence[Intent], track: Track, o: Observation) -> tuple[Turn, ...]:
    """Those that are soon, or late and not seen yet; by time."""
    late_s, ahead_s = LATE_SLOTS * o.slot_s, lead_s(o)
    found = [t for t in _all(intents, track) if t.at_s - ahead_s <= o.at_s < t.at_s + late_s]
    return tuple(sorted((t for t in found if o.at_s < t.at_s or not _come(t, track)), key=lambda t: t.at_s))


def expecting(
    ahead: Forecast, intents: Sequence[Intent], track: Track, o: Observation, p: Problem, trust: float
) -> Forecast:
    """The forecast with what is announced; itself when nothing is."""
    late_s = LATE_SLOTS * o.slot_s
    groups: dict[tuple[float, str], list[Turn]] = {}
    for t in turns(intents, track, o):
        groups.setdefault((t.at_s, t.intent), []).append(t)
    coming = []
    for (at_s, _), mine in groups.items():
        times = np.full(ahead.mean.shape, np.nan)
        for t in mine:
            if t.model not in p.models or (t.access_node != ANY and t.access_node not in p.access):
                continue
            j = p.models.index(t.model)
            rows = slice(None) if t.access_node == ANY else p.access.index(t.access_node)
            times[rows, j] = max(t.after, LEAST_RATE) / max(float(ahead.mean[rows, j].sum()), LEAST_RATE)
        left = 1.0 if o.at_s < at_s else 1.0 - (o.at_s - at_s) / late_s
        coming.append(Coming(at_s - o.at_s, times, trust * left, TIME_ERROR_SLOTS * o.slot_s, RATE_ERROR))
    return replace(ahead, coming=tuple(coming)) if coming else ahead


def paths(f: Forecast, rng: np.random.Generator, count: int) -> list[Path]:
    """For each of `count` draws what becomes of demand: (seconds from now, factors [a, m] of the draw's rates from
    then on), by time. Which draws an announcement comes true in is dealt out evenly, so that few draws tell."""
    found: list[Path] = []
    for k in range(count):
        times = np.ones(f.mean.shape)
        steps = []
        for i, c in enumerate(f.coming):
            start_s = max(0.0, c.in_s + c.time_error_s * float(rng.standard_normal()))
            factor = np.exp(c.rate_error * rng.standard_normal(f.mean.shape[1]) - c.rate_error**2 / 2)
            # The k-th of `count` comes true when its turn in a deal of `trust` per draw passes a whole number.
            if math.floor((k + 1 + i) * c.trust + 0.5) > math.floor((k + i) * c.trust + 0.5):
                steps.append((start_s, c.times * factor))
        path = []
        for start_s, change in sorted(steps, key=lambda s: s[0]):
            times = np.where(np.isnan(change), times, change)
            path.append((start_s, times))
        found.append(tuple(path))
    return found


def standing(intents: Sequence[Intent], track: Track, o: Observation) -> tuple[str, ...]:
    """Which intents act on this slot and how, in words that change when the planner should look again: with each
    slot, too, in which announced demand draws near or is late."""
    words = [f"{i.id} {'holds' if i.holds(o.at_s) else 'begins soon'}" for i in due(intents, o)]
    for t in turns(intents, track, o):
        when = f"in {t.at_s - o.at_s:.0f} s" if t.at_s > o.at_s else f"for {o.at_s - t.at_s:.0f} s"
        where = "" if t.access_node == ANY else f" at {t.access_node}"
        words.append(f"{t.intent} expects {t.model}{where} {t.before:.2f} → {t.after:.2f}/s {when}")
    return tuple(words)


def _all(intents: Sequence[Intent], track: Track) -> Iterator[Turn]:
    usual = {(m.intent, m.model, m.access_node): m.rate for m in track.marks}
    for i in intents:
        for e in i.demand:
            before = usual.get((i.id, e.model, e.access_node))
            if before is None:
                continue
            said = e.rate_per_s if e.rate_per_s is not None else (e.times or 0.0) * before
            yield Turn(i.id, i.from_s, e.model, e.access_node, before, said)
            if i.until_s is not None:
                yield Turn(i.id, i.until_s, e.model, e.access_node, said, before)


def _come(t: Turn, track: Track) -> bool:
    """Whether demand as followed is nearer to what was announced than to what was before, by ratio."""
    seen = math.log(max(_now(track, t.model, t.access_node), LEAST_RATE))
    before, after = math.log(max(t.before, LEAST_RATE)), math.log(max(t.after, LEAST_RATE))
    return abs(seen - after) <= abs(seen - before)


def _usual(track: Track, model: str, access_node: str) -> float:
    return sum(x.base for x in track.levels if x.model == model and access_node in (ANY, x.access_node))


def _now(track: Track, model: str, access_node: str) -> float:
    return sum(x.rate for x in track.levels if x.model == model and access_node in (ANY, x.access_node))
