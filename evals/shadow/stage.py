"""The cluster behind what was seen: its nodes and models, who stood where when, and how prompts found their node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from edgewise.domain.model import Task
from edgewise.twin.demand import Bools
from evals.scenario import NodeEntry
from evals.shadow.given import Given, ModelGiven
from evals.shadow.memory import memories
from evals.shadow.names import safe_ids
from evals.shadow.recorder import Poll
from evals.shadow.stretches import Stretch
from evals.shadow.traffic import Traffic
from tools.foreign.records import What
from tools.foreign.systems import BY_KIND, Kind

DEFAULT_LOAD_S, DEFAULT_DEADLINE_S = 20.0, 60.0
BATCHING_DOUBT = 0.3  # how far the usual batching of a system may be off


class Dispatch(StrEnum):
    """How prompts find their node today. own: served where they come in; swapping: likewise, models loaded as they
    are asked for; gateway: by our gateway's dispatch over what stands; balanced: by somebody who sends each to the
    node with the least work."""

    OWN = "own"
    SWAPPING = "swapping"
    GATEWAY = "gateway"
    BALANCED = "balanced"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as far as it is known. batching: k prompts at once run at k**batching of the speed of one in all;
    batching_said: somebody said so, else it is the usual of its system."""

    id: str
    name: str
    task: Task
    memory_gib: float
    load_s: float
    max_concurrency: int
    batching: float
    deadline_s: float
    batching_said: bool = True


@dataclass(frozen=True, slots=True)
class Stage:
    """N nodes, M models. node_of, model_of: index by the name a system gave; placement [N, M]: what stood there at
    some time; timeline: (run second, placement from then on); guessed: what is taken for granted."""

    nodes: tuple[NodeEntry, ...]
    models: tuple[ModelFacts, ...]
    node_of: Mapping[str, int]
    model_of: Mapping[str, int]
    dispatch: Dispatch
    placement: Bools
    timeline: tuple[tuple[float, Bools], ...]
    guessed: tuple[str, ...]


def stage(
    polls: Sequence[Poll],
    found: Mapping[str, Sequence[Stretch]],
    seen: Traffic,
    kinds: Mapping[str, Kind],
    given: Given,
) -> Stage:
    """Raises BadInput when a file names an endpoint that is none."""
    guessed: list[str] = []
    names = _model_names(polls, seen, found)
    ids = safe_ids(names)
    model_of = {name: i for i, name in enumerate(names)}
    raw = _node_names(found, kinds, seen)
    node_of, node_ids = _nodes(raw, given)
    stood = _stood(found, kinds, node_of, model_of, len(node_ids))
    placement = np.logical_or.reduce([p for _, p in stood]) if stood else np.zeros((len(node_ids), len(names)), bool)
    for t in seen.services + seen.latencies:
        if t.node in node_of and t.model in model_of:
            placement[node_of[t.node], model_of[t.model]] = True
    dispatch = _dispatch(found, kinds, given, placement, stood)
    if not placement.any() or dispatch is Dispatch.BALANCED:
        placement[:] = True
        guessed.append("which model stands on which node is not known: every model on every node")
    memory = memories(polls, kinds, node_of, model_of, placement, given, node_ids, dispatch is Dispatch.SWAPPING)
    guessed += memory.guessed
    loads = _load_times(polls, found)
    tasks = {t.model: t.task for p in polls if p.reading for t in p.reading.catalogue}
    models = tuple(
        _facts(name, ids[name], given.models.get(name, ModelGiven()), memory.need[i], loads.get(name),
               tasks.get(name), _system_of(name, polls, kinds), guessed)
        for i, name in enumerate(names)
    )  # fmt: skip
    speeds = {n.id: n for n in given.nodes}
    nodes = tuple(
        NodeEntry(node, float(memory.budget[i]), speeds[node].speed or 1.0 if node in speeds else 1.0,
                  speeds[node].power_w if node in speeds else None)
        for i, node in enumerate(node_ids)
    )  # fmt: skip
    return Stage(nodes, models, node_of, model_of, dispatch, placement, tuple(stood), tuple(dict.fromkeys(guessed)))


