"""The policy hdrl as a controller of the twin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgewise.policy.dispatch import ABSENT
from edgewise.twin.arrays import COMPLETED
from edgewise.twin.run import Twin, run
from evals.hdrl.network import PRIOR_ONLY, load
from evals.hdrl.policy import FIRST_PLAN, Levels, prepare
from evals.policies import Prepared
from evals.scenario import Event, NodeDown, NodeUp, Scenario, SyntheticEntry, WorkloadEntry
from evals.setting import Setting, setting
from tests.support.tiny_worlds import tiny_model, tiny_scenario

MODELS = [tiny_model("m-0", memory_gib=2.0), tiny_model("m-1", memory_gib=2.0, mean_s=3.0)]


def twin_of(where: Setting, prepared: Prepared) -> Twin:
    twin = where.twin(prepared.rules)
    twin.stand(where.initial)
    return twin


def whole(scenario: Scenario, seed: int = 1) -> Twin:
    where = setting(scenario, seed)
    prepared = prepare(where, 0.5)
    twin = twin_of(where, prepared)
    run(twin, prepared.controller, scenario.slot_s, 50 * scenario.duration_s)
    return twin


@pytest.mark.parametrize("nodes", [1, 2, 5, 23])
@pytest.mark.parametrize("models", [1, 2, 9])
def test_any_size_runs_to_its_end(nodes: int, models: int) -> None:
    """Sizes it was not trained on too."""
    chosen = [tiny_model(f"m-{i}", mean_s=0.2) for i in range(models)]
    twin = whole(tiny_scenario([1.0] * nodes, models=chosen, memory_gib=[9.0] * nodes))
    assert (twin.state.status == COMPLETED).all()


def test_the_same_run_twice_is_the_same() -> None:
    scenario = tiny_scenario([1.0, 2.0, 0.5], models=MODELS, memory_gib=[2.0, 4.0, 2.0])
    one, other = whole(scenario), whole(scenario)
    np.testing.assert_array_equal(one.state.finished_s, other.state.finished_s)


def test_a_shift_of_demand_moves_replicas() -> None:
    """Nearly all work is of m-1 from the start; the greedy fill gave each model half of the nodes."""
    base = tiny_scenario([1.0] * 6, models=MODELS, memory_gib=[2.0] * 6, duration_s=1800.0)
    scenario = replace(
        base, workload=WorkloadEntry(synthetic=(SyntheticEntry("m-0", 0.02), SyntheticEntry("m-1", 1.0)))
    )
    where = setting(scenario, 1)
    prepared = prepare(where, 0.5)
    twin = twin_of(where, prepared)
    holders = []
    for number in range(20):
        prepared.controller.slot(twin, number)
        holders.append(int((twin.state.fleet.state[:, 1] != ABSENT).sum()))
        twin.run_until((number + 1) * 30.0, retake=True)
    assert holders[FIRST_PLAN] == 3
    assert holders[-1] > 3


def test_a_lost_node_is_planned_for_at_the_next_slot() -> None:
    """m-1 stood there alone; an epoch would be eight slots more."""
    events: list[Event] = [NodeDown(330.0, "node-down", "n-0"), NodeUp(1500.0, "node-up", "n-0")]
    scenario = tiny_scenario([1.0] * 3, models=MODELS, memory_gib=[2.0] * 3, events=events, duration_s=900.0)
    where = setting(scenario, 1)
    prepared = prepare(where, 0.5)
    twin = twin_of(where, prepared)
    for number in range(14):
        prepared.controller.slot(twin, number)
        twin.run_until((number + 1) * 30.0, retake=True)
    alive = twin.state.fleet.alive
    assert not alive[0]
    assert (twin.state.fleet.state[alive] != ABSENT).any(axis=0).all()


def test_weights_are_given_to_replicas_only_and_sum_to_one() -> None:
    scenario = tiny_scenario([1.0, 2.0, 0.5], models=MODELS, memory_gib=[2.0, 4.0, 2.0])
    where = setting(scenario, 1)
    prepared = prepare(where, 0.5)
    controller = prepared.controller
    assert isinstance(controller, Levels)
    twin = twin_of(where, prepared)
    for number in range(6):
        controller.slot(twin, number)
        stands = twin.state.fleet.state != ABSENT
        assert not controller.routed[~stands].any()
        sums = controller.routed.sum(axis=0)
        np.testing.assert_allclose(sums[stands.any(axis=0)], 1.0)
        twin.run_until((number + 1) * 30.0, retake=True)


def test_it_sees_prompts_only_when_they_have_come() -> None:
    """Two runs that differ only after 300 s are alike until then."""
    base = tiny_scenario([1.0, 2.0, 0.5], models=MODELS, memory_gib=[2.0, 4.0, 2.0])
    where = setting(base, 1)
    demand = where.arrivals.demand
    later = demand.at_s > 300.0
    other = replace(
        where, arrivals=replace(where.arrivals, demand=demand._replace(model=np.where(later, 0, demand.model)))
    )
    routed = []
    for each in (where, other):
        prepared = prepare(each, 0.5)
        twin = twin_of(each, prepared)
        assert isinstance(prepared.controller, Levels)
        for number in range(11):
            prepared.controller.slot(twin, number)
            routed.append(prepared.controller.routed.copy())
            twin.run_until((number + 1) * 30.0, retake=True)
    np.testing.assert_array_equal(np.array(routed[:11]), np.array(routed[11:]))


def test_the_prior_alone_is_another_policy() -> None:
    """What was learned matters: the networks are really used."""
    assert load() != PRIOR_ONLY
    scenario = tiny_scenario([1.0, 2.0, 0.5], models=MODELS, memory_gib=[4.0, 4.0, 4.0], rate_per_s=0.5)
    where = setting(scenario, 1)
    learned = prepare(where, 0.5)
    assert isinstance(learned.controller, Levels)
    untrained = replace(learned.controller, networks=PRIOR_ONLY)
    routed = []
    for controller in (learned.controller, untrained):
        twin = twin_of(where, learned)
        for number in range(5):
            controller.slot(twin, number)
            twin.run_until((number + 1) * 30.0, retake=True)
        routed.append(controller.routed)
    assert np.abs(routed[0] - routed[1]).max() > 0.01
