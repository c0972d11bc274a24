"""The deployment agent of one node."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.deployer import arrange
from edgewise.control.state import NodeBrief
from edgewise.control.vetoes import without
from edgewise.domain.cluster import ReplicaState
from edgewise.domain.observation import ReplicaFact, ReplicaLoad
from edgewise.domain.plan import Change, ChangeKind
from tests.support.control_world import plan_of

LOAD, DRAIN, UNLOAD = ChangeKind.LOAD, ChangeKind.DRAIN, ChangeKind.UNLOAD


def brief(*changes: tuple[ChangeKind, str], **more: object) -> NodeBrief:
    base = NodeBrief(
        plan_id="p-test",
        node="n1",
        changes=tuple(Change("n1", model, kind) for kind, model in changes),
        replicas=(),
        loads=(),
        budget_gib=6.0,
        need_gib=(("small", 1.0), ("large", 3.0), ("huge", 5.0)),
        load_s=(("small", 5.0), ("large", 2.0), ("huge", 9.0)),
        alone=(),
        at_s=100.0,
        age_s=0.2,
        stale_after_s=15.0,
    )
    return replace(base, **more)  # type: ignore[arg-type]


def held(model: str, state: ReplicaState = ReplicaState.READY, since_s: float = 0.0, error: str = "") -> ReplicaFact:
    return ReplicaFact("n1", model, state, since_s, error=error)


def order(b: NodeBrief) -> list[tuple[str, str]]:
    return [(c.kind.value, c.model) for c in arrange(b).order]


def test_room_is_made_first_then_quick_loads() -> None:
    b = brief((LOAD, "small"), (LOAD, "large"), (DRAIN, "huge"), (UNLOAD, "huge"), replicas=(held("huge"),))
    assert order(b) == [("unload", "huge"), ("drain", "huge"), ("load", "large"), ("load", "small")]


def test_a_kind_that_nobody_serves_comes_before_a_quick_one() -> None:
    assert order(brief((LOAD, "small"), (LOAD, "large"), alone=("small",))) == [("load", "small"), ("load", "large")]


def test_old_figures_veto_everything() -> None:
    got = arrange(brief((LOAD, "small"), (DRAIN, "large"), age_s=16.0))
    assert got.order == ()
    assert {v.reason for v in got.vetoes} == {"figures of n1 are 16.0 s old"}


def test_a_load_that_just_failed_is_left_alone_for_a_while() -> None:
    failed = held("large", ReplicaState.FAILED, since_s=98.0, error="out of memory")
    got = arrange(brief((LOAD, "large"), replicas=(failed,)))
    assert got.vetoes[0].reason == "a load failed there 2.0 s ago: out of memory"
    rested = replace(failed, since_s=80.0)
    assert arrange(brief((LOAD, "large"), replicas=(rested,))).vetoes == ()


def test_what_does_not_fit_even_afterwards_is_refused_with_numbers() -> None:
    got = arrange(brief((LOAD, "huge"), replicas=(held("large"),)))
    assert got.vetoes[0].reason == "8 GiB would be needed, the node has 6"
    freed = brief((LOAD, "huge"), (DRAIN, "large"), (UNLOAD, "large"), replicas=(held("large"),))
    assert arrange(freed).vetoes == ()


@pytest.mark.parametrize(("queued", "wanted", "refused"), [(0, False, False), (3, False, True), (3, True, False)])
def test_queued_work_is_driven_off_only_when_its_memory_is_needed(queued: int, wanted: bool, refused: bool) -> None:
    changes = [(DRAIN, "large"), (UNLOAD, "large"), *([(LOAD, "huge")] if wanted else [])]
    loads = (ReplicaLoad("n1", "large", queued, 1, 2.0),)
    got = arrange(brief(*changes, replicas=(held("large"),), loads=loads))
    assert bool(got.vetoes) == refused


def test_vetoes_become_part_of_the_plan() -> None:
    plan = plan_of([("n1", "huge"), ("n2", "small")])
    orders = [arrange(brief((LOAD, "huge"), (DRAIN, "large"), age_s=99.0))]
    left = without(plan, orders)
    assert [(r.node, r.model) for r in left.replicas] == [("n2", "small"), ("n1", "large")]
    assert without(replace(plan, id="another"), orders).replicas == plan.replicas
