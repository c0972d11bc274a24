"""What came in, and how it fared: arrivals by stretch, latencies and service as measured, who served.

*Arrivals* are an arrival counter's where there is one. A system that counts prompts when they end, and says how many
are there, had `ended + there at the end − there at the beginning` come in. One that says only what ended had them
come in one mean latency earlier.

Which endpoint speaks of what: where a gateway of ours is among them, arrivals and latencies are the gateway's, and
its nodes say what they served and hold; every other endpoint is a node that prompts enter and are served at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from evals.shadow.stretches import Stretch
from tools.foreign.records import Key, Served, What
from tools.foreign.systems import BY_KIND, Kind


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts of a model that came in at an access node in a stretch. exact: their times where each is known, with
    their tokens; else None. tokens: sums over the batch, None when not said."""

    access: str
    model: str
    begin_s: float
    end_s: float
    count: int
    input_tokens: float | None = None
    output_tokens: float | None = None
    exact: tuple[Served, ...] | None = None


@dataclass(frozen=True, slots=True)
class Timed:
    """Prompts of a model that ended in a stretch, and the sum of the times they took. node "": somewhere. buckets:
    (upper bound s, how many at most that long)."""

    node: str
    model: str
    begin_s: float
    end_s: float
    count: float
    sum_s: float
    buckets: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Traffic:
    """duration_s: from the first look to the last. little: models whose latency follows from how many were there
    (Little's law), not from a clock. at_least: models whose arrivals are a lower bound, with how many. before:
    prompts that were there at the first look."""

    duration_s: float
    batches: tuple[Batch, ...]
    latencies: tuple[Timed, ...]
    services: tuple[Timed, ...]
    failed: Mapping[str, int]
    little: tuple[str, ...] = ()
    at_least: Mapping[str, int] = field(default_factory=dict)
    restarts: Mapping[str, int] = field(default_factory=dict)
    before: tuple[Batch, ...] = ()

    @property
    def prompts(self) -> int:
        return sum(b.count for b in self.batches)


def traffic(found: Mapping[str, Sequence[Stretch]], kinds: Mapping[str, Kind]) -> Traffic:
    """Names as the systems gave them; the node of an endpoint that speaks of itself is its own name."""
    fronted = any(BY_KIND[kinds[e]].front for e in found)
    batches, latencies, services, before = list[Batch](), list[Timed](), list[Timed](), list[Batch]()
    failed, little, at_least = dict[str, int](), set[str](), dict[str, int]()
    for endpoint, several in found.items():
        kind = kinds[endpoint]
        services += _times(several, (What.SERVICE_S, What.SERVICE_COUNT, What.SERVICE_BUCKET), endpoint)
        if fronted and kind is Kind.EDGEWISE_NODE:
            continue
        front = BY_KIND[kind].front
        mine = [replace(t, node="") if front else t for t in _times(several, _LATENCY, endpoint)]
        if kind is Kind.LLAMA_SWAP:
            batches += _listed(several, endpoint)
            mine = _listed_times(several, endpoint)
            for prompt in (p for s in several for p in s.served if p.failed):
                failed[prompt.model] = failed.get(prompt.model, 0) + 1
        elif kind is Kind.OLLAMA:
            for stretch in several:
                for model in stretch.used:
                    at_least[model] = at_least.get(model, 0) + 1
        elif kind is Kind.LLAMA_CPP:
            came = _by_tasks(several, endpoint)
            batches += came
            services += _seconds(several, came, endpoint)
        else:
            batches += _counted(several, endpoint, mine)
        if not mine and kind is not Kind.OLLAMA:
            nodes = {k.node or endpoint for s in several for k in s.grown} | {endpoint}
            mine = _by_littles_law(several, endpoint, [b for b in batches if b.access in nodes])
            little |= {t.model for t in mine}
        latencies += mine
        before += _there_first(several, endpoint)
        for key, value in ((k, v) for s in several for k, v in s.grown.items() if k.what is What.FAILED):
            failed[key.model] = failed.get(key.model, 0) + round(value)
    duration_s = max((s.end_s for several in found.values() for s in several), default=0.0)
    restarts = {e: n for e, several in found.items() if (n := sum(s.restarted for s in several))}
    return Traffic(
        duration_s,
        tuple(batches),
        tuple(latencies),
        tuple(services),
        failed,
        tuple(sorted(little)),
        at_least,
        restarts,
        tuple(before),
    )


_LATENCY = (What.LATENCY_S, What.LATENCY_COUNT, What.LATENCY_BUCKET)


def _node(key: Key, endpoint: str) -> str:
    return key.node or endpoint


def _times(several: Iterable[Stretch], whats: tuple[What, What, What], endpoint: str) -> list[Timed]:
    total, count, bucket = whats
    found = []
    for s in several:
        for key, ended in s.grown.items():
            if key.what is not count or ended <= 0:
                continue
            sum_s = s.grown.get(key._replace(what=total))
            if sum_s is None or sum_s < 0:
                continue
            own = [k for k in s.grown if k.what is bucket and k.node == key.node and k.model == key.model]
            buckets = tuple(sorted((k.le, s.grown[k]) for k in own))
            found.append(Timed(_node(key, endpoint), key.model, s.begin_s, s.end_s, ended, sum_s, buckets))
    return found


