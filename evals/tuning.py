"""Knobs of baselines, tuned per scenario on pilot runs: seeds that no evaluation uses, the first hour at most."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evals.policies import Policy
from evals.scenario import Scenario

PILOT_SEED = 7_654_321
PILOTS = 2
LONGEST_S = 3600.0


def knob_for(policy: Policy, scenario: Scenario) -> float:
    """The knob with the least mean latency over the pilots; the default where there is nothing to tune."""
    if len(policy.knobs) == 1:
        return policy.knobs[0]
    return _tuned(policy, pilot(scenario))


def pilot(scenario: Scenario) -> Scenario:
    """The scenario's first hour: what happens later is nothing a policy could have been tuned on."""
    if scenario.duration_s <= LONGEST_S:
        return scenario
    events = tuple(e for e in scenario.events if e.at_s < LONGEST_S)
    return replace(scenario, duration_s=LONGEST_S, events=events)


_FOUND: dict[tuple[str, str], float] = {}


def _tuned(policy: Policy, scenario: Scenario) -> float:
    from evals.setting import setting
    from evals.simulate import run_policy

    key = (policy.name, repr(scenario))
    if key not in _FOUND:
        means = np.zeros((len(policy.knobs), PILOTS))
        for j in range(PILOTS):
            where = setting(scenario, PILOT_SEED + j)
            for i, knob in enumerate(policy.knobs):
                means[i, j] = run_policy(where, policy.name, knob).figures["mean_latency_s"]
        # Geometric mean: a pilot with much traffic must not decide alone.
        _FOUND[key] = policy.knobs[int(np.log(means).mean(axis=1).argmin())]
    return _FOUND[key]
