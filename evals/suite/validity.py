"""Whether a report may be believed: checks that no sound run can fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evals.suite.grid import BASELINE_OF_ALL
from evals.suite.variants import is_variant

SLACK = 1e-9  # relative, for sums in another order


def invalid_because(
    policies: Mapping[str, Mapping[str, Any]],
    paired: Mapping[str, Mapping[str, Any]],
    bounds_s: Sequence[float],
    seeds: Sequence[int],
) -> list[str]:
    """Reasons, empty when the run is sound. policies, paired: as in report.json; bounds_s: by seed."""
    reasons = []
    for name, metrics in policies.items():
        for seed, lost in zip(seeds, metrics["prompts_lost"]["per_seed"], strict=True):
            if lost:
                reasons.append(f"{name} lost {lost:g} prompts on seed {seed}")
        for seed, mean_s, least_s in zip(seeds, metrics["mean_latency_s"]["per_seed"], bounds_s, strict=True):
            if mean_s is not None and mean_s < least_s * (1 - SLACK):
                reasons.append(
                    f"{name} has a mean latency of {mean_s:.4g} s on seed {seed}, "
                    f"below the lower bound of {least_s:.4g} s"
                )
        if is_variant(name):
            continue  # another objective: less latency for less fairness is no wonder
        beaten = paired.get(f"{BASELINE_OF_ALL}/{name}", {}).get("mean_latency_s", {})
        interval = beaten.get("ci95")
        if interval and interval[0] > 1 + SLACK:
            reasons.append(
                f"{BASELINE_OF_ALL} is worse than {name}: mean latency {beaten['ratio']:.3f} times as long, "
                f"95 % interval {interval[0]:.3f} to {interval[1]:.3f}"
            )
    return reasons
