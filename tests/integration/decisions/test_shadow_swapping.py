"""Two llama-swaps that load what they are asked for: what shadow says of them against what edgewise truly does."""

from __future__ import annotations

import numpy as np

from edgewise.domain.model import Task
from edgewise.settings import load_settings
from evals.scenario import LoadTime, MeanService, ModelEntry, NodeEntry, Scenario, SyntheticEntry, WorkloadEntry
from evals.setting import setting
from evals.shadow import judge, report
from evals.shadow.given import Given, ModelGiven
from evals.shadow.judge import Windows
from evals.shadow.recorder import Poll
from evals.shadow.stage import Dispatch, stage
from evals.shadow.stretches import stretches
from evals.shadow.traffic import traffic
from evals.shadow.twin import first_scenario
from evals.simulate import Simulated, run_policy
from tools.foreign.records import NodeMemory, Reading, Resident, Served
from tools.foreign.systems import Kind

DURATION_S, SLOT_S, INTERVAL_S = 900.0, 22.5, 2.0
MODELS = {"a": (0.3, 1.0), "b": (0.4, 0.5), "c": (0.15, 1.5)}  # prompts per second, seconds of one
NAMES = tuple(MODELS)
LOGGED = 500
STATES = {0: "loading", 1: "ready", 2: "draining"}


def scenario() -> Scenario:
    """Each node has room for two of three models."""
    return Scenario(
        name="swapping",
        nodes=(NodeEntry("n-0", 2.0), NodeEntry("n-1", 2.0)),
        models=tuple(
            ModelEntry(m, Task.TEXT_GENERATION, 1.0, LoadTime(4.0), MeanService(s, 0.7))
            for m, (_, s) in MODELS.items()
        ),
        workload=WorkloadEntry(synthetic=tuple(SyntheticEntry(m, rate) for m, (rate, _) in MODELS.items())),
        duration_s=DURATION_S,
        slot_s=SLOT_S,
        epoch_slots=5,
        initial={"n-0": ("a", "b"), "n-1": ("a", "b")},
    )


def look(ran: Simulated, node: int, at_s: float) -> Poll:
    p = ran.prompts
    ended = np.nonzero((p.access == node) & (p.finished_s <= at_s))[0][-LOGGED:].tolist()
    served = tuple(
        Served(str(i), NAMES[int(p.model[i])], 1e9 + float(p.finished_s[i]),
               float(p.finished_s[i] - p.arrived_s[i]), 10, 20)
        for i in ended
    )  # fmt: skip
    holds = {"a": "ready", "b": "ready"}
    for when_s, kind, n, m in zip(*(c.tolist() for c in ran.replicas), strict=True):
        if when_s <= at_s and n == node:
            holds.pop(NAMES[m], None)
            if kind in STATES:
                holds[NAMES[m]] = STATES[kind]
    resident = tuple(Resident("", m, s) for m, s in sorted(holds.items()))
    reading = Reading(served=served, resident=resident, memory=(NodeMemory("", 2.0),), models=NAMES)
    return Poll(f"host:{node}", at_s, 1e9 + at_s, reading)


def test_swapping_is_recognised_and_what_it_costs_is_foretold() -> None:
    where = setting(scenario(), 1)
    ran = run_policy(where, "local-lru", 4.0)
    polls = [look(ran, n, INTERVAL_S * k) for k in range(int(DURATION_S / INTERVAL_S) + 1) for n in (0, 1)]
    kinds = {"host:0": Kind.LLAMA_SWAP, "host:1": Kind.LLAMA_SWAP}
    given = Given(models={m: ModelGiven(memory_gib=1.0, batching=0.0, max_concurrency=1) for m in NAMES})
    found = stretches(polls)
    seen = traffic(found, kinds)
    scene = stage(polls, found, seen, kinds, given)
    assert scene.dispatch is Dispatch.SWAPPING
    assert seen.prompts >= 0.97 * len(ran.prompts.arrived_s)
    # Seen between two looks: off by up to an interval.
    assert all(abs(m.load_s - 4.0) <= 2 * INTERVAL_S for m in scene.models)

    settings, windows = load_settings(slot_s=SLOT_S, epoch_slots=5), Windows.of(seen.duration_s)
    base = first_scenario(scene, "/nowhere.csv", DURATION_S, SLOT_S, 5, 0.0, 1)
    calibration = judge.calibrate(seen, scene, base, settings, windows, 1)
    checked = judge.check(seen, scene, calibration, base, settings, windows, 1)
    assert checked is not None
    assert abs(checked.error) < 0.35
    pairs = judge.pairs(seen, scene, calibration, base, settings, windows, range(1, 4))
    gain = judge.gain_of(pairs, checked.error)
    true = run_policy(where, "edgewise", 1.0).figures["mean_latency_s"] / ran.figures["mean_latency_s"]
    assert abs(gain.gain - (1.0 - true)) < gain.half
    assert report.verdict(gain, judge.refusals(seen, checked, gain, ()))[0] == report.PROMISE
