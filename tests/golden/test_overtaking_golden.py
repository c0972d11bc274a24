"""What dispatch expects where short prompts pass long ones in a queue, by hand."""

from __future__ import annotations

import math

import pytest

from edgewise.policy.dispatch import READY, FleetArrays, empty_fleet, predict


def one_node(work_s: float, prompts: float, overtakes: bool) -> FleetArrays:
    fleet = empty_fleet(1, 1)
    fleet.alive[:], fleet.state[:] = True, READY
    fleet.work_s[:], fleet.prompts[:], fleet.overtakes[:] = work_s, prompts, overtakes
    return fleet


def test_a_short_prompt_passes_most_of_the_queue_and_delays_it() -> None:
    # Five of 4 s each on average; one runs, four wait. x = 1/4: e^-x of the four are passed, the rest is ahead.
    longer = math.exp(-0.25)
    own, imposed = predict(one_node(20.0, 5.0, True), 0, 0, 0, 1.0)
    assert own == pytest.approx(4.0 + 16.0 * (1 - longer * 1.25) + 1.0)
    assert imposed == pytest.approx(4.0 * longer * 1.0)


def test_a_long_prompt_waits_for_nearly_all_and_delays_nearly_nobody() -> None:
    own, imposed = predict(one_node(20.0, 5.0, True), 0, 0, 0, 40.0)
    assert own == pytest.approx(60.0, rel=0.001)
    assert imposed == pytest.approx(4 * math.exp(-10) * 40.0)


@pytest.mark.parametrize(("work_s", "prompts"), [(0.0, 0.0), (3.0, 1.0)])
def test_without_a_queue_nothing_changes(work_s: float, prompts: float) -> None:
    assert predict(one_node(work_s, prompts, True), 0, 0, 0, 2.0) == predict(
        one_node(work_s, prompts, False), 0, 0, 0, 2.0
    )