def _counted(several: Sequence[Stretch], endpoint: str, times: Sequence[Timed]) -> list[Batch]:
    """By an arrival counter, else by what ended and what is there."""
    if any(k.what is What.ARRIVED for s in several for k in s.grown):
        return [
            Batch(_node(key, endpoint), key.model, s.begin_s, s.end_s, round(value), *_tokens(s, key.model))
            for s in several
            for key, value in s.grown.items()
            if key.what is What.ARRIVED and value > 0
        ]
    there = any(s.busy is not None for s in several)
    keys = sorted({(k.node, k.model) for s in several for k in s.grown if k.what is What.FINISHED})
    return [
        b
        for node, model in keys
        for b in (
            _ended(several, endpoint, node, model) if there else _earlier(several, endpoint, node, model, times)
        )
    ]


def _ended(several: Iterable[Stretch], endpoint: str, node: str, model: str) -> Iterable[Batch]:
    owed = 0.0  # gauge and counter are not read at one instant: what is too little now was too much before
    for s in several:
        ended = sum(s.grown.get(Key(node, model, what), 0.0) for what in (What.FINISHED, What.FAILED))
        more = (s.busy or {}).get((node, model), 0.0) - (s.busy_before or {}).get((node, model), 0.0)
        came = ended + more + owed
        owed = min(0.0, came)
        if (count := round(max(0.0, came))) > 0:
            yield Batch(node or endpoint, model, s.begin_s, s.end_s, count, *_tokens(s, model))


def _earlier(
    several: Iterable[Stretch], endpoint: str, node: str, model: str, times: Sequence[Timed]
) -> Iterable[Batch]:  # fmt: skip
    took = {t.begin_s: t.sum_s / t.count for t in times if t.model == model and t.node == (node or endpoint)}
    for s in several:
        ended = sum(s.grown.get(Key(node, model, what), 0.0) for what in (What.FINISHED, What.FAILED))
        if (count := round(ended)) > 0:
            ago_s = took.get(s.begin_s, 0.0)
            begin_s, end_s = max(0.0, s.begin_s - ago_s), max(s.span_s, s.end_s - ago_s)
            yield Batch(node or endpoint, model, begin_s, end_s, count, *_tokens(s, model))


def _tokens(s: Stretch, model: str) -> tuple[float | None, float | None]:
    sums = [
        sum(values) if (values := [v for k, v in s.grown.items() if k.what is what and k.model == model]) else None
        for what in (What.INPUT_TOKENS, What.OUTPUT_TOKENS)
    ]
    return sums[0], sums[1]


def _there_first(several: Sequence[Stretch], endpoint: str) -> Iterable[Batch]:
    for (node, model), there in (several[0].busy_before or {}).items() if several else ():
        if model and (count := round(there)) > 0:
            yield Batch(node or endpoint, model, 0.0, 0.0, count)


def _listed(several: Iterable[Stretch], endpoint: str) -> Iterable[Batch]:
    for s in several:
        for model in sorted({p.model for p in s.served}):
            mine = tuple(p for p in s.served if p.model == model)
            yield Batch(endpoint, model, s.begin_s, s.end_s, len(mine), exact=mine)


def _listed_times(several: Iterable[Stretch], endpoint: str) -> list[Timed]:
    return [
        Timed(endpoint, p.model, s.begin_s, s.end_s, 1.0, p.took_s)
        for s in several
        for p in s.served
        if p.took_s is not None and not p.failed
    ]


def _by_tasks(several: Iterable[Stretch], endpoint: str) -> list[Batch]:
    found = []
    for s in several:
        models = sorted({k.model for k in s.grown} | {m for _, m in s.busy or ()})
        if s.tasks and models:
            found.append(Batch(endpoint, models[0], s.begin_s, s.end_s, s.tasks, *_tokens(s, models[0])))
    return found


def _seconds(several: Sequence[Stretch], came: Sequence[Batch], endpoint: str) -> list[Timed]:
    """Seconds of computing over the prompts that were seen to come: their mean service."""
    counts = {b.begin_s: b.count for b in came}
    return [
        Timed(endpoint, key.model, s.begin_s, s.end_s, float(counts.get(s.begin_s, 0)), value)
        for s in several
        for key, value in s.grown.items()
        if key.what is What.SERVICE_S and (value > 0 or counts.get(s.begin_s))
    ]


def _by_littles_law(several: Iterable[Stretch], endpoint: str, came: Sequence[Batch]) -> list[Timed]:
    """Mean latency = prompts there / prompts coming per second; those there as seen at both ends of each stretch."""
    arrived: dict[tuple[str, str, float], int] = {}
    for b in came:
        arrived[b.access, b.model, b.begin_s] = arrived.get((b.access, b.model, b.begin_s), 0) + b.count
    found = []
    for s in several:
        for (node, model), there in (s.busy or {}).items():
            area = (there + (s.busy_before or {}).get((node, model), 0.0)) / 2 * s.span_s
            count = arrived.get((node or endpoint, model, s.begin_s), 0)
            if area > 0 or count:
                found.append(Timed(node or endpoint, model, s.begin_s, s.end_s, float(count), area))
    return found
