"""The windowing of telemetry holds for every course of events: counted by an oracle that sees the events."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.domain.measures import quantile
from tools.metrics_text import ARRIVED, IN_FLIGHT, LATENCY, QUEUED, WORK, Labels, Series
from tools.telemetry import Scrape, bucket_quantile, facts_of, growth, trimmed

A: Series = (ARRIVED, (("access_node", "a"), ("model", "m")))
B: Series = (ARRIVED, (("access_node", "b"), ("model", "m")))


@dataclass
class Source:
    """A process with two counters, scraped now and then. `seen` is what an all-knowing counter would say: the
    events of each scrape since the one before, without those that a restart took along."""

    at_s: float = 0.0
    counters: dict[Series, int] = field(default_factory=dict)
    pending: dict[Series, int] = field(default_factory=dict)
    scrapes: list[Scrape] = field(default_factory=list)
    seen: list[dict[Series, int]] = field(default_factory=list)

    def count(self, series: Series, events: int) -> None:
        self.counters[series] = self.counters.get(series, 0) + events
        self.pending[series] = self.pending.get(series, 0) + events

    def scrape(self, after_s: float) -> None:
        self.at_s += after_s
        self.scrapes.append(Scrape(self.at_s, {s: float(n) for s, n in self.counters.items()}))
        self.seen.append(self.pending)
        self.pending = {}

    def restart(self) -> None:
        self.counters, self.pending = {}, {}

    def hidden_restart(self) -> bool:
        """Whether a restart left no trace: every counter was past its old value when next scraped."""
        for before, after, new in zip(self.scrapes, self.scrapes[1:], self.seen[1:], strict=False):
            grew = {s: after.values.get(s, 0.0) - v for s, v in before.values.items()}
            if all(d >= 0 for d in grew.values()) and any(d != new.get(s, 0) for s, d in grew.items()):
                return True
        return False


@st.composite
def sources(draw: st.DrawFn, restarts: bool = True) -> Source:
    source = Source()
    source.scrape(draw(st.floats(0.1, 2.0)))
    kinds = ["a", "b", "scrape", *(["restart"] if restarts else [])]
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=30)):
        if kind == "scrape":
            source.scrape(draw(st.floats(0.1, 3.0)))
        elif kind == "restart":
            source.restart()
        else:
            source.count(A if kind == "a" else B, draw(st.integers(1, 5)))
    return source


def _sum(seen: list[dict[Series, int]], series: Series) -> int:
    return sum(s.get(series, 0) for s in seen)


@given(sources())
def test_growth_counts_each_scraped_event_once_whatever_restarts(source: Source) -> None:
    grown = growth(source.scrapes)
    assert all(value >= 0 for value in grown.values())
    if not source.hidden_restart():
        for series in (A, B):
            assert grown.get(series, 0.0) == _sum(source.seen[1:], series)


@given(sources(restarts=False), st.data())
def test_growth_of_two_stretches_adds_up(source: Source, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(source.scrapes) - 1))
    whole = growth(source.scrapes).get(A, 0.0)
    # A series that begins after the cut counts from zero in the whole, and is unknown to the first part.
    second = growth([source.scrapes[cut], *source.scrapes[cut + 1 :]]).get(A, 0.0)
    assert whole == growth(source.scrapes[: cut + 1]).get(A, 0.0) + second


@given(sources(restarts=False), st.floats(0.5, 20.0), st.floats(0.0, 50.0))
def test_demand_is_that_of_the_window_that_ends_with_the_last_scrape(
    source: Source, window_s: float, silence_s: float
) -> None:
    kept = trimmed(source.scrapes, window_s)
    first = source.scrapes.index(kept[0])
    facts = facts_of({"gateway": source.scrapes}, source.at_s + silence_s, window_s)
    told = {d.access_node: d for d in facts.demand}
    for node, series in (("a", A), ("b", B)):
        expected = _sum(source.seen[first + 1 :], series)
        assert (told[node].arrivals if node in told else 0) == expected
    for fact in facts.demand:
        assert fact.window_s == pytest.approx(source.at_s - kept[0].at_s)
        assert fact.age_s == pytest.approx(silence_s)


@given(sources(), st.floats(0.5, 20.0))
def test_trimming_again_and_as_one_goes_changes_nothing(source: Source, window_s: float) -> None:
    ring: list[Scrape] = []
    for scrape in source.scrapes:
        ring = trimmed([*ring, scrape], window_s)
    assert ring == trimmed(source.scrapes, window_s) == trimmed(ring, window_s)
    assert ring[-1].at_s - ring[0].at_s >= min(window_s, source.at_s - source.scrapes[0].at_s) - 1e-9
    assert all(s.at_s > ring[-1].at_s - window_s for s in ring[1:])


@given(st.lists(st.floats(0.01, 50.0), min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], q: float) -> None:
    bounds = [0.1, 0.5, 1.0, 5.0, 10.0, 100.0]
    buckets = {b: float(sum(v <= b for v in values)) for b in [*bounds, float("inf")]}
    estimate = bucket_quantile(buckets, q)
    assert estimate is not None
    ordered = sorted(values)
    # The estimate's rank is q·n; the true value of that rank sits between these two order statistics.
    low, high = quantile(ordered, max(0.0, q - 1 / len(values))), quantile(ordered, min(1.0, q + 1 / len(values)))
    assert low is not None
    assert high is not None
    assert max((b for b in bounds if b < low), default=0.0) <= estimate
    assert estimate <= min(b for b in bounds if b >= high)


@given(st.dictionaries(st.sampled_from([0.1, 1.0, float("inf")]), st.integers(0, 5).map(float)))
def test_a_quantile_of_any_buckets_is_a_finite_bound_or_nothing(buckets: dict[float, float]) -> None:
    estimate = bucket_quantile(buckets, 0.95)
    assert estimate is None or 0.0 <= estimate <= 1.0


@given(st.integers(0, 9), st.integers(0, 9), st.floats(0.0, 99.0), st.floats(0.0, 30.0))
def test_only_the_newest_word_on_a_replica_counts(queued: int, in_flight: int, work_s: float, gap_s: float) -> None:
    labels: Labels = (("model", "m"), ("node", "n"))
    old = {(QUEUED, labels): 50.0, (IN_FLIGHT, labels): 50.0, (WORK, labels): 50.0}
    new = {(QUEUED, labels): float(queued), (IN_FLIGHT, labels): float(in_flight), (WORK, labels): work_s}
    rings = {"old address": [Scrape(10.0, old)], "new address": [Scrape(10.5 + gap_s, new)]}
    (load,) = facts_of(rings, 50.0, 20.0).loads
    assert (load.queued, load.in_flight, load.work_s) == (queued, in_flight, work_s)
    assert load.age_s == pytest.approx(39.5 - gap_s)


def test_two_gateways_add_up_and_a_replaced_one_does_not() -> None:
    def ring(end_s: float) -> list[Scrape]:
        return [Scrape(end_s - 5.0, {A: 0.0}), Scrape(end_s, {A: 4.0})]

    (both,) = facts_of({"g1": ring(100.0), "g2": ring(99.0)}, 101.0, 20.0).demand
    assert (both.arrivals, both.age_s) == (8, 2.0)
    (one,) = facts_of({"g1": ring(100.0), "gone": ring(60.0)}, 101.0, 20.0).demand
    assert (one.arrivals, one.age_s) == (4, 1.0)


def test_a_counter_gone_from_a_whole_page_means_a_restart_of_all() -> None:
    pages: list[dict[Series, float]] = [{A: 5.0, B: 3.0}, {B: 4.0}, {A: 7.0, B: 4.0}]
    assert growth([Scrape(float(i), page) for i, page in enumerate(pages)]) == {A: 7.0, B: 4.0}


def test_an_unreadable_line_is_no_restart() -> None:
    pages = [{A: 5.0, B: 3.0}, {B: 4.0}, {A: 7.0, B: 4.0}]
    scrapes = [Scrape(float(i), page, whole=i != 1) for i, page in enumerate(pages)]
    assert growth(scrapes) == {A: 2.0, B: 1.0}


def test_latency_is_summed_over_operations_and_needs_answers() -> None:
    def page(count: float, total: float) -> dict[Series, float]:
        values: dict[Series, float] = {}
        for operation in ("chat", "text_completion"):
            labels = (("gen_ai_operation_name", operation), ("gen_ai_request_model", "m"))
            values[(f"{LATENCY}_sum", labels)] = total
            values[(f"{LATENCY}_count", labels)] = count
            for le, part in (("1.0", 0.5), ("+Inf", 1.0)):
                values[(f"{LATENCY}_bucket", (*labels, ("le", le)))] = count * part
        return values

    (fact,) = facts_of({"g": [Scrape(0.0, page(0, 0)), Scrape(5.0, page(4, 10.0))]}, 5.0, 20.0).models
    assert fact.mean_latency_s == 2.5
    assert fact.p95_latency_s == 1.0
    (idle,) = facts_of({"g": [Scrape(0.0, page(4, 10)), Scrape(5.0, page(4, 10.0))]}, 5.0, 20.0).models
    assert (idle.mean_latency_s, idle.p95_latency_s, idle.window_s) == (None, None, 5.0)
