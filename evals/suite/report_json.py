"""report.json: everything a grid of runs says, from the finished runs alone. The same runs give the same bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from edgewise.domain.measures import PROMPT_KEYS
from evals.suite.adaptation import excess
from evals.suite.events import shifts
from evals.suite.grid import BASELINE_OF_ALL, BOUND, Grid
from evals.suite.plots_hindsight import section
from evals.suite.stats import paired, summary
from evals.suite.validity import invalid_because
from evals.suite.verdict import verdict

Runs = Mapping[tuple[str, int], Mapping[str, Any]]  # (policy, seed) → a run as the store has it


def build(grid: Grid, runs: Runs, code: str) -> dict[str, Any]:
    """The report of one scenario. code: digest of the sources the runs were made with."""
    policies = {p: _policy([runs[p, s]["figures"] for s in grid.seeds]) for p in grid.policies}
    ratios = {
        f"{a}/{b}": _paired(policies[a], policies[b]) for a in grid.policies for b in grid.policies if a != b
    }  # fmt: skip
    bounds = [runs[BOUND, s]["bound"] for s in grid.seeds]
    bounds_s = [b["mean_latency_s"] for b in bounds]
    adaptation = excess({p: [runs[p, s]["windows"] for s in grid.seeds] for p in grid.policies})
    reasons = invalid_because(policies, ratios, bounds_s, grid.seeds)
    report: dict[str, Any] = {
        "scenario": grid.scenario.name,
        "seeds": list(grid.seeds),
        "policies": policies,
        "bounds": {
            "lower_bound_mean_latency_s": summary(bounds_s, "mean_latency_s")["mean"],
            "per_seed": bounds_s,
            "parts": {k: [b[k] for b in bounds] for k in ("alone_s", "pooled_s", "mixed_s", "priced_s")},
        },
        "paired": ratios,
        "adaptation": {p: found["mean"] for p, found in adaptation.items()},
        "adaptation_detail": adaptation,
        "shifts": [{"label": s.label, "from_s": s.from_s, "until_s": s.until_s} for s in shifts(grid.scenario)],
        "valid": not reasons,
        "invalid_because": reasons,
        "card": _cards([runs[BOUND, s]["card"] for s in grid.seeds]),
        "shedding": grid.scenario.shedding,
        "notes": _notes(grid, [runs[BOUND, s]["card"] for s in grid.seeds]),
        "code": code,
    }
    if seen := section(runs):
        report["hindsight"] = seen
    report["verdict"] = verdict(report)
    return report


def _policy(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each figure of summary.json over the seeds, and `per_model`."""
    found = _metrics(figures)
    models = sorted({m for f in figures for m in f.get("per_model", {})})
    found["per_model"] = {m: _metrics([f.get("per_model", {}).get(m, {}) for f in figures]) for m in models}
    return found


def _metrics(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    there = dict.fromkeys(k for f in figures for k, v in f.items() if _is_figure(v))
    names = [k for k in PROMPT_KEYS if k in there] + [k for k in there if k not in PROMPT_KEYS]
    return {name: summary([f.get(name) for f in figures], name) for name in names}


def _is_figure(value: Any) -> bool:
    return value is None or (isinstance(value, Real) and not isinstance(value, bool))


def _paired(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    return {m: paired(a[m]["per_seed"], b[m]["per_seed"]) for m in a if m in b and m != "per_model"}


def _cards(cards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The card's figures by seed: what was drawn differs between seeds."""
    return {k: [c[k] for c in cards] for k in cards[0] if k not in ("notes", "scenario")}


def _notes(grid: Grid, cards: Sequence[Mapping[str, Any]]) -> list[str]:
    found: dict[str, None] = {}
    alike = set[str]()
    for note in (note for card in cards for note in card["notes"]):
        plain = re.sub(r"\d+", "#", note)
        if plain not in alike:  # the same remark with the figures of another seed says nothing new
            found[note] = None
        alike.add(plain)
    if len(grid.seeds) == 1:
        found["one seed: there are no intervals, and chance is not told from skill"] = None
    if BASELINE_OF_ALL not in grid.policies:
        found[f"{BASELINE_OF_ALL} was not run: nothing is said of adaptation, nor checked against it"] = None
    return list(found)
