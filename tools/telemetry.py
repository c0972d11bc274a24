"""The windowing of telemetry: scrapes in, TelemetryFacts out. Pure; both readers of metrics use it.

A source (a node, a gateway) is scraped now and then; each scrape is all its series at one second of the run clock.
A source's figures are those of the window that ends with its *last* scrape, and as old as that scrape: one that
falls silent keeps its last figures, which grow older, rather than seeming to have nothing to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edgewise.domain.observation import DemandFact, ModelFact, ReplicaLoad, ServiceFact, TelemetryFacts
from tools.metrics_text import (
    ARRIVED,
    EXPECTED,
    FASTER,
    FINISHED,
    IN_FLIGHT,
    LATENCY,
    QUEUED,
    SERVICE,
    SLOWER,
    SQUARE,
    WAITING,
    WORK,
    Labels,
    Series,
)

GAUGES = frozenset({WAITING, QUEUED, IN_FLIGHT, WORK})
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scrape:
    """All series of one source as of `at_s`, run clock. whole: no line of it was unreadable."""

    at_s: float
    values: Mapping[Series, float]
    whole: bool = True


class Window(NamedTuple):
    """What one source said lately: how much its counters grew in `span_s` seconds, and the gauges at its end,
    `age_s` seconds ago."""

    grown: Mapping[Series, float]
    gauges: Mapping[Series, float]
    span_s: float
    age_s: float


class Figure(NamedTuple):
    """A number, the seconds it covers (0: one instant), and its age in seconds."""

    value: float = 0.0
    span_s: float = 0.0
    age_s: float = 0.0


NONE = Figure()


def facts_of(rings: Mapping[str, Sequence[Scrape]], now_s: float, window_s: float) -> TelemetryFacts:
    """The figures of all sources as of `now_s`, from each one's scrapes in order of time. Sources without a
    scrape are left out; what several sources say of one thing is combined (see `_merged`)."""
    windows = [window_of(trimmed(ring, window_s), now_s) for _, ring in sorted(rings.items()) if ring]
    demand = _grown(windows, window_s, ARRIVED, "access_node", "model")
    return TelemetryFacts(
        at_s=now_s,
        loads=_loads(windows),
        demand=tuple(DemandFact(a, m, round(f.value), f.span_s, f.age_s) for (a, m), f in sorted(demand.items())),
        models=_models(windows, window_s),
        services=_services(windows, window_s),
    )


def trimmed(scrapes: Sequence[Scrape], window_s: float) -> list[Scrape]:
    """The scrapes that still matter, in order: those of the last window, and the one before it, from which the
    window's growth is counted."""
    if not scrapes:
        return []
    start_s = scrapes[-1].at_s - window_s
    first = max((i for i, s in enumerate(scrapes) if s.at_s <= start_s), default=0)
    return list(scrapes[first:])


def window_of(scrapes: Sequence[Scrape], now_s: float) -> Window:
    """The window that these scrapes (at least one) span."""
    last = scrapes[-1]
    gauges = {series: value for series, value in last.values.items() if series[0] in GAUGES}
    return Window(growth(scrapes), gauges, last.at_s - scrapes[0].at_s, max(0.0, now_s - last.at_s))


def growth(scrapes: Sequence[Scrape]) -> dict[Series, float]:
    """How much each counter grew over these scrapes of one source.

    When any counter fell, or is gone from a page that was read whole, the process started again and all its
    counters with it: what they show then was counted since. A series that shows up first in a later scrape
    counted from zero: exporters show a labelled counter only once it has counted something.
    """
    total: dict[Series, float] = {}
    before: dict[Series, float] = {}
    for i, scrape in enumerate(scrapes):
        now = {series: value for series, value in scrape.values.items() if series[0] not in GAUGES}
        gone = scrape.whole and not before.keys() <= now.keys()
        if gone or any(now[series] < value for series, value in before.items() if series in now):
            before = {}
        for series, value in now.items():
            grew = value - before.get(series, 0.0) if i > 0 else 0.0
            total[series] = total.get(series, 0.0) + grew
        before.update(now)
    return total


def bucket_quantile(buckets: Mapping[float, float], q: float) -> float | None:
    """The q-quantile of a histogram from its cumulative counts by upper bound, interpolated within its bucket as
    Prometheus' histogram_quantile does; the highest finite bound when it lies beyond; None when it is empty."""
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] <= 0:
        return None
    rank = q * buckets[bounds[-1]]
    low, below = 0.0, 0.0
    for bound in bounds:
        count = max(below, buckets[bound])
        if count >= rank and count > below:
            return low if math.isinf(bound) else low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    return low


def _loads(windows: Sequence[Window]) -> tuple[ReplicaLoad, ...]:
    # Only the newest word on a replica counts: a node that moved to another address is two sources for a while.
    queued, in_flight, work = (_latest(windows, 0.0, name, "node", "model") for name in (QUEUED, IN_FLIGHT, WORK))
    return tuple(
        ReplicaLoad(
            node=key[0],
            model=key[1],
            queued=round(queued.get(key, NONE).value),
            in_flight=round(in_flight.get(key, NONE).value),
            work_s=max(0.0, work.get(key, NONE).value),
            age_s=max(figures.get(key, NONE).age_s for figures in (queued, in_flight, work)),
        )
        for key in sorted({*queued, *in_flight, *work})
    )


