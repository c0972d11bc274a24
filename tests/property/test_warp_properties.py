"""Whatever the trace: the count is exact, order is kept, everything falls inside the window."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.warp import Stretch, Tape, warp, warp_by_rate, warp_stretches

# Traces are written with millisecond or coarser clocks, so ties are common; times reach days.
times = st.lists(st.integers(0, 10**9).map(lambda ms: ms / 1000), min_size=1, max_size=40).map(sorted)
coarse = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=40).map(sorted)
counts = st.lists(st.integers(0, 100), min_size=1, max_size=4)


@settings(deadline=None, max_examples=150)
@given(st.one_of(times, coarse), st.integers(0, 50), counts, st.floats(0.1, 1e5))
def test_exactly_the_stated_number_falls_in_each_window(
    rows: list[float], start: int, numbers: list[int], width: float
) -> None:
    tape = Tape.of(rows)
    stretches = [Stretch(i * width, (i + 1) * width, n) for i, n in enumerate(numbers)]
    parts = warp_stretches(tape, start, stretches)
    for part, stretch in zip(parts, stretches, strict=True):
        assert len(part.at_s) == len(part.rows) == stretch.count
        assert ((part.at_s >= stretch.begin_s) & (part.at_s < stretch.end_s)).all()
        assert (np.diff(part.at_s) >= 0).all()
    walked = np.concatenate([p.rows for p in parts])
    assert walked.tolist() == [(start + i) % len(rows) for i in range(sum(numbers))]


@settings(deadline=None, max_examples=150)
@given(times, st.integers(1, 60), st.floats(1.0, 1e4))
def test_gaps_are_scaled_by_one_constant(rows: list[float], count: int, width: float) -> None:
    tape = Tape.of(rows)
    part = warp(tape, 0, Stretch(0.0, width, count))
    gaps = np.diff(np.minimum(tape.offsets_s(0, count) * part.scale, np.nextafter(width, 0)))
    np.testing.assert_allclose(np.diff(part.at_s), gaps, atol=1e-9 * width)
    if part.scale > 0:
        np.testing.assert_allclose(tape.offsets_s(0, count + 1)[-1] * part.scale, width)


@settings(deadline=None, max_examples=100)
@given(coarse, st.integers(0, 10), st.floats(0.5, 20.0), st.floats(0.5, 20.0))
def test_a_rate_takes_all_prompts_up_to_the_end_and_no_more(
    rows: list[float], start: int, rate: float, width: float
) -> None:
    tape = Tape.of(rows)
    part = warp_by_rate(tape, start, rate, 0.0, width)
    offsets = tape.offsets_s(start, len(part.at_s) + 1) / rate
    assert (part.at_s < width).all()
    assert offsets[-1] >= width
