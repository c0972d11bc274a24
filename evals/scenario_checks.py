"""What a scenario's keys must agree on among themselves. Pure: yields problems with the place of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from edgewise.domain.model import Task
from evals.scenario import (
    MeanService,
    PopularityShift,
    Scenario,
    SizedService,
    SyntheticEntry,
    TraceEntry,
    model_of,
)
from evals.traces import ModelClass, nearest

TASKS = {
    ModelClass.TEXT_SMALL: Task.TEXT_GENERATION,
    ModelClass.TEXT_LARGE: Task.TEXT_GENERATION,
    ModelClass.IMAGE_CAPTION: Task.IMAGE_TO_TEXT,
    ModelClass.IMAGE_GENERATION: Task.TEXT_TO_IMAGE,
}


class Problem(NamedTuple):
    """What is wrong at a place (keys and positions from the top), and what to do."""

    loc: tuple[int | str, ...]
    message: str
    hint: str


def problems(scenario: Scenario) -> Iterator[Problem]:
    """Everything that makes a well-formed scenario impossible, in the order of the file."""
    yield from _ids(scenario)
    yield from _links(scenario)
    yield from _memory(scenario)
    yield from _models(scenario)
    yield from _beliefs(scenario)
    yield from _workload(scenario)
    yield from _bursts(scenario)
    yield from _traces(scenario)
    yield from _events(scenario)


def _ids(scenario: Scenario) -> Iterator[Problem]:
    for key, ids in (("nodes", [n.id for n in scenario.nodes]), ("models", [m.id for m in scenario.models])):
        seen: set[str] = set()
        for i, name in enumerate(ids):
            if name in seen:
                yield Problem((key, i, "id"), f"id {name!r} is there twice", "give each an id of its own")
            seen.add(name)


def _links(scenario: Scenario) -> Iterator[Problem]:
    seen: Counter[frozenset[str]] = Counter()
    for i, pair in enumerate(scenario.links.pairs):
        for end, node in (("a", pair.a), ("b", pair.b)):
            yield from _unknown_node(scenario, ("links", "pairs", i, end), node)
        seen[frozenset((pair.a, pair.b))] += 1
        if pair.a == pair.b:
            yield Problem(("links", "pairs", i), "a link joins two nodes", "a node pays no network to itself")
        if seen[frozenset((pair.a, pair.b))] > 1:
            yield Problem(("links", "pairs", i), f"link {pair.a}–{pair.b} is there twice", "links are symmetric")


def _memory(scenario: Scenario) -> Iterator[Problem]:
    largest = max(scenario.nodes, key=lambda n: n.memory_gib)
    for i, model in enumerate(scenario.models):
        if model.memory_gib > largest.memory_gib:
            yield Problem(
                ("models", i, "memory_gib"),
                f"model {model.id!r} needs {model.memory_gib:g} GiB and fits no node; "
                f"the largest, {largest.id!r}, has {largest.memory_gib:g}",
                "give a node more memory",
            )
    for node, models in scenario.initial.items():
        yield from _unknown_node(scenario, ("initial", node), node)
        for i, name in enumerate(models):
            yield from _unknown_model(scenario, ("initial", node, i), name)
            if name in models[:i]:
                yield Problem(("initial", node, i), f"model {name!r} is there twice", "one replica per node")
        known = {m.id: m.memory_gib for m in scenario.models}
        used = sum(known.get(name, 0.0) for name in models)
        budget = next((n.memory_gib for n in scenario.nodes if n.id == node), used)
        if used > budget + 1e-9:
            what = f"initial models need {used:g} GiB on {node!r}, which has {budget:g}"
            yield Problem(("initial", node), what, "place fewer models there")


def _models(scenario: Scenario) -> Iterator[Problem]:
    for i, model in enumerate(scenario.models):
        service, curve, loc = model.service_s, model.batch_curve, ("models", i, "batch_curve")
        if isinstance(service, SizedService) and not any(
            (service.base, service.per_input_token, service.per_output_token, service.per_image, service.per_step)
        ):
            yield Problem(("models", i, "service_s"), f"prompts of {model.id!r} take no time", "give it a base")
        if not curve:
            continue
        if len(curve) != model.max_concurrency:
            what = f"batch_curve has {len(curve)} figures, and max_concurrency is {model.max_concurrency}"
            yield Problem(loc, what, "give one figure for each number of prompts at once")
        elif curve[0] != 1:
            yield Problem(loc, f"batch_curve begins with {curve[0]:g}", "one prompt runs at speed 1")
        elif any(b < a for a, b in pairwise(curve)):
            yield Problem(loc, "batch_curve falls", "more prompts at once must not be slower in all")
        elif any(speed > k + 1e-9 for k, speed in enumerate(curve, 1)):
            yield Problem(loc, "batch_curve makes a prompt faster than it is alone", "k prompts: at most k")


def _beliefs(scenario: Scenario) -> Iterator[Problem]:
    for model in scenario.beliefs.service_factor:
        yield from _unknown_model(scenario, ("beliefs", "service_factor", model), model)
    spread = scenario.beliefs.spread
    if spread is not None and spread[0] > spread[1]:
        yield Problem(("beliefs", "spread"), f"the spread goes from {spread[0]:g} down", "[lowest, highest]")


def _workload(scenario: Scenario) -> Iterator[Problem]:
    workload = scenario.workload
    if bool(workload.traces) == bool(workload.synthetic):
        what = "both traces and synthetic" if workload.traces else "neither traces nor synthetic"
        yield Problem(("workload",), f"the workload has {what} arrivals", "give one of the two")
    for node in workload.spatial:
        yield from _unknown_node(scenario, ("workload", "spatial", node), node)
    if workload.spatial and sum(workload.spatial.values()) <= 0:
        yield Problem(("workload", "spatial"), "the shares of access nodes are all zero", "give one a share")
    for i, synthetic in enumerate(workload.synthetic):
        loc = ("workload", "synthetic", i, "model")
        yield from _unknown_model(scenario, loc, synthetic.model)
        for model in scenario.models:
            if model.id == synthetic.model and not isinstance(model.service_s, MeanService):
                what = f"synthetic prompts have no sizes, and {model.id!r} takes its service time from them"
                yield Problem(loc, what, "give service_s as {mean, cv}")


def _bursts(scenario: Scenario) -> Iterator[Problem]:
    first: dict[str, SyntheticEntry] = {}
    for i, entry in enumerate(scenario.workload.synthetic):
        loc = ("workload", "synthetic", i, "burst_group")
        if entry.burst_group is None:
            continue
        if entry.process != "mmpp":
            yield Problem(loc, f"{entry.process} arrivals have no bursts", "give process: mmpp")
        other = first.setdefault(entry.burst_group, entry)
        if (entry.burst_s, entry.burst_ratio) != (other.burst_s, other.burst_ratio):
            what = f"entries of group {entry.burst_group!r} burst together, and their bursts differ"
            yield Problem(loc, what, "give all of them the same burst_s and burst_ratio")


def _traces(scenario: Scenario) -> Iterator[Problem]:
    entries, loaded = scenario.workload.traces, scenario.workload.target_load is not None
    for i, entry in enumerate(entries):
        loc = ("workload", "traces", i)
        if entry.model is None and entry.model_class is None:
            yield Problem(loc, "a trace needs a model_class or a model", "say which prompts go to which model")
            continue
        yield from _unknown_model(scenario, (*loc, "model" if entry.model else "model_class"), model_of(entry))
        yield from _wrong_task(scenario, loc, entry)
        if entry.until_s is not None and entry.until_s <= entry.start_s:
            what = f"no rows are before {entry.until_s:g} s and from {entry.start_s:g} s on"
            yield Problem((*loc, "until_s"), what, "until_s comes after start_s")
        if entry.rate_scale is not None and (loaded or entry.share is not None):
            what = "rate_scale is an explicit clock; it does not go with share or target_load"
            yield Problem((*loc, "rate_scale"), what, "remove one of them")
        elif entry.share is not None and not loaded:
            what = "share needs target_load: it says how many prompts there are to share"
            yield Problem((*loc, "share"), what, "add target_load to the workload")
        elif loaded and entry.share is None:
            yield Problem(loc, "target_load needs a share for each trace", "add share")


def _wrong_task(scenario: Scenario, loc: tuple[int | str, ...], entry: TraceEntry) -> Iterator[Problem]:
    for model in scenario.models:
        if model.id == model_of(entry) and entry.model_class and TASKS[entry.model_class] is not model.task:
            what = f"{model.id!r} is for {model.task}, not for {entry.model_class} prompts"
            yield Problem((*loc, "model"), what, "send the trace to another model")


def _events(scenario: Scenario) -> Iterator[Problem]:
    entries = scenario.workload.traces
    served = {model_of(t) for t in entries} | {t.model for t in scenario.workload.synthetic}
    for i, event in enumerate(scenario.events):
        loc = ("events", i)
        if event.at_s >= scenario.duration_s:
            what = f"at {event.at_s:g} s the run of {scenario.duration_s:g} s is over"
            yield Problem((*loc, "at_s"), what, "let it happen earlier")
        if not isinstance(event, PopularityShift):
            if event.node is not None:
                yield from _unknown_node(scenario, (*loc, "node"), event.node)
            continue
        if scenario.workload.target_load is None:
            what = "popularity-shift keeps target_load, and the workload has none"
            yield Problem(loc, what, "add target_load and shares to the workload")
        for model in event.shares:
            yield from _unknown(("model", model), sorted(served), (*loc, "shares", model))
        if not any(event.shares.get(m, 1.0) > 0 for m in served):
            yield Problem((*loc, "shares"), "the shift leaves no prompts at all", "give one model a share")


def _unknown_node(scenario: Scenario, loc: tuple[int | str, ...], node: str) -> Iterator[Problem]:
    yield from _unknown(("node", node), [n.id for n in scenario.nodes], loc)


def _unknown_model(scenario: Scenario, loc: tuple[int | str, ...], model: str) -> Iterator[Problem]:
    yield from _unknown(("model", model), [m.id for m in scenario.models], loc)


def _unknown(what: tuple[str, str], known: Sequence[str], loc: tuple[int | str, ...]) -> Iterator[Problem]:
    kind, name = what
    if name not in known:
        yield Problem(loc, f"{kind} {name!r} is not in the scenario", nearest(name, known))
