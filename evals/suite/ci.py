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


GUARDS: tuple[Guard, ...] = ()
POLICIES = tuple(dict.fromkeys(p for g in GUARDS for p in (g.a, g.b)))


def check(report: Mapping[str, Any], guards: Sequence[Guard] = GUARDS) -> list[Held]:
    """Each guard against a report. A ratio that is not there does not hold."""
    found = []
    for guard in guards:
        ratio = report["paired"].get(f"{guard.a}/{guard.b}", {}).get(guard.metric, {}).get("ratio")
        found.append(Held(guard, ratio, ratio is not None and ratio <= guard.most))
    return found
