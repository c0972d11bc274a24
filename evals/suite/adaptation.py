"""How much a policy loses after a shift, against one that knew it would come.

Excess request-seconds: ∫ (N_policy(t) − N_clairvoyant(t)) dt over the window after a shift, N the prompts in the
system on the same prompts. It rewards neither a bad steady state nor a short memory, as "time until within 10 % of
its own steady state" would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evals.suite.grid import BASELINE_OF_ALL
from evals.suite.stats import summary

Windows = Mapping[str, Sequence[Sequence[float]]]  # {policy: [seed][shift] request-seconds in system}


def excess(windows: Windows) -> dict[str, dict[str, Any]]:
    """{policy: {mean, ci95, per_seed, per_shift}} of the excess over the clairvoyant, request-seconds, summed over
    shifts; per_shift: means over seeds. Empty without shifts, or without a clairvoyant to compare with."""
    ideal = windows.get(BASELINE_OF_ALL)
    if ideal is None or not ideal or not ideal[0]:
        return {}
    found = {}
    for policy, seeds in windows.items():
        gaps = [[mine - best for mine, best in zip(a, b, strict=True)] for a, b in zip(seeds, ideal, strict=True)]
        per_shift = [sum(column) / len(column) for column in zip(*gaps, strict=True)]
        found[policy] = summary([sum(row) for row in gaps], "adaptation") | {"per_shift": per_shift}
    return found
