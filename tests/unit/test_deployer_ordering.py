"""A deployer's answer may reorder, delay or veto what `arrange` says, and nothing else."""

from __future__ import annotations

import itertools
import random

import pytest

from agents.deployer import arrange
from agents.deployer_answer import DeployerAnswer, Refusal, Step
from agents.ordering import obeyed
from edgewise.control.state import NodeBrief
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.observation import ReplicaFact, ReplicaLoad
from edgewise.domain.plan import Change, ChangeKind

LOAD, DRAIN, UNLOAD = ChangeKind.LOAD, ChangeKind.DRAIN, ChangeKind.UNLOAD


def brief(*changes: tuple[ChangeKind, str], alone: tuple[str, ...] = (), age_s: float = 0.5) -> NodeBrief:
    return NodeBrief(
        plan_id="p",
        node="n",
        changes=tuple(Change("n", m, k) for k, m in changes),
        replicas=(ReplicaFact("n", "b", ReplicaState.READY), ReplicaFact("n", "c", ReplicaState.READY)),
        loads=(ReplicaLoad("n", "b", 0, 1, 2.0),),
        budget_gib=6.0,
        need_gib=(("a", 3.0), ("b", 2.0), ("c", 1.0), ("d", 1.0)),
        load_s=(("a", 3.0), ("b", 1.0), ("c", 1.0), ("d", 1.0)),
        alone=alone,
        at_s=100.0,
        age_s=age_s,
        stale_after_s=15.0,
    )


MOVES = brief((LOAD, "a"), (DRAIN, "b"), (UNLOAD, "b"), (LOAD, "d"))


def answer(*order: tuple[str, str, float], vetoes: tuple[tuple[str, str], ...] = ()) -> DeployerAnswer:
    return DeployerAnswer(
        order=[Step(change=c, model=m, wait_s=w) for c, m, w in order],
        vetoes=[Refusal(change=c, model=m, reason="busy") for c, m in vetoes],
    )


def kinds(order: tuple[Change, ...]) -> list[tuple[str, str]]:
    return [(c.kind.value, c.model) for c in order]


def test_an_empty_answer_is_arrange() -> None:
    assert obeyed(MOVES, answer(), 4.0) == arrange(MOVES)


def test_it_may_reorder_and_delay_within_a_slot() -> None:
    found = obeyed(MOVES, answer(("load", "a", 0.0), ("load", "d", 0.0), ("drain", "b", 100.0)), 4.0)
    assert kinds(found.order)[:2] == [("load", "a"), ("load", "d")]
    assert [(w.change.model, w.wait_s) for w in found.waits] == [("b", 4.0)]


def test_the_changes_of_one_replica_keep_their_order() -> None:
    found = obeyed(MOVES, answer(("unload", "b", 0.0), ("drain", "b", 0.0)), 4.0)
    steps = kinds(found.order)
    base = kinds(arrange(MOVES).order)
    assert [s for s in steps if s[1] == "b"] == [s for s in base if s[1] == "b"]


def test_it_may_veto_with_a_reason_but_not_what_nobody_serves_and_not_an_unload() -> None:
    b = brief((LOAD, "a"), (DRAIN, "b"), (UNLOAD, "b"), (LOAD, "d"), alone=("a",))
    found = obeyed(b, answer(("load", "a", 3.0), vetoes=(("load", "a"), ("load", "d"), ("unload", "b"))), 4.0)
    assert [(v.change.kind, v.change.model, v.reason) for v in found.vetoes] == [(LOAD, "d", "deployer: busy")]
    assert ("load", "a") in kinds(found.order)
    assert found.waits == ()


def test_what_arrange_refuses_stays_refused() -> None:
    old = brief((LOAD, "a"), age_s=60.0)
    found = obeyed(old, answer(("load", "a", 0.0)), 4.0)
    assert (found.order, found.vetoes) == ((), arrange(old).vetoes)


@pytest.mark.parametrize("seed", range(50))
def test_nothing_is_ever_added(seed: int) -> None:
    rng = random.Random(seed)
    every = [(k, m) for k, m in itertools.product(("load", "drain", "unload"), "abcd")]
    wanted = answer(
        *((*rng.choice(every), rng.uniform(0, 60)) for _ in range(rng.randrange(8))),
        vetoes=tuple(rng.sample(every, rng.randrange(4))),
    )
    found, base = obeyed(MOVES, wanted, 4.0), arrange(MOVES)
    assert sorted(kinds(found.order) + kinds(tuple(v.change for v in found.vetoes))) == sorted(
        kinds(base.order) + kinds(tuple(v.change for v in base.vetoes))
    )
    assert all(0 < w.wait_s <= 4.0 and w.change in found.order for w in found.waits)
