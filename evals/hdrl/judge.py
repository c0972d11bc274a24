"""How hdrl compares on worlds drawn from its own training distribution, which it was not trained on.

    python -m evals.hdrl.judge [--worlds 60] [--checkpoint FILE]

prints one JSON document: mean latency of each policy over that of lew-lru, paired by world.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from edgewise.policy.dispatch import LEAST_WORK
from edgewise.twin.demand import Floats
from edgewise.twin.run import run
from evals.hdrl.network import CHECKPOINT, PRIOR_ONLY, Networks, load
from evals.hdrl.policy import prepared as hdrl
from evals.hdrl.worlds import world
from evals.policies import Prepared, policy_of
from evals.setting import Setting
from evals.simulate import GIVE_UP
from evals.tuning import knob_for

LENGTH_S = 3600.0
BANDS = (0.4, 0.6, 0.8, 0.95)  # of load
REFERENCE = "lew-lru"


def mean_latency_s(setting: Setting, prepared: Prepared) -> float:
    """Of a run to its end; what is never answered counts with its age when the run is given up."""
    twin = setting.twin(prepared.rules)
    give_up_s = GIVE_UP * setting.scenario.duration_s
    run(twin, prepared.controller, setting.scenario.slot_s, give_up_s)
    finished = np.minimum(twin.state.finished_s, give_up_s)
    return float((finished - setting.arrivals.demand.at_s).mean())


def latencies(setting: Setting, networks: Networks) -> dict[str, float]:
    """By policy. "live": the same placements, but each prompt goes to the node with the least work when it comes."""
    found = {}
    for name in ("random-static", REFERENCE):
        policy = policy_of(name)
        found[name] = mean_latency_s(setting, policy.prepare(setting, knob_for(policy, setting.scenario)))
    variants = {
        "hdrl": networks,
        "untrained": PRIOR_ONLY,
        "placement learned": Networks(networks.place, None),
        "routing learned": Networks(None, networks.route),
    }
    for name, used in variants.items():
        found[name] = mean_latency_s(setting, hdrl(setting, used))
    for name, used in (("hdrl live", networks), ("untrained live", PRIOR_ONLY)):
        given = hdrl(setting, used)
        found[name] = mean_latency_s(setting, replace(given, rules=given.rules._replace(dispatch=LEAST_WORK)))
    return found


def log_ratios(indices: Sequence[int], kind: str, networks: Networks, length_s: float) -> Floats:
    """[worlds] log of mean latency over the untrained policy's."""
    found = []
    for i in indices:
        setting = world(kind, i, length_s)
        found.append(
            mean_latency_s(setting, hdrl(setting, networks)) / mean_latency_s(setting, hdrl(setting, PRIOR_ONLY))
        )
    return np.log(found)


def verdict(networks: Networks, worlds: int) -> dict[str, Any]:
    """Geometric means of paired ratios to lew-lru with 95 % intervals, over all worlds and by band of load."""
    rows, loads = [], []
    for i in range(worlds):
        setting = world("held-out", i, LENGTH_S)
        rows.append(latencies(setting, networks))
        loads.append(setting.scenario.workload.target_load or 0.0)
    load = np.array(loads)
    found: dict[str, Any] = {"worlds": worlds, "reference": REFERENCE, "ratios": {}}
    for name in rows[0]:
        logs = np.log([row[name] / row[REFERENCE] for row in rows])
        bands = {
            f"{low}-{high}": _interval(logs[(load >= low) & (load < high + 1e-9)]) for low, high in pairwise(BANDS)
        }
        found["ratios"][name] = {"all": _interval(logs), **bands, "wins": int((logs < 0).sum())}
    return found


def _interval(logs: Floats) -> list[float]:
    """[ratio, low, high]"""
    half = 1.96 * logs.std(ddof=1) / np.sqrt(logs.size) if logs.size > 1 else np.inf
    return [round(float(np.exp(logs.mean() + side)), 3) for side in (0.0, -half, half)]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m evals.hdrl.judge")
    parser.add_argument("--worlds", type=int, default=60)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    given = parser.parse_args(arguments)
    found = verdict(load(given.checkpoint), given.worlds)
    sys.stdout.buffer.write(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