def _models(windows: Sequence[Window], window_s: float) -> tuple[ModelFact, ...]:
    arrived = _grown(windows, window_s, ARRIVED, "model")
    finished = _grown(windows, window_s, FINISHED, "model", "status")
    waiting = _latest(windows, window_s, WAITING, "model")
    spent = _grown(windows, window_s, f"{LATENCY}_sum", "gen_ai_request_model")
    answered = _grown(windows, window_s, f"{LATENCY}_count", "gen_ai_request_model")
    buckets = _grown(windows, window_s, f"{LATENCY}_bucket", "gen_ai_request_model", "le")
    served_s = _grown(windows, window_s, f"{SERVICE}_sum", "model")
    served = _grown(windows, window_s, f"{SERVICE}_count", "model")

    def fact(model: str) -> ModelFact:
        key = (model,)
        done, failed, shed = (finished.get((model, status), NONE) for status in ("completed", "failed", "shed"))
        counted = [done, failed, shed, *(f.get(key, NONE) for f in (arrived, answered, waiting))]
        return ModelFact(
            model=model,
            completed=round(done.value),
            window_s=max(f.span_s for f in counted),
            mean_latency_s=_ratio(spent.get(key, NONE), answered.get(key, NONE)),
            p95_latency_s=bucket_quantile(
                {_bound(le): f.value for (m, le), f in buckets.items() if m == model}, 0.95
            ),
            mean_service_s=_ratio(served_s.get(key, NONE), served.get(key, NONE)),
            waiting=round(waiting.get(key, NONE).value),
            failed=round(failed.value),
            shed=round(shed.value),
            age_s=max(f.age_s for f in counted),
        )

    keys = {*arrived, *waiting, *answered, *served, *((m,) for m, _ in finished)}
    return tuple(fact(model) for (model,) in sorted(keys))


def _services(windows: Sequence[Window], window_s: float) -> tuple[ServiceFact, ...]:
    names = (f"{SERVICE}_count", f"{SERVICE}_sum", EXPECTED, SLOWER, FASTER, SQUARE)
    counts, seen, expected, slower, faster, square = (
        _grown(windows, window_s, name, "node", "model") for name in names
    )

    def fact(key: Key, count: Figure) -> ServiceFact:
        many = count.value
        mean = (slower.get(key, NONE).value - faster.get(key, NONE).value) / many
        return ServiceFact(
            node=key[0],
            model=key[1],
            count=round(many),
            seen_s=seen.get(key, NONE).value,
            expected_s=expected.get(key, NONE).value,
            mean_log=mean,
            sd_log=math.sqrt(max(0.0, square.get(key, NONE).value / many - mean * mean)),
            window_s=count.span_s,
            age_s=count.age_s,
        )

    return tuple(
        fact(key, count) for key, count in sorted(counts.items()) if round(count.value) > 0 and key in expected
    )


def _grown(windows: Iterable[Window], overlap_s: float, name: str, *labels: str) -> dict[Key, Figure]:
    """Growth of the counter `name`, summed over all labels but these."""
    return _merged([(_summed(w.grown, name, labels), w.span_s, w.age_s) for w in windows], overlap_s)


def _latest(windows: Iterable[Window], overlap_s: float, name: str, *labels: str) -> dict[Key, Figure]:
    """Last value of the gauge `name`, summed over all labels but these."""
    return _merged([(_summed(w.gauges, name, labels), 0.0, w.age_s) for w in windows], overlap_s)


def _summed(values: Mapping[Series, float], name: str, labels: tuple[str, ...]) -> dict[Key, float]:
    sums: dict[Key, float] = {}
    for (series, pairs), value in values.items():
        if series == name:
            key = _key(pairs, labels)
            sums[key] = sums.get(key, 0.0) + value
    return sums


def _merged(sources: Sequence[tuple[Mapping[Key, float], float, float]], overlap_s: float) -> dict[Key, Figure]:
    """Sums over the sources (values, span, age) that know a key. One that was last heard more than `overlap_s`
    before the freshest has been replaced by it: its figures are of another time and would be counted beside it."""
    by_key: dict[Key, list[Figure]] = {}
    for values, span_s, age_s in sources:
        for key, value in values.items():
            by_key.setdefault(key, []).append(Figure(value, span_s, age_s))
    merged = {}
    for key, figures in by_key.items():
        freshest_s = min(f.age_s for f in figures)
        current = [f for f in figures if f.age_s <= freshest_s + overlap_s]
        merged[key] = Figure(
            sum(f.value for f in current), max(f.span_s for f in current), max(f.age_s for f in current)
        )
    return merged


def _key(pairs: Labels, labels: tuple[str, ...]) -> Key:
    named = dict(pairs)
    return tuple(named.get(label, "") for label in labels)


def _bound(le: str) -> float:
    try:
        return float(le)
    except ValueError:
        return math.inf


def _ratio(total: Figure, count: Figure) -> float | None:
    return total.value / count.value if count.value > 0 else None
