"""Warping by hand: small traces whose warped times can be worked out on paper."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from edgewise.domain.errors import BadInput
from evals.warp import Stretch, Tape, draw_start, warp, warp_by_rate, warp_stretches


def test_one_constant_puts_the_next_row_on_the_end() -> None:
    tape = Tape.of([10.0, 11.0, 13.0, 14.0, 20.0])
    part = warp(tape, 0, Stretch(0.0, 8.0, 3))
    assert part.scale == 2.0  # rows 0, 1, 2 and row 3 span 4 s of the trace, 8 s of the run
    assert part.at_s.tolist() == [0.0, 2.0, 6.0]
    assert part.rows.tolist() == [0, 1, 2]
    assert part.position == 3


def test_each_stretch_has_its_own_constant_and_the_trace_goes_on() -> None:
    tape = Tape.of([0.0, 1.0, 2.0, 6.0, 8.0, 12.0])
    first, second = warp_stretches(tape, 0, [Stretch(0.0, 10.0, 2), Stretch(10.0, 30.0, 3)])
    assert first.at_s.tolist() == [0.0, 5.0]
    assert second.rows.tolist() == [2, 3, 4]
    assert second.at_s.tolist() == [10.0, 18.0, 22.0]  # 10 s of the trace in 20 s of the run
    assert (first.scale, second.scale) == (5.0, 2.0)


def test_a_trace_that_ends_starts_again_after_one_mean_gap() -> None:
    tape = Tape.of([100.0, 101.0, 106.0])  # mean gap 3 s, so a round is 9 s
    part = warp(tape, 1, Stretch(0.0, 14.0, 4))
    assert part.rows.tolist() == [1, 2, 0, 1]
    # 101, 106, 109, 110, then 115 on the end: 14 s of the trace.
    assert part.at_s.tolist() == [0.0, 5.0, 8.0, 9.0]
    assert part.scale == 1.0


def test_ties_on_the_end_are_counted_and_keep_their_order() -> None:
    tape = Tape.of([0.0, 3.0, 3.0, 3.0, 9.0])
    part = warp(tape, 0, Stretch(0.0, 6.0, 3))
    assert part.rows.tolist() == [0, 1, 2]
    assert part.at_s[0] == 0.0
    assert part.at_s[1] == part.at_s[2] == np.nextafter(6.0, 0.0)


def test_prompts_that_all_tie_stay_one_burst() -> None:
    part = warp(Tape.of([5.0, 5.0, 5.0]), 0, Stretch(2.0, 4.0, 2))
    assert part.at_s.tolist() == [2.0, 2.0]


def test_no_prompts_leave_the_tape_where_it_is() -> None:
    part = warp(Tape.of([5.0, 6.0]), 1, Stretch(0.0, 4.0, 0))
    assert part.at_s.tolist() == []
    assert part.position == 1


def test_an_explicit_rate_scales_the_clock() -> None:
    part = warp_by_rate(Tape.of([0.0, 2.0, 4.0]), 0, 2.0, 0.0, 4.0)
    # Twice as fast: 0, 1, 2, then the next round (after one mean gap of 2 s) at 3 s; 4 s is outside.
    assert part.at_s.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert part.rows.tolist() == [0, 1, 2, 0]


def test_starts_are_drawn_where_the_window_fits() -> None:
    starts = {draw_start(5, 3, Random(seed)) for seed in range(50)}
    assert starts == {0, 1}  # from row 1, rows 1–3 and row 4 on the end
    assert {draw_start(3, 7, Random(seed)) for seed in range(50)} == {0, 1, 2}


@pytest.mark.parametrize("times", [[], [2.0, 1.0], [float("nan")]])
def test_a_tape_needs_sorted_rows(times: list[float]) -> None:
    with pytest.raises(BadInput):
        Tape.of(times)
