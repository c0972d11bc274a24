"""What is kept of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from evals.scenario import NodeDown, NodeUp, PopularityShift, Scenario, TelemetryStale
from evals.suite.digest import PLACEMENT_BINS, PROBABILITIES, digest, standing_parts
from evals.suite.events import shifts
from tests.support.fake_simulated import FakePrompts, FakeReplicas
from tests.support.tiny_worlds import tiny_model, tiny_scenario

DURATION_S = 1200.0


@dataclass(frozen=True)
class Run:
    prompts: FakePrompts
    replicas: FakeReplicas
    figures: dict[str, Any] = field(default_factory=dict)
    end_s: float = DURATION_S + 50


def run(prompts: list[tuple[float, float]], rows: Sequence[tuple[float, int, int, int]] = (), **figures: Any) -> Run:
    """prompts: (arrived, finished); rows: (at, kind, node, model)."""
    at, done = (np.array([p[i] for p in prompts]) for i in (0, 1))
    latency = np.minimum(done, DURATION_S) - at  # one that never ends counts with its age
    columns = [np.array([r[i] for r in rows], float if i == 0 else np.int64) for i in range(4)]
    return Run(FakePrompts(at, done, latency, np.zeros(at.size, np.int64)), FakeReplicas(*columns), figures)


def world(**more: Any) -> Scenario:
    return tiny_scenario((1.0, 1.0), models=[tiny_model("m-0"), tiny_model("m-1")], duration_s=DURATION_S, **more)


def test_quantiles_are_of_all_and_of_each_model() -> None:
    found = digest(world(), run([(0.0, 1.0), (0.0, 3.0)]))
    assert found.quantiles[""][0] == 1.0
    assert found.quantiles[""][-1] == 3.0
    assert found.quantiles[""][PROBABILITIES.index(0.5)] == 2.0
    assert found.quantiles["m-0"] == found.quantiles[""]
    assert found.quantiles["m-1"] == []


def test_prompts_in_system_by_bin_of_five_seconds() -> None:
    found = digest(world(), run([(2.5, 7.5), (5.0, 10.0)]))
    assert found.in_system[:3] == [0.5, 1.5, 0.0]


def test_windows_hold_request_seconds_from_a_shift_to_the_next() -> None:
    events = [
        NodeDown(100.0, "node-down", "n-0"),
        TelemetryStale(150.0, "telemetry-stale", 10.0),
        NodeUp(200.0, "node-up", "n-0"),
        PopularityShift(200.0, "popularity-shift", {"m-0": 1.0}),
    ]
    found = shifts(world(events=events))
    assert [(s.label, s.from_s, s.until_s) for s in found] == [
        ("n-0 down", 100.0, 200.0), ("n-0 up, popularity shift", 200.0, 2000.0)
    ]  # fmt: skip
    # One prompt there all the time, one from 190 to 230, one that never ends is there until the run does.
    prompts = [(0.0, 1000.0), (190.0, 230.0)]
    assert digest(world(events=events), run(prompts)).windows == pytest.approx([110.0, 830.0])
    assert digest(world(events=events), run([(1000.0, np.inf)])).windows == pytest.approx([0.0, 250.0])


def test_a_map_shows_who_was_ready_when() -> None:
    width = DURATION_S / PLACEMENT_BINS
    rows = [(0.0, 1, 0, 0), (width * 1.5, 2, 0, 0), (width * 2, 1, 1, 1), (width * 4, 5, 1, 0), (width * 5, 1, 1, 0)]
    parts = standing_parts(world(), run([], rows))
    assert parts[0, 0, :3].tolist() == pytest.approx([1.0, 0.5, 0.0])
    assert parts[1, 1, 1:5].tolist() == pytest.approx([0.0, 1.0, 1.0, 0.0])  # the node goes down
    assert parts[1, 0, 5:].tolist() == pytest.approx([1.0] * (PLACEMENT_BINS - 5))
    found = digest(world(), run([], rows))
    assert found.placement["n-0"]["m-0"][:3] in ("940", "950")
    assert "m-1" not in found.placement["n-0"]
    assert found.ready["m-1"][2] == 1.0


def test_clusters_too_large_to_draw_keep_counts_only() -> None:
    scenario = tiny_scenario([1.0] * 1001, duration_s=DURATION_S)
    found = digest(scenario, run([], [(0.0, 1, 3, 0), (0.0, 1, 900, 0)]))
    assert found.placement == {}
    assert found.ready["m-0"][0] == 2.0


def test_wall_time_is_left_out() -> None:
    assert digest(world(), run([], jain=1.0, wall_s=3.0, peak_pss_mib=9.0)).figures == {"jain": 1.0}
