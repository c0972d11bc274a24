"""What edgewise would have done: the twin of today against the twin with edgewise, and whether that may be said.

*The twin's error* is taken where nothing was fitted: services are calibrated on the first part of the recording, and
the mean latency of prompts that ended in the rest is compared with what was measured there.

*The gain* is that of pairs of runs, today and with edgewise, on the same prompts. Each pair is a recording as it
might have been: blocks of this one drawn with replacement, times within a stretch and services drawn anew, services
calibrated against measured latencies that are off by their standard error, batching that nobody states drawn around
the usual. So the spread of pairs is the error of the gain (a bootstrap's: it is not divided by their number). The
twin's error is added to it, squares summed.

*Nothing is promised* when too little was seen, or when the twin is further off than the gain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from edgewise.control.seeds import generator
from edgewise.settings import Settings
from edgewise.twin.demand import Floats
from evals.scenario import Scenario
from evals.shadow.calibrate import Calibration, first_guess, fit
from evals.shadow.measured import mean_of, within
from evals.shadow.prompts import prompts, resampled
from evals.shadow.stage import Stage
from evals.shadow.traffic import Traffic
from evals.shadow.twin import doubted, latencies, scenario_of, today, with_edgewise

WARM, CALIBRATED = 0.05, 0.6  # parts of the recording: left out at first (what was there before), calibrated on until
LEAST_PROMPTS, LEAST_CHECKED = 100, 30  # ended in all, and in the part that is checked
BLOCKS = 10  # of the bootstrap, at least
CHECK_RUNS = 5
MOST_FAILED = 0.05  # of prompts
MOST_CHANCE = 1.0  # half-width of the gain
LEVEL = 0.95
LARGEST_LOG = math.log(1000.0)


@dataclass(frozen=True, slots=True)
class Windows:
    """Run seconds: what is calibrated on, what is checked on."""

    fit: tuple[float, float]
    check: tuple[float, float]

    @staticmethod
    def of(duration_s: float) -> Windows:
        split_s = CALIBRATED * duration_s
        return Windows((WARM * duration_s, split_s), (split_s, duration_s))


@dataclass(frozen=True, slots=True)
class TwinCheck:
    """Mean latency of what ended in the checked part, s: measured, and in the twin of what stands. per_model: the
    same by model (None: nothing ended)."""

    prompts: float
    measured_s: float
    twin_s: float
    per_model: dict[str, dict[str, float | None]]

    @property
    def error(self) -> float:
        """twin / measured − 1."""
        return self.twin_s / self.measured_s - 1.0


@dataclass(frozen=True, slots=True)
class Pair:
    """One recording as it might have been: figures of both runs."""

    today: dict[str, Any]
    edgewise: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Gain:
    """gain: part of today's mean latency that edgewise saves; chance: half-width at 95 % from the pairs; half: with
    the twin's error. J: of today and with edgewise, means over pairs."""

    gain: float
    chance: float
    half: float
    jain: tuple[float, float]
    jain_normalized: tuple[float, float]
    service_ratio: tuple[float, float]
    mean_latency_s: tuple[float, float]


def calibrate(
    seen: Traffic, stage: Stage, base: Scenario, settings: Settings, windows: Windows, seed: int
) -> Calibration:
    """Services from the first part of the recording."""
    start = first_guess(seen, stage, *windows.fit)
    p = prompts(seen, stage, seed, before=True)
    targets = np.array([math.nan if t is None else t.mean_s for t in start.targets])
    return fit(stage, start, p, targets, windows.fit, settings, base, seed)


def check(
    seen: Traffic, stage: Stage, found: Calibration, base: Scenario, settings: Settings, windows: Windows, seed: int
) -> TwinCheck | None:
    """None: nothing ended in the part to check."""
    timed = within(seen.latencies, *windows.check)
    measured = mean_of(timed)
    if measured is None:
        return None
    scenario, models = scenario_of(stage, found, base), len(stage.models)
    runs = [
        latencies(stage, scenario, prompts(seen, stage, seed + i, before=True), settings, seed + i)
        for i in range(CHECK_RUNS)
    ]
    means = np.array([r.means(windows.check, models) for r in runs])
    overall = [x for r in runs if math.isfinite(x := r.mean(windows.check))]
    if not overall:
        return None
    per_model = {}
    for facts in stage.models:
        one = mean_of([t for t in timed if t.model == facts.name])
        column = means[:, stage.model_of[facts.name]]
        column = column[np.isfinite(column)]
        per_model[facts.id] = {
            "prompts": one.count if one else 0.0,
            "measured_s": one.mean_s if one else None,
            "twin_s": float(column.mean()) if column.size else None,
        }
    return TwinCheck(measured.count, measured.mean_s, float(np.mean(overall)), per_model)


