"""A trace as columns, sized and priced for one model. A file is parsed once: an evaluation uses it for each seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgewise.domain.errors import BadInput, UnknownNode
from edgewise.domain.model import ServiceProfile, Task
from evals.prompts import PromptLimits, size_of
from evals.scenario import ModelEntry, Scenario, SizedService, TraceEntry, model_of
from evals.sources import trace_source
from evals.traces import ModelClass, TraceRow, iter_trace, nearest
from evals.warp import Floats, Ints

LIMITS = PromptLimits()  # sizes of evaluations: what the published weights take


@dataclass(frozen=True, slots=True)
class Recorded:
    """Rows of one trace for one model, N of them, in the order of the file. Arrays are shared, and read-only.

    at_s: trace seconds. sizes: [N, 4] input tokens, output tokens, images, steps, as clipped. cost_s: expected
    service at speed 1; 1 for a model whose service does not go by size. clipped, assumed: the trace asks for more
    than the model takes, does not say how much. who: index into `askers`, −1 unknown. named: index into `places`,
    access nodes that the trace itself names, −1 none. line: of the file.
    """

    file: Path
    at_s: Floats
    sizes: Ints
    cost_s: Floats
    clipped: NDArray[np.bool_]
    assumed: NDArray[np.bool_]
    who: Ints
    named: Ints
    line: Ints
    askers: tuple[str, ...]
    places: tuple[str, ...]

    def between(self, start_s: float, until_s: float) -> Recorded:
        """The rows in [start_s, until_s)."""
        first, last = np.searchsorted(self.at_s, (start_s, until_s)).tolist()
        columns = ("at_s", "sizes", "cost_s", "clipped", "assumed", "who", "named", "line")
        return replace(self, **{name: getattr(self, name)[first:last] for name in columns})

    def check_places(self, nodes: tuple[str, ...]) -> None:
        """Raise UnknownNode (where = file:line) for an access node that the scenario has not."""
        for i, name in enumerate(self.places):
            if name not in nodes and (self.named == i).any():
                line = int(self.line[np.argmax(self.named == i)])
                what = f"access_node: {name!r} is not in the scenario"
                raise UnknownNode(what, where=f"{self.file}:{line}", hint=nearest(name, nodes))


class _Stamp(NamedTuple):
    """What tells two contents of one path apart."""

    path: Path
    mtime_ns: int
    bytes: int


def recorded(entry: TraceEntry, scenario: Scenario) -> Recorded:
    """The rows that a workload entry uses: of its class, and for its model where a row names one.

    Raises BadInput (where = file:line) for a trace that cannot be read, or has no such rows.
    """
    model = scenario.model(model_of(entry))
    source = trace_source(entry)
    # Entries that cut one trace into parts share what is read of it, which is no more than they need.
    alike = (e for e in scenario.workload.traces if (e.file, e.model_class) == (entry.file, entry.model_class))
    needed_s = max(trace_source(e).until_s for e in alike)
    rows = _of_model(_stamp(source.file), needed_s, entry.model_class, model.id, model.task, profile_of(model))
    used = rows.between(source.start_s, source.until_s)
    if used.at_s.size == 0:
        until = f" to {source.until_s:g} s" if np.isfinite(source.until_s) else " on"
        raise BadInput(
            f"no prompts for {model.id!r} from {source.start_s:g} s{until}",
            where=str(source.file),
            hint="check start_s, until_s, model_class and the trace's model column",
        )
    used.check_places(tuple(n.id for n in scenario.nodes))
    return used


def profile_of(model: ModelEntry) -> ServiceProfile | None:
    """How a model's service goes by size; None: it does not."""
    s = model.service_s
    if not isinstance(s, SizedService):
        return None
    cv = {"exponential": 1.0, "deterministic": 0.0}.get(s.distribution, s.cv)
    return ServiceProfile(s.base, s.per_input_token, s.per_output_token, s.per_image, s.per_step, cv)


def _stamp(path: Path) -> _Stamp:
    try:
        stat = path.stat()
    except OSError as error:
        raise BadInput(f"cannot read the trace: {error.strerror or error}", where=str(path)) from error
    return _Stamp(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _of_model(
    stamp: _Stamp,
    until_s: float,
    model_class: ModelClass | None,
    model: str,
    task: Task,
    profile: ServiceProfile | None,
) -> Recorded:
    """The rows of a file up to a time for one model. The stamp makes a file that changed another key."""
    near = takewhile(lambda row: row.timestamp_s < until_s, iter_trace(stamp.path))
    rows = [row for row in near if model_class in (None, row.model_class) and row.model in (None, model)]
    sized = [size_of(row, task, LIMITS) for row in rows]
    askers, places = dict[str, int](), dict[str, int]()
    who = [-1 if (asker := _asker(row)) is None else askers.setdefault(asker, len(askers)) for row in rows]
    named = [-1 if row.access_node is None else places.setdefault(row.access_node, len(places)) for row in rows]
    sizes = np.array([(s.input_tokens, s.output_tokens, s.images, s.steps) for s, _ in sized], np.int64)
    cost_s = np.array([1.0 if profile is None else profile.expected_s(size) for size, _ in sized], np.float64)
    columns = {
        "at_s": np.array([row.timestamp_s for row in rows], np.float64),
        "sizes": sizes.reshape(-1, 4),
        "cost_s": cost_s,
        "clipped": np.array([clipped for _, clipped in sized], np.bool_),
        "assumed": np.array([_assumed(row, task) for row in rows], np.bool_),
        "who": np.array(who, np.int64),
        "named": np.array(named, np.int64),
        "line": np.array([row.line for row in rows], np.int64),
    }
    for column in columns.values():
        column.setflags(write=False)
    return Recorded(file=stamp.path, **columns, askers=tuple(askers), places=tuple(places))  # type: ignore[arg-type]


def _asker(row: TraceRow) -> str | None:
    """Who asked. A client of one class is not the client of that number in another."""
    key = row.sticky_key if row.extra_json != "{}" else None
    return None if key is None else f"{row.source}/{row.model_class}/{key}"


def _assumed(row: TraceRow, task: Task) -> bool:
    if task is Task.TEXT_TO_IMAGE:
        return row.images is None or not row.extra.get("steps")
    return row.input_tokens is None or row.output_tokens is None
