"""Each kind is sure of a part of a node's time."""

from __future__ import annotations

import pytest

from edgewise.control.floors import floored
from edgewise.domain.plan import Plan, Share, Source


def plan(*shares: Share) -> Plan:
    return Plan("p", Source.OPTIMISER, 0.0, 1.0, replicas=(), shares=shares)


def test_no_share_is_below_the_floor_and_the_order_stays() -> None:
    made = floored(plan(Share("n", "a", 0.9), Share("n", "b", 0.09), Share("n", "sd", 0.01)), 0.1)
    parts = [s.share for s in made.shares]
    assert sum(parts) == pytest.approx(1.0)
    assert parts == pytest.approx([0.1 + 0.7 * 0.9, 0.1 + 0.7 * 0.09, 0.1 + 0.7 * 0.01])


def test_shares_are_relative() -> None:
    made = floored(plan(Share("n", "a", 99.0), Share("n", "b", 1.0), Share("m", "b", 5.0)), 0.25)
    assert [s.share for s in made.shares] == pytest.approx([25 + 0.5 * 99, 25 + 0.5 * 1, 5.0])


def test_a_floor_that_cannot_be_is_equal_parts() -> None:
    made = floored(plan(Share("n", "a", 9.0), Share("n", "b", 1.0)), 0.8)
    assert [s.share for s in made.shares] == pytest.approx([5.0, 5.0])


def test_a_plan_that_keeps_the_floor_is_left_as_it_is() -> None:
    fine = plan(Share("n", "a", 0.6), Share("n", "b", 0.4))
    assert floored(fine, 0.1) is fine
    assert floored(plan(), 0.5).shares == ()
