"""One spec of ports.Memory, over the fake and Chroma."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgewise.control.ports import Memory
from edgewise.domain.errors import BadInput, MemoryUnavailable
from edgewise.domain.plan import ReplicaGoal
from edgewise.domain.records import Case, CaseOutcome, Reach, Situation
from memory.chroma import ChromaMemory
from tests.support.fake_memory import InMemoryMemory
from tests.support.planner_world import case_of

Make = Callable[..., Memory]
HERE = Situation((("load", 0.5), ("pressure", 0.5)))


@pytest.fixture(params=["fake", "chroma"])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Memory] = []
    ticks = itertools.count()

    def build(keep: int = 100) -> Memory:
        fake = request.param == "fake"
        memory = InMemoryMemory(keep) if fake else ChromaMemory(tmp_path / "m", keep, lambda: float(next(ticks)))
        assert isinstance(memory, Memory)
        made.append(memory)
        return memory

    yield build
    for memory in made:
        await memory.aclose()


async def ids(memory: Memory, count: int = 10, where: Situation = HERE) -> list[str]:
    return [r.case.id for r in await memory.recall(where, count)]


async def test_an_empty_memory_recalls_nothing(make: Make) -> None:
    memory = make()
    assert await ids(memory) == []
    assert await memory.count() == 0


async def test_only_scored_cases_are_recalled_and_the_case_comes_back_whole(make: Make) -> None:
    memory = make()
    case = case_of("a", 0.4)
    await memory.remember(case)
    assert await ids(memory) == []
    outcome = CaseOutcome(1.5, 3.0, 0.8, 2)
    await memory.score("a", outcome)
    (found,) = await memory.recall(HERE, 3)
    assert found.case == replace(case, outcome=outcome)
    assert found.distance == pytest.approx(0.1)
    assert await memory.count() == 1


async def test_nearest_first_and_no_more_than_asked(make: Make) -> None:
    memory = make()
    for name, value in (("far", 3.0), ("near", 0.6), ("nearer", 0.5), ("middle", 1.4)):
        await memory.remember(case_of(name, value, 1.0))
    assert await ids(memory) == ["nearer", "near", "middle", "far"]
    assert await ids(memory, 2) == ["nearer", "near"]
    assert await ids(memory, 0) == []


async def test_of_two_near_twins_the_better_outcome_is_chosen(make: Make) -> None:
    memory = make()
    await memory.remember(case_of("bad", 0.51, 9.0))
    await memory.remember(case_of("good", 0.52, 1.0))
    assert await ids(memory, 1) == ["good"]
    assert await ids(memory, 2) == ["bad", "good"]  # both fit: nearest first
    await memory.remember(case_of("splendid-but-elsewhere", 2.0, 0.1))
    assert await ids(memory, 1) == ["good"]


async def test_remember_replaces_by_id(make: Make) -> None:
    memory = make()
    await memory.remember(case_of("a", 0.1, 1.0))
    await memory.remember(case_of("a", 0.7, 2.0))
    assert await memory.count() == 1
    (found,) = await memory.recall(HERE, 5)
    assert found.case == case_of("a", 0.7, 2.0)


async def test_scoring_a_forgotten_case_is_no_error_and_an_infinite_score_is(make: Make) -> None:
    memory = make()
    await memory.score("nobody", CaseOutcome(1.0, 1.0, 1.0, 1))
    assert await memory.count() == 0
    with pytest.raises(BadInput):
        await memory.score("nobody", CaseOutcome(float("nan"), 1.0, 1.0, 1))


async def test_features_that_only_one_side_has_count_as_zero(make: Make) -> None:
    memory = make()
    await memory.remember(case_of("old", 0.5, 1.0))
    wider = Situation((*HERE.features, ("new-model", 0.3), ("odd", float("nan"))))
    (found,) = await memory.recall(wider, 1)
    assert found.distance == pytest.approx(0.3)


async def test_figures_that_are_not_finite_do_not_spoil_a_case(make: Make) -> None:
    memory = make()
    odd = replace(case_of("odd", 0.5, 1.0), predicted=float("inf"))
    odd = replace(odd, situation=Situation((*odd.situation.features, ("trend", float("nan")))))
    await memory.remember(odd)
    (found,) = await memory.recall(HERE, 1)
    assert found.case.predicted == float("inf")
    assert found.distance == pytest.approx(0.0)


async def test_the_outcome_never_outweighs_a_different_situation(make: Make) -> None:
    memory = make()
    for i in range(40):
        await memory.remember(case_of(f"c{i:02}", i / 10, 40.0 - i))
    assert await ids(memory, 3, Situation((("load", 0.0), ("pressure", 0.5)))) == ["c00", "c01", "c02"]


async def test_the_memory_is_bounded_and_forgets_old_and_unscored_first(make: Make) -> None:
    memory = make(keep=4)
    await memory.remember(case_of("never-scored", 0.5))
    for i in range(6):
        await memory.remember(case_of(f"c{i}", 0.5, 1.0, at_s=float(i)))
    assert await memory.count() == 4
    assert sorted(await ids(memory)) == ["c2", "c3", "c4", "c5"]


def placed(case: Case, *nodes: str) -> Case:
    return replace(case, placement=tuple(ReplicaGoal(n, "gpt2") for n in nodes))


async def test_a_case_that_cannot_be_carried_out_is_left_out(make: Make) -> None:
    memory = make()
    await memory.remember(placed(case_of("gone", 0.5, 1.0), "edge-9"))
    await memory.remember(placed(case_of("here", 0.9, 1.0), "edge-1"))
    await memory.remember(placed(case_of("mostly", 0.5, 1.0), "edge-1", "edge-2", "edge-3", "edge-9"))
    reach = Reach((("edge-1", 4.0), ("edge-2", 4.0), ("edge-3", 4.0)), (("gpt2", 1.0),))
    found = await memory.recall(HERE, 5, reach)
    assert [(r.case.id, r.part) for r in found] == [("mostly", 0.75), ("here", 1.0)]
    assert await memory.recall(HERE, 5, replace(reach, nodes=(("edge-1", 0.5),))) == []
    assert len(await ids(memory)) == 3


async def test_the_same_case_again_and_again_is_one_case_with_means(make: Make) -> None:
    memory = make()
    for name, value, objective in (("a", 0.5, 1.0), ("b", 0.51, 2.0), ("c", 0.5, 3.0)):
        await memory.remember(case_of(name, value))
        await memory.score(name, CaseOutcome(objective, 2 * objective, 0.9, 2))
    await memory.remember(placed(case_of("other", 0.5), "edge-2"))
    await memory.score("other", CaseOutcome(1.0, 1.0, 1.0, 2))
    assert await memory.count() == 2
    found = {r.case.id: r.case for r in await memory.recall(HERE, 5)}
    assert sorted(found) == ["a", "other"]
    outcome = found["a"].outcome
    assert outcome is not None
    assert (outcome.objective, outcome.mean_latency_s) == pytest.approx((2.0, 4.0))
    assert outcome.times == 3


async def test_a_second_look_at_a_merged_case_adds_its_regret_and_counts_nothing_twice(make: Make) -> None:
    memory = make()
    for name in ("a", "b"):
        await memory.remember(case_of(name, 0.5))
        await memory.score(name, CaseOutcome(1.0, 1.0, 0.9, 2))
    for name, regret in (("b", 0.2), ("a", 0.4)):
        await memory.score(name, CaseOutcome(1.0, 1.0, 0.9, 2, regret=regret))
    (found,) = await memory.recall(HERE, 5)
    outcome = found.case.outcome
    assert outcome is not None
    assert (outcome.times, outcome.regrets) == (2, 2)
    assert outcome.regret == pytest.approx(0.3)


async def test_recalled_cases_differ_and_both_kinds_are_among_them(make: Make) -> None:
    memory = make()
    for i in range(6):
        await memory.remember(case_of(f"same-{i}", 0.5, 1.0, at_s=float(i)))
    await memory.remember(placed(case_of("other", 0.6, 1.0), "edge-2"))
    await memory.remember(placed(case_of("bad", 0.7, 4.0), "edge-3"))
    await memory.remember(placed(case_of("too-far", 1.5, 9.0), "edge-4"))
    assert await ids(memory, 2) == ["same-5", "other"]
    both = await memory.recall(HERE, 2, both=True)
    assert [r.case.id for r in both] == ["same-5", "bad"]


async def test_a_closed_memory_says_so(make: Make) -> None:
    memory = make()
    await memory.remember(case_of("a", 0.5, 1.0))
    await memory.aclose()
    await memory.aclose()
    with pytest.raises(MemoryUnavailable):
        await memory.count()
