"""From looks to traffic: growth over restarts and missed looks, arrivals from what ended and what is there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.control.seeds import generator
from evals.shadow.given import Given
from evals.shadow.measured import cv_of, mean_of, quantile
from evals.shadow.names import safe_ids
from evals.shadow.prompts import prompts, resampled
from evals.shadow.recorder import Poll
from evals.shadow.stage import Dispatch, stage
from evals.shadow.stretches import stretches
from evals.shadow.traffic import Timed, Traffic, traffic
from tools.foreign.records import Busy, Count, Reading, Resident, Served, What
from tools.foreign.systems import Kind


def look(at_s: float, ended: float | None, there: float = 0.0, sum_s: float = 0.0, whole: bool = True) -> Poll:
    """One look at an engine with the model m; ended None: the look failed."""
    if ended is None:
        return Poll("e", at_s, 1e9 + at_s, None, "no answer")
    counts = (
        Count("", "m", What.FINISHED, ended), Count("", "m", What.LATENCY_S, sum_s),
        Count("", "m", What.LATENCY_COUNT, ended),
    )  # fmt: skip
    return Poll("e", at_s, 1e9 + at_s, Reading(counts, (Busy("", "m", there),), (Resident("", "m"),), whole=whole))


def seen(polls: Sequence[Poll], kind: Kind = Kind.VLLM) -> Traffic:
    return traffic(stretches(polls), {"e": kind})


def test_what_came_is_what_ended_and_what_is_there_now() -> None:
    found = seen([look(0, 10, there=2), look(2, 14, there=1), look(4, 14, there=5)])
    assert [(b.begin_s, b.end_s, b.count) for b in found.batches] == [(0, 2, 3), (2, 4, 4)]
    assert [b.count for b in found.before] == [2]


def test_a_missed_look_loses_nothing() -> None:
    found = seen([look(0, 10), look(2, None), look(4, 16), look(6, 17)])
    assert [(b.begin_s, b.end_s, b.count) for b in found.batches] == [(0, 4, 6), (4, 6, 1)]


def test_a_restart_counts_from_zero() -> None:
    found = seen([look(0, 100, there=3, sum_s=200), look(2, 4, sum_s=6)])
    assert [b.count for b in found.batches] == [4]
    assert [(t.count, t.sum_s) for t in found.latencies] == [(4, 6)]
    assert found.restarts == {"e": 1}


def test_series_that_are_gone_from_a_whole_page_mean_a_restart() -> None:
    gone = Poll("e", 2.0, 0.0, Reading(whole=True))
    cut = Poll("e", 2.0, 0.0, Reading(whole=False))
    assert seen([look(0, 9), gone, look(4, 12)]).prompts == 12
    assert seen([look(0, 9), cut, look(4, 12)]).prompts == 3


def test_gauge_and_counter_that_disagree_for_a_moment_make_no_prompts() -> None:
    # Ended is read before what is there: one prompt is in neither, then in both.
    found = seen([look(0, 0, there=1), look(2, 0, there=0), look(4, 1, there=0)])
    assert found.prompts == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20))
def test_arrivals_balance(steps: list[tuple[int, int]]) -> None:
    ended, polls = 0, [look(0, 0)]
    for i, (more, there) in enumerate(steps, 1):
        ended += more
        polls.append(look(2.0 * i, ended, there=there))
    there_last = steps[-1][1]
    # Prompts that a gauge missed are owed, and may still be owed at the end.
    assert seen(polls).prompts >= ended + there_last
    assert seen(polls).prompts <= ended + sum(t for _, t in steps)


def test_ollama_counts_nothing_but_shows_use() -> None:
    def at(at_s: float, mark: str) -> Poll:
        return Poll("e", at_s, at_s, Reading(resident=(Resident("", "m", "ready", 2.0, mark),)))

    found = seen([at(0, "a"), at(2, "a"), at(4, "b"), at(6, "c")], Kind.OLLAMA)
    assert (found.prompts, found.latencies, found.at_least) == (0, (), {"m": 2})


def test_listed_requests_are_taken_once_and_at_their_times() -> None:
    def at(at_s: float, *several: Served) -> Poll:
        return Poll("e", at_s, 1000 + at_s, Reading(served=several))

    old, new = Served("1", "m", 999.0, 1.0), Served("2", "m", 1003.0, 2.0, 10, 20)
    found = seen([at(0, old), at(2, old), at(4, old, new), at(6, old, new)], Kind.LLAMA_SWAP)
    assert found.prompts == 1
    assert [(t.count, t.sum_s) for t in found.latencies] == [(1, 2.0)]
    (batch,) = found.batches
    assert batch.exact is not None
    assert batch.exact[0].ended_s == pytest.approx(3.0)


def test_llama_cpp_has_latency_by_littles_law() -> None:
    def at(at_s: float, tasks: tuple[str, ...], seconds: float, there: float) -> Poll:
        reading = Reading((Count("", "m", What.SERVICE_S, seconds),), (Busy("", "m", there),), tasks=tasks)
        return Poll("e", at_s, at_s, reading)

    polls = [at(0, (), 0, 0), at(10, ("1", "2"), 6, 2), at(20, ("3", "4"), 14, 2)]
    found = seen(polls, Kind.LLAMA_CPP)
    assert found.prompts == 4
    assert found.little == ("m",)
    mean, service = mean_of(found.latencies), mean_of(found.services)
    assert mean is not None
    assert mean.mean_s == pytest.approx((10 + 20) / 4)
    assert service is not None
    assert service.mean_s == pytest.approx(14 / 4)


def test_a_gateway_speaks_for_its_nodes() -> None:
    def gate(at_s: float, came: float) -> Poll:
        counts = (Count("n1", "m", What.ARRIVED, came), Count("", "m", What.LATENCY_S, 2 * came),
                  Count("", "m", What.LATENCY_COUNT, came))  # fmt: skip
        return Poll("g", at_s, at_s, Reading(counts, (Busy("n1", "m", 1.0),)))

    def node(at_s: float, ended: float) -> Poll:
        counts = (Count("n1", "m", What.FINISHED, ended), Count("n1", "m", What.SERVICE_S, ended),
                  Count("n1", "m", What.SERVICE_COUNT, ended))  # fmt: skip
        return Poll("x", at_s, at_s, Reading(counts, (), (Resident("n1", "m"),)))

    polls = [gate(0, 5), node(0, 5), gate(2, 9), node(2, 9)]
    kinds = {"g": Kind.EDGEWISE_GATEWAY, "x": Kind.EDGEWISE_NODE}
    found = stretches(polls)
    made = traffic(found, kinds)
    assert made.prompts == 4
    scene = stage(polls, found, made, kinds, Given())
    assert [n.id for n in scene.nodes] == ["n1"]
    assert scene.dispatch is Dispatch.GATEWAY
    assert scene.placement.tolist() == [[True]]


def test_prompts_are_spread_within_their_stretch_and_alike_for_a_seed() -> None:
    polls = [look(0, 0), look(2, 30), look(4, 30), look(6, 40)]
    found = stretches(polls)
    made = traffic(found, {"e": Kind.VLLM})
    scene = stage(polls, found, made, {"e": Kind.VLLM}, Given())
    one, same, other = (prompts(made, scene, seed) for seed in (1, 1, 2))
    assert ((one.at_s < 2) | ((one.at_s >= 4) & (one.at_s < 6))).all()
    assert (np.diff(one.at_s) >= 0).all()
    assert one.at_s.tolist() == same.at_s.tolist() != other.at_s.tolist()
    drawn = resampled(one, 6.0, 2.0, generator("a test"))
    assert drawn.at_s.max() < 6
    assert {len(drawn)} <= {30 * i + 10 * j for i in range(4) for j in range(4 - i)}


def test_figures_of_buckets() -> None:
    times = [Timed("n", "m", 0, 2, 10, 15.0, ((1.0, 5.0), (2.0, 10.0)))]
    assert quantile(times, 0.5) == pytest.approx(1.0)
    assert quantile(times, 0.75) == pytest.approx(1.5)
    mean = mean_of(times)
    assert mean is not None
    assert mean.mean_s == 1.5
    assert cv_of(times) == pytest.approx(0.5 / 1.5 * 2**0.5, rel=0.01)  # 5 at 0.5, 5 at 1.5 around 1.5


@given(st.lists(st.text(min_size=1, max_size=8), max_size=12))
def test_ids_are_usable_and_never_shared(names: list[str]) -> None:
    found = safe_ids(names)
    assert set(found) == set(names)
    assert len(set(found.values())) == len(found)
    assert all(i and i[0].isalnum() and i.isascii() for i in found.values())
