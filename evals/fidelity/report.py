"""What a fidelity run found, as a record (fidelity.json), a table for people, and a page."""

from __future__ import annotations

from dataclasses import dataclass, field

from evals.fidelity.constants import Constants
from evals.fidelity.stats import Compared, Estimate
from evals.profiles.record import Machine
from evals.scenario import SizedService

FORMAT = 1
# What is aimed at for the error of the mean, by load: the first entry whose load is not below the band's.
AIMS = ((0.7, 0.10), (1.0, 0.20))


@dataclass(frozen=True, slots=True)
class Kind:
    """Prompts of one model, or all, in one band. Latencies in s. service: mean service on the nodes, as they counted
    it, over what the twin expected on average; None over all models."""

    prompts: int
    mean: Compared
    p50: Compared
    p95: Compared
    service: float | None = None


@dataclass(frozen=True, slots=True)
class Band:
    """One load band. load: node seconds that prompts took over those there were, as the nodes counted; cpu_load: the
    same by CPU, over what the nodes used when all were busy; asked_load: what was meant; mean_error, half_width: of
    the mean latency of all prompts, twin / real − 1, and half of its 95 % interval; doubted: the same with what
    calibration leaves open of how fast the machine was. runs: how many times it was run, all pooled. levels: by
    model, how much longer than the services of the whole measurement prompts were expected to take. others_cores:
    cores that other work on the machine took meanwhile; calibration_others_cores: at most, while services were
    measured."""

    load: float
    cpu_load: float
    asked_load: float
    mean_error: float
    half_width: float
    doubted: Estimate
    aim: float
    prompts: int
    runs: int
    duration_s: float
    all: Kind
    models: dict[str, Kind]
    levels: dict[str, float]
    others_cores: float
    calibration_others_cores: float = 0.0

    @property
    def met(self) -> bool:
        return abs(self.mean_error) <= self.aim


@dataclass(frozen=True, slots=True)
class Held:
    """How the prompts of a node are held to `quota` cores: `turnstile` (the node server rests between two steps), or
    that `within cgroup v2` (or v1), which bounds the whole process; why: why there is no cgroup, else empty."""

    by: str
    quota: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """The whole of fidelity.json; edgewise.control.twin_error reads `bands`. services: core seconds by size of
    prompts alone, over all blocks of calibration; worst_fit: their largest relative error for one size, by model;
    crowding: how much longer services are with all nodes busy; seeds: of the twin."""

    format: int
    machine: Machine
    held: Held
    placement: dict[str, tuple[str, ...]]
    shares: dict[str, float]
    services: dict[str, SizedService]
    worst_fit: dict[str, float]
    crowding: float
    constants: Constants
    bands: tuple[Band, ...]
    seeds: int
    wall_s: float
    notes: tuple[str, ...] = field(default_factory=tuple)


def aim_for(load: float) -> float:
    return next((aim for upto, aim in AIMS if load <= upto), AIMS[-1][1])


def table(found: Fidelity) -> str:
    """For a terminal."""
    lines = [
        f"nodes: {len(found.placement)}, each held to {found.held.quota:.2f} cores by {found.held.by}"
        + (f" (no cgroup: {found.held.why})" if found.held.why else ""),
        f"{'load':>5} {'model':17} {'n':>5}  {'real mean (95 %)':>23}  {'twin mean (95 % of seeds)':>25}"
        f"  {'error of mean':>22} {'p50':>7} {'p95':>7} {'service':>8}",
    ]
    for band in found.bands:
        for name, kind in [("all", band.all), *band.models.items()]:
            m = kind.mean
            service = "" if kind.service is None else f"{kind.service:.2f}"
            lines.append(
                f"{band.load:5.2f} {name:17} {kind.prompts:5d}"
                f"  {m.real.value:7.3f} ({m.real.low:6.3f}–{m.real.high:6.3f})"
                f"  {m.twin.value:9.3f} ({m.twin.low:6.3f}–{m.twin.high:6.3f})"
                f"  {m.error.value:+6.1%} ({m.error.low:+6.1%}…{m.error.high:+6.1%})"
                f" {kind.p50.error.value:+6.1%} {kind.p95.error.value:+6.1%} {service:>8}"
            )
        verdict = "met" if band.met else "NOT met"
        lines.append(
            f"      asked {band.asked_load:.2f}, CPU {band.cpu_load:.2f}; aim {band.aim:.0%} on the mean: {verdict};"
            f" with the doubt of calibration {band.doubted.low:+.1%}…{band.doubted.high:+.1%};"
            f" others took {band.others_cores:.2f} cores ({band.calibration_others_cores:.2f} around it);"
            f" machine {_levels(band)}"
        )
    return "\n".join([*lines, *found.notes])


def _levels(band: Band) -> str:
    low, high = min(band.levels.values()), max(band.levels.values())
    return f"at {low:.2f}–{high:.2f} of its usual service times"