def pairs(
    seen: Traffic,
    stage: Stage,
    found: Calibration,
    base: Scenario,
    settings: Settings,
    windows: Windows,
    seeds: Sequence[int],
    told: Callable[[int], None] = lambda done: None,
) -> list[Pair]:
    made = []
    block_s = max(base.slot_s, seen.duration_s / BLOCKS)
    for done, seed in enumerate(seeds):
        rng = generator("shadow", "pair", str(seed))
        targets = _targets(found, rng)
        recorded = prompts(seen, stage, seed, before=True)
        maybe = doubted(base, stage, rng)
        again = fit(stage, found, recorded, targets, windows.fit, settings, maybe, seed)
        scenario = scenario_of(stage, again, maybe)
        drawn = resampled(prompts(seen, stage, seed), seen.duration_s, block_s, rng)
        if len(drawn) == 0:
            continue
        made.append(
            Pair(today(stage, scenario, drawn, settings, seed).figures, with_edgewise(scenario, drawn, seed).figures)
        )
        told(done + 1)
    return made


def _targets(found: Calibration, rng: np.random.Generator) -> Floats:
    """Measured latencies off by their standard error (a tenth at most where there are too few to know it)."""
    off = rng.standard_normal(len(found.targets))
    return np.array(
        [
            math.nan if t is None else t.mean_s * math.exp(z * (t.error if math.isfinite(t.error) else 0.1))
            for t, z in zip(found.targets, off, strict=True)
        ]
    )


def gain_of(made: Sequence[Pair], twin_error: float) -> Gain:
    """Over at least two pairs."""
    logs = np.array([math.log(x.edgewise["mean_latency_s"] / x.today["mean_latency_s"]) for x in made])
    middle, spread = float(logs.mean()), float(logs.std(ddof=1))
    t = float(stats.t.ppf(0.5 + LEVEL / 2, len(logs) - 1))
    ratio = math.exp(middle)
    chance = ratio * math.sinh(min(t * spread, LARGEST_LOG))

    def both(key: str) -> tuple[float, float]:
        return (
            float(np.mean([x.today[key] for x in made])),
            float(np.mean([x.edgewise[key] for x in made])),
        )

    return Gain(
        1.0 - ratio, chance, math.hypot(chance, twin_error), both("jain"), both("jain_normalized"),
        both("service_ratio"), both("mean_latency_s"),
    )  # fmt: skip


def refusals(seen: Traffic, checked: TwinCheck | None, gain: Gain | None, known: Sequence[str]) -> list[str]:
    """Why nothing can be promised; empty when something can. known: reasons found before."""
    why = list(known)
    ended = sum(t.count for t in seen.latencies)
    if seen.prompts == 0:
        return [*why, "no prompt was seen to come in"]
    if ended == 0:
        return [*why, "no latency was measured: what serves here does not show any"]
    refused = sum(seen.failed.values()) / seen.prompts
    if refused > MOST_FAILED:
        why.append(f"{refused:.0%} of prompts failed or were refused: latencies leave out those that fared worst")
    if ended < LEAST_PROMPTS:
        why.append(f"too little traffic: {ended:.0f} prompts ended, at least {LEAST_PROMPTS} are needed")
    if checked is None or checked.prompts < LEAST_CHECKED:
        few = 0 if checked is None else round(checked.prompts)
        why.append(f"only {few} prompts ended in the part that checks the twin, at least {LEAST_CHECKED} are needed")
    elif gain is not None and gain.chance >= MOST_CHANCE:
        why.append(
            f"too uncertain: recordings like this one differ by ±{gain.chance:.0%} in what edgewise would change"
        )
    elif gain is not None and abs(checked.error) > abs(gain.gain):
        why.append(
            f"the twin's mean latency of today is off by {checked.error:+.0%} where it was not calibrated, "
            f"more than the {abs(gain.gain):.0%} that edgewise would change"
        )
    return why
