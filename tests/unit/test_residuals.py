"""Seen service against believed service: slow nodes and wrong means are told apart, and chance is not believed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgewise.control.carry import Carry, after, ticket
from edgewise.control.intake import take
from edgewise.control.residual import Residuals, corrected, corrections, follow_services, words
from edgewise.domain.decision import Mode
from edgewise.domain.observation import Observation, ServiceFact
from tests.support.planner_world import observed, plan_of

SIGMA = 0.4


def facts(
    o: Observation, rng: np.random.Generator, count: int = 6, slow: dict[str, float] | None = None,
    longer: dict[str, float] | None = None, only: dict[str, set[str]] | None = None,
) -> tuple[ServiceFact, ...]:  # fmt: skip
    """Each node finishes `count` prompts of each model; mean-one noise of spread SIGMA."""
    out = []
    for n in o.node_specs:
        for m in o.model_specs:
            if only and n.id not in only.get(m.id, {n.id}):
                continue
            times = (slow or {}).get(n.id, 1.0) * (longer or {}).get(m.id, 1.0)
            ratio = times * np.exp(rng.normal(-(SIGMA**2) / 2, SIGMA, count))
            log = np.log(ratio)
            expected = m.mean_service_s * count
            seen = float(m.mean_service_s * ratio.sum())
            out.append(ServiceFact(n.id, m.id, count, seen, expected, float(log.mean()), float(log.std()), 30.0))
    return tuple(out)


def at(o: Observation, at_s: float, services: tuple[ServiceFact, ...]) -> Observation:
    return replace(o, at_s=at_s, telemetry=replace(o.telemetry, at_s=at_s, services=services))


def followed(
    o: Observation, slots: int, seed: int = 1, first: int = 0, r: Residuals | None = None, **more: Any
) -> Residuals:
    rng = np.random.default_rng(seed)
    r = r or Residuals()
    for k in range(first, first + slots):
        r = follow_services(r, at(o, 30.0 * (k + 1), facts(o, rng, **more)))
    return r


@pytest.fixture
def o() -> Observation:
    return observed()


@pytest.mark.parametrize("seed", range(8))
def test_chance_is_not_believed(o: Observation, seed: int) -> None:
    for slots in (1, 3, 20):
        assert corrections(followed(o, slots, seed, count=2), o) == ()


def test_a_slow_node_is_found_within_two_slots_and_let_go_again(o: Observation) -> None:
    node = o.node_specs[1].id
    r = followed(o, 20)
    r = followed(o, 2, seed=2, first=20, r=r, count=3, slow={node: 8.0})
    found = corrections(r, o)
    assert [x.node for x in found if x.node] == [node]
    assert found[0].times == pytest.approx(8.0, rel=0.4)
    assert words(found[0]).startswith(f"slow node {node}: ")
    assert not [x for x in corrections(followed(o, 2, seed=3, first=22, r=r, count=3), o) if x.node]


def test_a_kind_that_takes_longer_everywhere_is_no_slow_node(o: Observation) -> None:
    model = o.model_specs[0].id
    found = corrections(followed(o, 6, longer={model: 1.6}), o)
    assert [(x.node, x.model) for x in found] == [("", model)]
    assert found[0].times == pytest.approx(1.6, rel=0.12)


def test_both_at_once(o: Observation) -> None:
    node, model = o.node_specs[0].id, o.model_specs[1].id
    found = {
        x.node or x.model: x.times for x in corrections(followed(o, 8, slow={node: 4.0}, longer={model: 0.6}), o)
    }
    assert found.keys() == {node, model}
    assert found[node] == pytest.approx(4.0, rel=0.25)
    assert found[model] == pytest.approx(0.6, rel=0.15)


def test_nodes_of_one_machine_take_longer_together(o: Observation) -> None:
    shared = replace(o, host_cores=2.0)
    everywhere = {m.id: 2.0 for m in o.model_specs}
    assert corrections(followed(shared, 6, longer=everywhere), shared) == ()


def test_the_same_figures_twice_count_once(o: Observation) -> None:
    seen = at(o, 30.0, facts(o, np.random.default_rng(1)))
    r = follow_services(Residuals(), seen)
    assert follow_services(r, seen) == r


def test_what_is_not_seen_any_more_is_forgotten(o: Observation) -> None:
    node = o.node_specs[1].id
    r = followed(o, 6, slow={node: 8.0})
    for k in range(6, 80):
        r = follow_services(r, at(o, 30.0 * (k + 1), ()))
    assert corrections(r, o) == ()


def test_specs_are_corrected_once(o: Observation) -> None:
    node, model = o.node_specs[1], o.model_specs[0]
    found = corrections(followed(o, 6, slow={node.id: 4.0}, longer={model.id: 1.5}), o)
    made = corrected(o, found)
    times = {x.node or x.model: x.times for x in found}
    assert made.node(node.id).speed == pytest.approx(node.speed / times[node.id])
    assert made.model(model.id).mean_service_s == pytest.approx(model.mean_service_s * times[model.id])
    assert corrected(made, found) is made


def test_the_decision_hears_of_it_and_the_carry_remembers(o: Observation) -> None:
    node = o.node_specs[1].id
    quiet = replace(o, slot=21, trigger="slot")
    before = followed(quiet, 20)
    carry = replace(Carry(), residuals=before, alive=tuple(n.id for n in o.alive))
    start = replace(ticket(carry, 21, Mode.ACTIVE), incumbent=plan_of(o))
    seen = at(quiet, 630.0, facts(quiet, np.random.default_rng(5), slow={node: 5.0}))
    job = take(start, seen)
    assert job.observation.trigger == "slow-node"
    assert any(f"slow node {node}" in note and "slower than believed" in note for note in job.notes)
    assert after(carry, job, None).residuals == job.residuals
    again = take(replace(start, observation=job.observation), job.observation)  # as the epoch graph and replay do
    assert again.observation == job.observation
    assert again.residuals == job.residuals
    assert math.isclose(job.observation.node(node).speed * 5.0, o.node(node).speed, rel_tol=0.4)
