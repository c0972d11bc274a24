"""The recorder: what a gateway saw becomes a trace that can be replayed, simulated and evaluated.

Every prompt that arrived is in it, those that were shed, failed, cancelled or never answered too: they were demand.
Times count from the first arrival, so that a replay begins with a prompt; `first_s` says where that was on the run's
clock. No text and no ids of requests are in a trace.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import orjson

from edgewise.domain.codec import from_plain
from edgewise.domain.errors import BadInput
from edgewise.domain.model import Task
from edgewise.domain.records import PromptRow
from evals.traces import DEFAULT_MODELS, MAX_COUNT, ModelClass, TraceRow, nearest
from serving.control_api.run_files import read_scenario, require_run
from tools.rundir import EVENTS, SCENARIO, read_lines

CLASS_OF_TASK = {
    Task.TEXT_GENERATION: ModelClass.TEXT_LARGE,
    Task.IMAGE_TO_TEXT: ModelClass.IMAGE_CAPTION,
    Task.TEXT_TO_IMAGE: ModelClass.IMAGE_GENERATION,
}


@dataclass(frozen=True, slots=True)
class Recording:
    """A run as a trace. first_s: the run second that is trace second 0. statuses: prompts by how they ended; unknown:
    rows without a size, by which. notes: what a reader of the trace must know."""

    rows: tuple[TraceRow, ...]
    first_s: float
    statuses: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class _Line(NamedTuple):
    number: int
    prompt: PromptRow


def record(run: Path) -> Recording:
    """The prompts of a run directory, in order of arrival; those that tie in the order of its events.jsonl. A last
    line without its end (the run goes on, or was cut off) is left out, and a note says so.

    Raises BadInput (where = file:line) for a broken line, a model that scenario.yaml does not have, no prompts.
    """
    require_run(run)
    path = run / EVENTS
    lines = [
        _Line(number, from_plain(PromptRow, row, f"{path}:{number}"))
        for number, row in read_lines(path)
        if "arrived_s" in row
    ]
    for line in lines:
        _check(line, path)
    lines.sort(key=lambda line: line.prompt.arrived_s)  # stable
    if not lines:
        raise BadInput("no prompts in the run", where=str(path), hint="record a run that prompts were sent to")
    source, classes = _scenario(run)
    first_s = lines[0].prompt.arrived_s
    rows = tuple(_row(line, path, first_s, source, classes) for line in lines)
    statuses = Counter(line.prompt.status.value for line in lines)
    unknown = {
        "input_tokens": sum(r.input_tokens is None for r in rows),
        "output_tokens": sum(r.output_tokens is None for r in rows),
    }
    return Recording(rows, first_s, dict(sorted(statuses.items())), unknown, _notes(path))


def class_of(model: str, task: Task) -> ModelClass:
    """The class that stands for a model: its own where it is a default one, else its task's."""
    return next((kind for kind, default in DEFAULT_MODELS.items() if default == model), CLASS_OF_TASK[task])


def _check(line: _Line, path: Path) -> None:
    prompt, where = line.prompt, f"{path}:{line.number}"
    if not (math.isfinite(prompt.arrived_s) and prompt.arrived_s >= 0):
        what = f"arrived_s: {prompt.arrived_s} is not a time"
        raise BadInput(what, where=where, hint="seconds ≥ 0 on the run's clock; remove or correct the line")
    for name in ("input_tokens", "output_tokens", "images"):
        value = getattr(prompt, name)
        if value is not None and not 0 <= value <= MAX_COUNT:
            what = f"{name}: {value} is not a count from 0 to {MAX_COUNT}"
            raise BadInput(what, where=where, hint="correct it, or write null when it is unknown")


def _scenario(run: Path) -> tuple[str, dict[str, ModelClass]]:
    """The trace's source, and the class of each model, as scenario.yaml has them. Its traces need not be here."""
    path = run / SCENARIO
    found = read_scenario(run)
    models = found.get("models")
    if not isinstance(models, list):
        raise BadInput("the run does not say which models it had", where=str(path), hint="it needs a list `models`")
    classes = {}
    for entry in models:
        model, task = (entry.get("id"), entry.get("task")) if isinstance(entry, dict) else (None, None)
        if not isinstance(model, str) or not isinstance(task, str) or task not in tuple(Task):
            hint = nearest(str(task), [t.value for t in Task])
            raise BadInput(f"models: {entry!r:.120} has no id or no known task", where=str(path), hint=hint)
        classes[model] = class_of(model, Task(task))
    return f"edgewise-run:{found.get('name') or run.resolve().name}", classes


def _row(line: _Line, path: Path, first_s: float, source: str, classes: Mapping[str, ModelClass]) -> TraceRow:
    number, prompt = line
    if prompt.model not in classes:
        what = f"model: {prompt.model!r} is not in {SCENARIO}"
        raise BadInput(what, where=f"{path}:{number}", hint=nearest(prompt.model, classes))
    kind = classes[prompt.model]
    text = kind in (ModelClass.TEXT_SMALL, ModelClass.TEXT_LARGE)
    return TraceRow(
        prompt.arrived_s - first_s,
        kind,
        source,
        prompt.input_tokens,
        prompt.output_tokens if prompt.output_tokens is not None else prompt.asked_output_tokens,
        0 if text and prompt.images is None else prompt.images,
        orjson.dumps(
            {"status": prompt.status.value} | ({} if prompt.steps is None else {"steps": prompt.steps})
        ).decode(),
        prompt.model,
        prompt.access_node or None,
        number,
    )


def _notes(path: Path) -> tuple[str, ...]:
    notes = ["who asked is not in a run's events, so it is unknown in the trace"]
    data = path.read_bytes()
    if not data.endswith(b"\n"):
        line = data.count(b"\n") + 1
        notes.append(f"{path.name}:{line} has no end yet and is left out")
    return tuple(notes)