def _model_names(
    polls: Iterable[Poll], seen: Traffic, found: Mapping[str, Sequence[Stretch]]
) -> tuple[str, ...]:  # fmt: skip
    """Models that prompts came for, or that held memory; a catalogue's others play no part."""
    names = {b.model for b in seen.batches} | {t.model for t in seen.latencies + seen.services}
    names |= {r.model for several in found.values() for s in several for r in s.resident}
    return tuple(sorted(names - {""}))


def _node_names(
    found: Mapping[str, Sequence[Stretch]], kinds: Mapping[str, Kind], seen: Traffic
) -> tuple[str, ...]:  # fmt: skip
    names = {b.access for b in seen.batches} | {t.node for t in seen.latencies + seen.services} - {""}
    for endpoint, several in found.items():
        if BY_KIND[kinds[endpoint]].front:
            names |= {node for s in several for node, _ in s.busy or () if node}
        else:
            own = {r.node or endpoint for s in several for r in s.resident}
            names |= own or {endpoint}
    return tuple(sorted(names - {""}))


def _nodes(raw: Sequence[str], given: Given) -> tuple[dict[str, int], tuple[str, ...]]:
    """(index by a system's name, ids). Names that no node of a file is for go by turns to those for all endpoints."""
    if given.count is not None:
        return {name: i % given.count for i, name in enumerate(raw)}, tuple(
            f"node-{i + 1}" for i in range(given.count)
        )
    ids = safe_ids(raw)
    if not given.nodes:
        return {name: i for i, name in enumerate(raw)}, tuple(ids[name] for name in raw)
    at = {n.id: i for i, n in enumerate(given.nodes)}
    at |= {endpoint_name(n.endpoint): i for i, n in enumerate(given.nodes) if n.endpoint}
    open_to_all = [i for i, n in enumerate(given.nodes) if not n.endpoint] or list(range(len(given.nodes)))
    left = [name for name in raw if name not in at and ids[name] not in at]
    turns = {name: open_to_all[i % len(open_to_all)] for i, name in enumerate(left)}
    return {n: turns[n] if n in turns else at.get(n, at.get(ids[n], 0)) for n in raw}, tuple(
        n.id for n in given.nodes
    )


def endpoint_name(url: str) -> str:
    """The name of an endpoint: its host and port."""
    return url.removeprefix("prometheus:").split("://")[-1].split("/")[0]


def _stood(
    found: Mapping[str, Sequence[Stretch]],
    kinds: Mapping[str, Kind],
    node_of: Mapping[str, int],
    model_of: Mapping[str, int],
    nodes: int,
) -> list[tuple[float, Bools]]:
    """What was ready at each look, all endpoints together; the last known of those that were not looked at then. A
    gateway without its nodes shows where prompts are: its models stand from first to last there."""
    shape = (nodes, len(model_of))
    looks = sorted(((s.end_s, e, s) for e, several in found.items() for s in several), key=lambda x: (x[0], x[1]))
    fronts = {e for e in found if BY_KIND[kinds[e]].front}
    nodes_known = any(kinds[e] is Kind.EDGEWISE_NODE for e in found)
    blind = bool(fronts) and not nodes_known
    last = {e: np.zeros(shape, bool) for e in found if e not in fronts or not nodes_known}
    timeline: list[tuple[float, Bools]] = []
    for _, endpoint, s in looks:
        if endpoint not in last:
            continue
        if endpoint not in fronts:
            last[endpoint] = np.zeros(shape, bool)
            pairs = [(r.node or endpoint, r.model) for r in s.resident if r.state == "ready"]
        else:
            pairs = [at for at, there in (s.busy or {}).items() if there > 0]
        for node, model in pairs:
            if node in node_of and model in model_of:
                last[endpoint][node_of[node], model_of[model]] = True
        now = np.logical_or.reduce(list(last.values()))
        if timeline and timeline[-1][0] == s.begin_s:
            timeline[-1] = (s.begin_s, now)
        elif not timeline or (timeline[-1][1] != now).any():
            timeline.append((s.begin_s if timeline else 0.0, now))
    # Where prompts are shows that a replica stands, and never that one has gone.
    return [(0.0, np.logical_or.reduce([p for _, p in timeline]))] if blind and timeline else timeline


