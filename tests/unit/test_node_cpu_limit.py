"""A node that is held to a part of a core is as much slower as it says, whatever the length of its steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.node.turnstile import Turnstile


class Machine:
    """Wall and CPU time that only `compute` and resting move."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    def compute(self, cpu_s: float, stolen_s: float = 0.0) -> None:
        self.cpu_s += cpu_s
        self.wall_s += cpu_s + stolen_s

    def rest(self, seconds: float) -> None:
        self.wall_s += seconds

    def turnstile(self) -> Turnstile:
        return Turnstile(["a"], lambda: self.wall_s, 0.005, lambda: self.cpu_s, self.rest)


def run(machine: Machine, limit: float, steps: list[float]) -> float:
    """Wall seconds one prompt of these steps (CPU seconds) takes, as the node charges it."""
    turnstile = machine.turnstile()
    turnstile.limit_cpu(limit)
    turn = turnstile.enter("a")
    for cpu_s in steps:
        machine.compute(cpu_s)
        turnstile.step(turn)
    turnstile.settle(turn)
    used_s = turnstile.used_s(turn)
    turnstile.leave(turn)
    return used_s


def test_a_quarter_of_a_core_takes_four_times_as_long() -> None:
    machine = Machine()
    assert run(machine, 0.25, [0.02] * 10) == pytest.approx(0.8)
    assert machine.wall_s == pytest.approx(0.8)


def test_without_a_limit_nobody_rests() -> None:
    assert run(Machine(), 0.0, [0.02] * 10) == pytest.approx(0.2)


@given(st.lists(st.floats(1e-4, 0.5), min_size=1, max_size=40), st.floats(0.05, 1.0))
def test_the_limit_holds_for_steps_of_any_length(steps: list[float], limit: float) -> None:
    assert run(Machine(), limit, steps) == pytest.approx(sum(steps) / limit, rel=1e-6)


def test_time_that_others_took_from_the_host_counts_towards_the_rest() -> None:
    machine = Machine()
    turnstile = machine.turnstile()
    turnstile.limit_cpu(0.5)
    turn = turnstile.enter("a")
    machine.compute(0.1, stolen_s=0.06)  # 0.16 s passed; at half a core 0.2 s are due
    turnstile.step(turn)
    assert machine.wall_s == pytest.approx(0.2)
    turnstile.leave(turn)
