"""Whatever is pinned: the plan is feasible, no kind loses its last place, a pin stands or is said to be dropped."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.control.guard import project, violations
from edgewise.domain.observation import Observation
from edgewise.domain.plan import Plan, ReplicaGoal
from tests.property.test_control_guard_properties import MODELS, NODES, plans, situations
from tests.support.control_world import short_settings

PINS = st.lists(
    st.builds(ReplicaGoal, st.sampled_from([*NODES, "ghost"]), st.sampled_from([*MODELS, "unknown"])), max_size=6
)


@settings(max_examples=120, deadline=None)
@given(situations(), plans(), st.none() | plans(wild=False), st.integers(0, 8), PINS)
def test_pins_stand_or_are_said_to_be_dropped(
    o: Observation, plan: Plan, incumbent: Plan | None, asked: int, pins: list[ReplicaGoal]
) -> None:
    s = short_settings()
    got = project(plan, o, incumbent, s, asked, pins=pins)
    assert violations(got.plan, o, s) == ()
    for pin in pins:
        assert pin in got.plan.replicas or any(f"the pin of {pin.model} on {pin.node}" in n for n in got.notes)
    plain = project(plan, o, incumbent, s, asked)
    assert len({r.model for r in got.plan.replicas}) >= len({r.model for r in plain.plan.replicas})


@settings(max_examples=60, deadline=None)
@given(situations(), plans(), st.none() | plans(wild=False), st.integers(0, 8))
def test_no_pins_change_nothing(o: Observation, plan: Plan, incumbent: Plan | None, asked: int) -> None:
    s = short_settings()
    assert project(plan, o, incumbent, s, asked, pins=()) == project(plan, o, incumbent, s, asked)
