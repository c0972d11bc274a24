"""Hindsight, regret and roll-back on worlds small enough to know the answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgewise.control.carry import Carry, looked_back, ticket
from edgewise.control.decide import Pool, decide, propose
from edgewise.control.gate import judge
from edgewise.control.hindsight import look_back, weighed
from edgewise.control.lift import Trust, handicap
from edgewise.control.regret import Entry, entries, measured, optimism, regretted, roll_back, trust, written
from edgewise.control.state import Job, Proposed
from edgewise.domain.cluster import Link, Network, NodeSpec, ReplicaState
from edgewise.domain.decision import Candidate, Decision, Mode, Realised, Rung, Score, Verdict
from edgewise.domain.model import ModelSpec, Task
from edgewise.domain.plan import Plan
from edgewise.domain.world import World
from edgewise.twin.demand import Demand
from tests.support.control_world import demand, job, observe, plan_of, ready, short_settings

# Two nodes with room for one model each; "a" and "b" take a second.
WORLD = World(
    (NodeSpec("n1", 1.0), NodeSpec("n2", 1.0), NodeSpec("n3", 1.0)),
    tuple(
        ModelSpec(m, Task.TEXT_GENERATION, 1.0, 1.0, load_s=2.0, load_cv=0.0, service_cv=0.0, deadline_s=30.0)
        for m in ("a", "b")
    ),
    Network(Link(0.0, 1000.0)),
)
SETTINGS = short_settings()
ONE_A = plan_of([("n1", "a"), ("n2", "b"), ("n3", "b")], "p-one-a")
TWO_A = plan_of([("n1", "a"), ("n2", "b"), ("n3", "a")], "p-two-a")


def decision(chosen: Plan, other: Plan, predicted: tuple[float, float], source: str = "optimiser") -> Decision:
    """An accepted change from `other` (the incumbent) to `chosen`, as (incumbent's, chosen's) scores promised."""
    old, new = predicted
    candidates = (
        Candidate("incumbent", other, Score(old, old, old)),
        Candidate(source, chosen, Score(new, new, new)),
    )
    verdict = Verdict(chosen.id, other.id, (old - new) / (old - 1), 0.05, True, "better")
    return Decision(
        "d-000003",
        3,
        0,
        12.0,
        Rung.OPTIMISER,
        Mode.ACTIVE,
        other.id,
        chosen.id,
        other.id,
        chosen,
        verdict,
        candidates,
    )


def came(model: int, rate: float, span_s: float) -> Demand:
    """Prompts of one model at even distance, entering at n1."""
    at_s = np.arange(0.0, span_s, 1 / rate)
    n = at_s.size
    kind = np.full(n, model, np.int64)
    return Demand(at_s, kind, np.zeros(n, np.int64), np.ones(n), np.ones(n))


def start(incumbent: Plan) -> Job:
    o = observe(
        WORLD, at_s=12.0, slot=3, states=ready(incumbent), demand_rows=demand(WORLD, {"a": 0.5, "b": 0.5}, 12.0)
    )
    return job(o, incumbent)


def seen(chosen: Plan, other: Plan, model: int):  # type: ignore[no-untyped-def]
    made = decision(chosen, other, (3.0, 2.0))
    found = look_back(start(other), made, came(model, 1.5, 60.0), 60.0, SETTINGS)
    assert found is not None
    return made, found


def test_a_plan_for_the_wrong_kind_is_regretted_and_offered_for_roll_back() -> None:
    # Only "b" comes, 1.5 a second: with two replicas the incumbent keeps up, with one the queue grows.
    made, found = seen(TWO_A, ONE_A, 1)
    lines = entries(made, found)
    assert lines[0].predicted == pytest.approx(0.5)
    assert lines[0].realised < -1.0
    carry = looked_back(Carry(plan=TWO_A), made, lines, 9, SETTINGS)
    offers = ticket(carry, 10, Mode.ACTIVE).offers
    assert [set(p.plan.replicas) for p in offers] == [set(ONE_A.replicas)]
    assert offers[0].source == "roll-back"
    assert "roll-back of d-000003" in offers[0].note
    assert ticket(carry, 9 + SETTINGS.epoch_slots + 1, Mode.ACTIVE).offers == ()


def test_a_plan_that_was_right_is_not_rolled_back() -> None:
    made, found = seen(TWO_A, ONE_A, 0)
    lines = entries(made, found)
    assert lines[0].realised > 0.5
    assert lines[0].right
    carry = looked_back(Carry(plan=TWO_A), made, lines, 9, SETTINGS)
    assert ticket(carry, 10, Mode.ACTIVE).offers == ()


def test_a_roll_back_goes_through_the_gate() -> None:
    """Offered while the demand is still for what was taken away, it wins; when demand has turned, it does not."""
    made, found = seen(TWO_A, ONE_A, 1)
    carry = looked_back(Carry(plan=TWO_A), made, entries(made, found), 9, SETTINGS)
    for rate, expected in (({"a": 0.05, "b": 1.5}, True), ({"a": 1.5, "b": 0.05}, False)):
        o = observe(WORLD, at_s=60.0, slot=11, states=ready(TWO_A), demand_rows=demand(WORLD, rate, 12.0))
        now = job(o, TWO_A, offers=ticket(carry, 10, Mode.ACTIVE).offers)
        pool = propose(now, SETTINGS)
        assert isinstance(pool, Pool)
        assert [p.source for p in pool.challengers] == ["optimiser", "roll-back"]
        from agents.deployer import arrange

        ruled = decide(now, SETTINGS, arrange)
        assert ("roll-back of d-000003" in ruled.verdict.reason and ruled.verdict.accepted) is expected


def test_nothing_is_weighed_when_only_weights_differ() -> None:
    same = replace(ONE_A, id="p-same")
    assert not weighed(decision(same, ONE_A, (2.0, 1.5)))
    assert look_back(start(ONE_A), replace(decision(same, ONE_A, (2.0, 1.5)), candidates=()), came(0, 1, 5), 5,
                     SETTINGS) is None  # fmt: skip


def test_without_hindsight_the_measured_objective_speaks_of_clear_failures_only() -> None:
    made = decision(TWO_A, ONE_A, (3.0, 2.0))
    (bad,) = measured(made, Realised(2, 10, 9.0, 3.2))
    assert bad.realised == pytest.approx((3.0 - 3.2) / 2)
    assert regretted(made, (bad,)) is bad
    (fair,) = measured(made, Realised(2, 10, 9.0, 3.05))
    assert regretted(made, (fair,)) is None
    assert measured(made, Realised(2, 0, None, None)) == ()
    offered = roll_back(made, bad)
    assert offered is not None
    assert "as measured" in offered.note


def line(n: int, predicted: float, realised: float, source: str = "optimiser", accepted: bool = True) -> Entry:
    return Entry(f"d-{n:06d}", n, source, predicted, realised, accepted, 0.05)


def test_who_fails_again_and_again_must_win_by_more_until_it_is_forgotten() -> None:
    ledger = tuple(line(n, 0.2, -0.1) for n in range(4))
    assert trust(ledger, 4).handicap("optimiser") == pytest.approx(0.1)
    assert trust(ledger, 4).handicap("case") == 0.0
    assert trust(ledger, 20).handicap("optimiser") == 0.0
    assert handicap([-0.5, 0.3, -0.5]) == 0.0  # two failures may be bad luck
    assert handicap([-5.0] * 5) == 0.2


def test_a_demoted_proposer_loses_what_it_would_have_won() -> None:
    old, new = Proposed("incumbent", ONE_A), Proposed("optimiser", TWO_A)

    def evaluate(plans):  # type: ignore[no-untyped-def]
        return np.array([[2.0, 2.0] if p is ONE_A else [1.9, 1.9] for p in plans])

    assert judge(old, [new], evaluate, 0.03, lambda _: []).verdict.accepted
    ruled = judge(old, [new], evaluate, 0.03, lambda _: [], "", Trust(0.0, (("optimiser", 0.1),))).verdict
    assert not ruled.accepted
    assert "failed optimiser plans 10.0%" in ruled.reason


def test_the_margin_learns_from_gains_that_did_not_come() -> None:
    too_high = tuple(line(n, 0.3, 0.2) for n in range(8))
    assert optimism(too_high) == pytest.approx(0.1)
    assert optimism(too_high[:7]) == 0.0  # too few
    assert optimism(tuple(line(n, 0.2, 0.3) for n in range(8))) == 0.0
    # What chance explains asks for nothing: differences ±0.4 around 0.05.
    noisy = tuple(line(n, 0.3, 0.25 + (0.4 if n % 2 else -0.4)) for n in range(10))
    assert optimism(noisy) == 0.0
    assert optimism(tuple(line(n, -0.3, -0.9) for n in range(8))) == 0.0  # no margin stops those


def test_lines_of_a_decision_are_kept_once() -> None:
    ledger = written((line(1, 0.1, 0.2), line(2, 0.1, 0.2)), (line(1, 0.1, -0.2),))
    assert [(e.decision, e.realised) for e in ledger] == [("d-000002", 0.2), ("d-000001", -0.2)]


def test_a_replica_state_is_enough_to_start_from() -> None:
    """Loading replicas count as coming: with one on its way the same plan is no worse than absent."""
    o = observe(WORLD, at_s=12.0, slot=3, states={("n1", "a"): ReplicaState.READY, ("n3", "a"): ReplicaState.LOADING})
    found = look_back(job(o, ONE_A), decision(TWO_A, ONE_A, (3.0, 2.0)), came(0, 1.5, 60.0), 60.0, SETTINGS)
    assert found is not None
    assert found.prompts == 90
    assert found.plans[1].gain > 0