def _dispatch(
    found: Mapping[str, Sequence[Stretch]], kinds: Mapping[str, Kind], given: Given, placement: Bools,
    stood: Sequence[tuple[float, Bools]],
) -> Dispatch:  # fmt: skip
    if any(BY_KIND[kinds[e]].front for e in found):
        return Dispatch.GATEWAY
    if given.count is not None and given.count != len(found):
        return Dispatch.BALANCED
    changed = any((p != placement).any() for _, p in stood)
    if changed and any(BY_KIND[kinds[e]].swaps for e in found):
        return Dispatch.SWAPPING
    return Dispatch.OWN


def _load_times(polls: Iterable[Poll], found: Mapping[str, Sequence[Stretch]]) -> dict[str, float]:
    """Mean seconds of loads by model: as counted, else as seen between two looks (from the middle of one to that of
    another, so off by up to an interval)."""
    sums: dict[str, list[float]] = {}
    last: dict[str, Poll] = {p.endpoint: p for p in polls if p.reading is not None}
    for poll in last.values():
        assert poll.reading is not None
        for c in poll.reading.counts:  # since the process started: loads are rare
            if c.what in (What.LOAD_S, What.LOAD_COUNT):
                both = sums.setdefault(c.model, [0.0, 0.0])
                both[c.what is What.LOAD_COUNT] += c.value
    counted = {m: s / n for m, (s, n) in sums.items() if n > 0}
    for several in found.values():
        began: dict[str, float] = {}
        for s in several:
            states = {r.model: r.state for r in s.resident}
            for model, state in states.items():
                if state == "loading":
                    began.setdefault(model, s.end_s)
                elif model in began:
                    counted.setdefault(model, max(s.end_s - began.pop(model), s.span_s / 2))
    return counted


def _system_of(model: str, polls: Iterable[Poll], kinds: Mapping[str, Kind]) -> Kind:
    found = [kinds[p.endpoint] for p in polls if p.reading is not None and model in p.reading.models]
    return found[-1] if found else next(iter(kinds.values()))


def _facts(
    name: str, id_: str, given: ModelGiven, memory_gib: float, load_s: float | None, task: str | None, kind: Kind,
    guessed: list[str],
) -> ModelFacts:  # fmt: skip
    system = BY_KIND[kind]
    if given.load_s is None and load_s is None:
        guessed.append(f"how long models take to load was not seen: {DEFAULT_LOAD_S:g} s where not given")
    if given.task is None and task not in tuple(Task):
        guessed.append("what models are for is not said: text generation where not given")
    if given.batching is None and system.batching:
        said = f"what {kind} gains by batching is not said: k prompts at once run k^{system.batching:g} times as fast"
        guessed.append(f"{said}, ±{BATCHING_DOUBT:g} (--models says)")
    return ModelFacts(
        id=id_,
        name=name,
        task=given.task or (Task(task) if task in tuple(Task) else Task.TEXT_GENERATION),
        memory_gib=memory_gib,
        load_s=given.load_s or load_s or DEFAULT_LOAD_S,
        max_concurrency=given.max_concurrency or system.concurrency,
        batching=system.batching if given.batching is None else given.batching,
        deadline_s=given.deadline_s or DEFAULT_DEADLINE_S,
        batching_said=given.batching is not None or system.batching == 0,
    )
