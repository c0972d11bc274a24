"""Scenarios in and out of YAML. Everything that is wrong with a file is said with its line and what to do."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from edgewise.control.intent_entries import Fault, Known, intents_of
from edgewise.domain.errors import BadInput
from edgewise.domain.intent import Intent
from evals import scenario as s
from evals.node_groups import compact, expand
from evals.scenario import Scenario
from evals.scenario_checks import Problem, problems
from evals.sources import trace_source
from evals.traces import nearest
from evals.yaml_places import at, line, parse, read_text, without_empty

SHIPPED = Path(__file__).parent / "scenarios"

_ADAPTER: TypeAdapter[Scenario] = TypeAdapter(Scenario)
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
# The record behind each key (or variant) of the format: whose fields are the known keys there.
_RECORDS: dict[str, type[Any]] = {
    "": Scenario, "nodes": s.NodeEntry, "power_w": s.Power, "links": s.Links, "default": s.LinkEntry,
    "pairs": s.PairEntry, "models": s.ModelEntry, "load_s": s.LoadTime, "mean": s.MeanService,
    "sized": s.SizedService, "workload": s.WorkloadEntry, "traces": s.TraceEntry, "synthetic": s.SyntheticEntry,
    "node-down": s.NodeDown, "node-up": s.NodeUp, "node-slow": s.NodeSlow, "telemetry-stale": s.TelemetryStale,
    "popularity-shift": s.PopularityShift, "hints": s.Hints, "beliefs": s.Beliefs,
}  # fmt: skip


def load_scenario(name: str | Path) -> Scenario:
    """The scenario in a file, or the shipped one of that name. Trace files found beside it become absolute.

    Raises BadInput (where = file:line) for everything that is not a valid scenario.
    """
    path = find_scenario(name)
    return parse_scenario(read_text(path, "scenario"), path)


def parse_scenario(text: str, path: Path) -> Scenario:
    """The scenario in `text`, read from `path` (for messages, and to find trace files)."""
    root, plain = parse(text, path, "scenario", "see evals/scenarios for examples")
    if not isinstance(plain, dict):
        raise BadInput("a scenario is a mapping of keys to values", where=line(root, (), path))
    plain = without_empty(plain)
    announced = plain.pop("announcements", [])
    try:
        found = _ADAPTER.validate_python(_with_distributions(plain))
    except ValidationError as error:
        # A misspelt key is also a missing one; the misspelling says more.
        found_errors = sorted(error.errors(), key=lambda e: e["type"] not in _UNKNOWN)
        raise _invalid(found_errors[0], root, path) from error
    expanded = expand(found.nodes)
    found = replace(found, nodes=expanded.nodes)
    for problem in problems(found):
        loc = problem.loc
        if loc[0] == "nodes" and len(loc) > 1 and isinstance(loc[1], int):
            loc = (loc[0], expanded.entries[loc[1]], *loc[2:])
        raise _refused(problem._replace(loc=loc), root, path)
    found = replace(found, announcements=_announcements(announced, found, root, path))
    return _with_absolute_files(found, root, path)


def to_yaml(scenario: Scenario) -> str:
    """The scenario as YAML; reads back equal. What is at its default is left out of the lists, not of the head."""
    plain = _ADAPTER.dump_python(scenario, mode="json", exclude_defaults=True, exclude_none=True)
    head = ("name", "seed", "slot_s", "epoch_slots", "duration_s", "shedding", "service")
    ordered = {key: plain.get(key, getattr(scenario, key)) for key in head}
    ordered |= {f.name: plain[f.name] for f in fields(Scenario) if f.name in plain}
    ordered["nodes"] = compact(ordered["nodes"])
    return yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, width=110)


def find_scenario(name: str | Path) -> Path:
    """A path as it is; a bare name in evals/scenarios. Raises BadInput with the nearest shipped name."""
    path = Path(name)
    if path.exists():
        return path
    shipped = sorted(p.stem for p in SHIPPED.glob("*.yaml"))
    if len(path.parts) == 1 and path.suffix in ("", ".yaml") and path.stem in shipped:
        return SHIPPED / f"{path.stem}.yaml"
    raise BadInput("no such scenario", where=str(name), hint=nearest(path.stem, shipped))


def _with_distributions(plain: Any) -> Any:
    """`distribution` may stand beside service_s as well as in it."""
    models = plain.get("models") if isinstance(plain, dict) else None
    for model in models if isinstance(models, list) else ():
        if isinstance(model, dict) and "distribution" in model and isinstance(model.get("service_s"), dict):
            model["service_s"].setdefault("distribution", model.pop("distribution"))
    return plain


def _invalid(error: ErrorDetails, root: yaml.Node, path: Path) -> BadInput:
    loc = error["loc"]
    node, trail = at(root, loc)
    where = f"{path}:{node.start_mark.line + 1}"
    if error["type"] in _UNKNOWN:
        parent = next((str(p) for p in reversed(loc[:-1]) if isinstance(p, str)), "")
        known = [f.name for f in fields(_RECORDS[parent])] if parent in _RECORDS else []
        return BadInput(f"unknown key {str(loc[-1])!r}", where=where, hint=nearest(str(loc[-1]), known))
    name = ".".join(str(part) for part in trail)
    if error["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        inside = f" in {name}" if name else ""
        return BadInput(f"key {str(loc[-1])!r} is missing{inside}", where=where, hint="add it")
    message = error["msg"].removeprefix("Value error, ")
    return BadInput(f"{name}: {message}", where=where, hint="evals/scenarios has examples")


def _announcements(plain: Any, found: Scenario, root: yaml.Node, path: Path) -> tuple[Intent, ...]:
    """A run in the twin has no local clock: times are its seconds."""
    try:
        return intents_of(plain, Known([m.id for m in found.models], [n.id for n in found.nodes]))
    except Fault as fault:
        problem = Problem(("announcements", *fault.loc), fault.message, fault.hint)
        raise _refused(problem, root, path) from fault


def _refused(problem: Problem, root: yaml.Node, path: Path) -> BadInput:
    return BadInput(problem.message, where=line(root, problem.loc, path), hint=problem.hint)


def _with_absolute_files(found: Scenario, root: yaml.Node, path: Path) -> Scenario:
    """Paths are relative to the scenario; a copy of it in a run directory must still find them."""
    traces = []
    for i, entry in enumerate(found.workload.traces):
        beside = (path.parent / entry.file).expanduser()
        if beside.is_file():
            traces.append(replace(entry, file=str(beside.resolve())))
            continue
        try:
            trace_source(entry)
        except BadInput as error:
            raise _refused(
                Problem(("workload", "traces", i, "file"), error.message, error.hint), root, path
            ) from error
        traces.append(entry)
    return replace(found, workload=replace(found.workload, traces=tuple(traces)))
