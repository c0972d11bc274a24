"""Every policy on a small scenario: nothing is lost, the same again; no tuning on the evaluation's seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgewise.domain.errors import BadInput
from edgewise.domain.model import Task
from edgewise.optimise.greedy import greedy_fill
from evals import tuning
from evals.policies import TABLE, policy_of, random_fill
from evals.scenario import (
    LoadTime,
    MeanService,
    ModelEntry,
    NodeDown,
    NodeEntry,
    Scenario,
    SyntheticEntry,
    WorkloadEntry,
)
from evals.setting import setting
from evals.simulate import Simulated, simulate


def small(**changes: object) -> Scenario:
    """Three unlike nodes, two models that fit together nowhere, ten minutes at half load."""
    scenario = Scenario(
        name="small",
        nodes=(NodeEntry("a", 3.0), NodeEntry("b", 3.0, 1.5), NodeEntry("c", 2.0, 0.7)),
        models=(
            ModelEntry("short", Task.TEXT_GENERATION, 1.5, LoadTime(3.0), MeanService(0.5), deadline_s=20.0),
            ModelEntry("long", Task.TEXT_TO_IMAGE, 2.0, LoadTime(8.0), MeanService(4.0), deadline_s=90.0),
        ),
        workload=WorkloadEntry(
            synthetic=(SyntheticEntry("short", 1.6, "mmpp"), SyntheticEntry("long", 0.2)), target_load=0.5
        ),
        duration_s=600.0,
        slot_s=20.0,
        epoch_slots=4,
    )
    return replace(scenario, **changes)  # type: ignore[arg-type]


# edgewise-memory runs four times more to learn: tests/unit/test_remembering.py
@pytest.mark.parametrize("name", [n for n in TABLE if n not in ("clairvoyant", "edgewise-memory")])
def test_every_policy_answers_every_prompt_and_does_so_again(name: str) -> None:
    first, again = simulate(small(), name, 3), simulate(small(), name, 3)
    assert first.figures["prompts_lost"] == 0
    assert first.figures["prompts_completed"] == first.figures["prompts_accepted"] > 300
    assert _bytes(first) == _bytes(again)
    assert first.figures == again.figures


@pytest.mark.parametrize("name", ["random-static", "lew-lru", "local-lru", "marginal", "edgewise"])
def test_nobody_is_lost_with_a_node(name: str) -> None:
    scenario = small(events=(NodeDown(200.0, "node-down", "b"),))
    found = simulate(scenario, name, 3)
    served = found.figures["prompts_completed"] + found.figures["prompts_lost"]
    assert served == found.figures["prompts_accepted"]
    after = (found.prompts.started_s > 200.0) & np.isfinite(found.prompts.started_s)
    assert (found.prompts.node[after] != 1).all()
    if name != "random-static":  # its placement may have had a model on that node alone
        assert found.figures["prompts_lost"] == 0


def test_prompts_are_the_same_under_every_policy() -> None:
    a, b = simulate(small(), "random", 5), simulate(small(), "edgewise", 5)
    assert (a.prompts.arrived_s == b.prompts.arrived_s).all()
    assert (a.prompts.service_s == b.prompts.service_s).all()


def test_a_clairvoyant_is_no_worse_than_what_it_could_have_been() -> None:
    best = simulate(small(), "clairvoyant", 3).figures["mean_latency_s"]
    assert best <= simulate(small(), "marginal", 3).figures["mean_latency_s"] + 1e-9


def test_a_misspelt_policy_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="no such policy") as error:
        policy_of("lew-lur")
    assert "lew-lru" in error.value.hint


def test_pilots_have_seeds_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def spy(scenario: Scenario, seed: int):  # type: ignore[no-untyped-def]
        seen.append(seed)
        return setting(scenario, seed)

    monkeypatch.setattr("evals.setting.setting", spy)
    monkeypatch.setattr(tuning, "_FOUND", {})
    assert tuning.knob_for(TABLE["dpp"], small()) in TABLE["dpp"].knobs
    assert seen
    assert min(seen) >= tuning.PILOT_SEED


def test_a_pilot_knows_nothing_of_what_comes_after_its_hour() -> None:
    scenario = small(duration_s=7200.0, events=(NodeDown(5000.0, "node-down", "b"),))
    pilot = tuning.pilot(scenario)
    assert (pilot.duration_s, pilot.events) == (3600.0, ())


def test_the_greedy_fill_places_the_largest_first_and_leaves_no_room() -> None:
    memory, speed, need = np.array([4.0, 4.0]), np.ones(2), np.array([1.0, 3.0, 3.0])
    placed = greedy_fill(memory, speed, need)
    assert placed.tolist() == [[True, True, False], [True, False, True]]


def test_a_random_fill_covers_every_model_where_it_can() -> None:
    placed = random_fill(setting(small(), 1))
    assert placed.any(axis=0).all()


def _bytes(found: Simulated) -> bytes:
    return b"".join(column.tobytes() for column in (*found.prompts, *found.replicas))
