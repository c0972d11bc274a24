"""The short evaluation that guards against regressions: a small scenario, few seeds, ratios that must hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

SCENARIO = Path(__file__).parent / "ci.yaml"
SEEDS = 3


class Guard(NamedTuple):
    """The paired ratio of policy a over b in `metric` may be at most `most`. why: what was measured, and the
    slack."""

    a: str
    b: str
    metric: str
    most: float
    why: str


class Held(NamedTuple):
    guard: Guard
    ratio: float | None
    ok: bool


# Measured when they were set, on SEEDS seeds; the slack is what chance may do when a change moves a few dispatches.
GUARDS: tuple[Guard, ...] = (
    Guard(
        "marginal", "random-static", "mean_latency_s", 0.20, "was 0.06: dispatch that looks against one that does not"
    ),
    Guard("lew-lru", "random", "mean_latency_s", 0.30, "was 0.09: loads on demand against a placement drawn anew"),
    Guard("marginal", "lew-lru", "mean_latency_s", 0.95, "was 0.81: delay caused to others, and shares by size"),
    Guard(
        "marginal",
        "dpp",
        "mean_latency_s",
        0.95,
        "was 0.70: its latency is a penalty beside backlogs, not the cost itself",
    ),
    Guard("random", "marginal", "worst_attainment", 0.80, "was 0.45: no kind is starved"),
    Guard(
        "edgewise", "lew-lru", "mean_latency_s", 0.90, "was 0.65: the product against the strong practical baseline"
    ),
    Guard("edgewise", "marginal", "mean_latency_s", 1.05, "was 0.80: a planner must not undo what dispatch gains"),
)
POLICIES = (*dict.fromkeys(p for g in GUARDS for p in (g.a, g.b)), "clairvoyant")  # the last for validity's sake


def check(report: Mapping[str, Any], guards: Sequence[Guard] = GUARDS) -> list[Held]:
    """Each guard against a report. A ratio that is not there does not hold."""
    found = []
    for guard in guards:
        ratio = report["paired"].get(f"{guard.a}/{guard.b}", {}).get(guard.metric, {}).get("ratio")
        found.append(Held(guard, ratio, ratio is not None and ratio <= guard.most))
    return found
