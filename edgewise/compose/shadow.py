"""`edgewise shadow`: look at serving that exists, and say what edgewise would have done there."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from rich.console import Console

from edgewise.compose.interruptible import until_signalled
from edgewise.compose.plan import decision_for
from edgewise.domain.codec import from_json, to_json, to_plain
from edgewise.domain.errors import BadInput, RunFailed
from edgewise.settings import load_settings
from evals.scenario import Scenario
from evals.scenario_file import to_yaml
from evals.shadow import judge, report
from evals.shadow.given import Given, load_given
from evals.shadow.judge import Windows
from evals.shadow.measured import mean_of
from evals.shadow.prompts import prompts, trace_rows
from evals.shadow.proposal import observation
from evals.shadow.recorder import Poll, record
from evals.shadow.stage import endpoint_name, stage
from evals.shadow.stretches import stretches
from evals.shadow.traffic import traffic
from evals.shadow.twin import LINK_MS, first_scenario, scenario_of
from evals.traces import write_trace
from tools.clock import RunClock
from tools.foreign.attach import PROMETHEUS, Endpoint, Look
from tools.foreign.prometheus import PrometheusLook
from tools.foreign.systems import Kind
from tools.rundir import LineWriter, write_json

POLLS, OBSERVED, TRACE, SCENARIO, PLAN, REPORT = (
    "polls.jsonl", "observed.json", "trace.csv.gz", "scenario.yaml", "plan.json", "shadow.json",
)  # fmt: skip
OBSERVATION, ENDPOINTS = "observation.json", "endpoints.json"
EPOCH_SLOTS, MOST_SLOT_S, SLOTS = 5, 30.0, 40
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ShadowOptions:
    """urls: base URLs, `prometheus:URL` for a Prometheus. nodes: a number or file. models: a file. again: a folder
    that was recorded before, instead of URLs. slot_s None: by the length of the recording."""

    urls: tuple[str, ...] = ()
    duration_s: float = 300.0
    interval_s: float = 2.0
    nodes: str | None = None
    models: Path | None = None
    out: Path | None = None
    seeds: int = 8
    seed: int = 1
    slot_s: float | None = None
    link_ms: float = LINK_MS
    again: Path | None = None

    def check(self) -> None:
        """Raise BadInput for what cannot work."""
        if bool(self.urls) == (self.again is not None):
            raise BadInput("give URLs to look at, or --from DIR of an earlier recording", hint="edgewise shadow URL")
        if not (math.isfinite(self.duration_s) and 1.0 <= self.duration_s <= 7 * 86400):
            raise BadInput(f"--duration {self.duration_s:g}: seconds, 1 to a week")
        if not 0.1 <= self.interval_s <= self.duration_s:
            raise BadInput(f"--interval {self.interval_s:g}: seconds, 0.1 up to the duration")
        if self.seeds < 2:
            raise BadInput(f"--seeds {self.seeds}: at least 2, an interval is made of their spread")
        if self.slot_s is not None and not 0.5 <= self.slot_s <= 3600:
            raise BadInput(f"--slot-s {self.slot_s:g}: seconds, 0.5 to 3600")
        if not (math.isfinite(self.link_ms) and self.link_ms >= 0):
            raise BadInput(f"--link-ms {self.link_ms:g}: milliseconds, 0 or more")
        names = [endpoint_name(u) for u in self.urls]
        if len(set(names)) < len(names):
            raise BadInput("one endpoint is given twice", hint="give each once")


def run_shadow(options: ShadowOptions, say: Say) -> dict[str, Any]:
    """Records (or reads a recording), judges, writes the files; the document. Raises an EdgewiseError."""
    options.check()
    given = load_given(options.nodes, options.models)  # a mistake there shows before minutes of recording
    if options.again is not None:
        polls, kinds, urls = _read_recording(options.again)
        out = options.out or options.again
        out.mkdir(parents=True, exist_ok=True)
    else:
        out = options.out or Path("runs") / time.strftime("shadow-%Y%m%dT%H%M%SZ", time.gmtime())
        _fresh(out)
        try:
            polls, kinds, urls = asyncio.run(until_signalled(_record(options, out, say)))
        except RunFailed as error:
            hint = f"what was recorded is kept: edgewise shadow --from {out}"
            raise RunFailed(error.message, where=str(out), hint=hint) from error
    document = _judged(options, given, polls, kinds, urls, out, say)
    write_json(out / REPORT, document)
    return document


def _fresh(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput("the directory is not empty", where=str(out), hint="name a new one, or --from it")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot make the directory: {error.strerror}", where=str(out)) from error


async def _record(
    options: ShadowOptions, out: Path, say: Say
) -> tuple[list[Poll], dict[str, Kind], dict[str, str]]:  # fmt: skip
    timeout_s = max(1.0, min(5.0, options.interval_s))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        looks: list[Look] = []
        for url in options.urls:
            name = endpoint_name(url)
            if url.startswith(PROMETHEUS):
                looks.append(PrometheusLook(name, url.removeprefix(PROMETHEUS), timeout_s))
            else:
                looks.append(Endpoint.at(session, name, url, timeout_s))
        await asyncio.gather(*(look.find() for look in looks))
        kinds = {name: kind for look in looks for name, kind in look.kinds.items()}
        urls = {name: url for url, look in zip(options.urls, looks, strict=True) for name in look.kinds}
        for name, kind in kinds.items():
            say(f"{name}: {kind}")
        write_json(out / ENDPOINTS, {"kinds": kinds, "urls": urls})
        say(f"looking every {options.interval_s:g} s for {options.duration_s:g} s, by GET only")
        lines = LineWriter(out / POLLS)
        progress = _Progress(options.duration_s, say)

        def told(found: Sequence[Poll]) -> None:
            for poll in found:
                lines.append_line(to_json(poll))
            progress.told(found)

        try:
            polls = await record(looks, RunClock(), time.time, options.duration_s, options.interval_s, told)
        finally:
            lines.close()
    return polls, kinds, urls


class _Progress:
    """A line for each tenth, and one for the first failure of each endpoint."""

    def __init__(self, duration_s: float, say: Say) -> None:
        self._duration_s, self._say, self._said, self._silent = duration_s, say, 0, set[str]()

    def told(self, found: Sequence[Poll]) -> None:
        for poll in found:
            if poll.reading is None and poll.endpoint not in self._silent:
                self._silent.add(poll.endpoint)
                self._say(f"{poll.endpoint}: no answer at {poll.at_s:.0f} s ({poll.note}); looking on")
        tenth = int(10 * max((p.at_s for p in found), default=0.0) / self._duration_s)
        if tenth > self._said:
            self._said = tenth
            self._say(f"recorded {10 * tenth} %")


def _read_recording(folder: Path) -> tuple[list[Poll], dict[str, Kind], dict[str, str]]:
    """Raises BadInput when it is none."""
    try:
        about = orjson.loads((folder / ENDPOINTS).read_bytes())
        lines = (folder / POLLS).read_bytes().splitlines()
        kinds = {str(name): Kind(kind) for name, kind in about["kinds"].items()}
        urls = {str(name): str(url) for name, url in about["urls"].items()}
    except OSError as error:
        raise BadInput(
            f"no recording: {error.strerror}", where=str(folder), hint="name a folder of an earlier run"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{ENDPOINTS} is not what a recording has: {error}", where=str(folder)) from error
    polls = [from_json(Poll, line, f"{folder / POLLS}:{n}") for n, line in enumerate(lines, 1) if line]
    return polls, kinds, urls


def _judged(
    options: ShadowOptions, given: Given, polls: list[Poll], kinds: Mapping[str, Kind], urls: Mapping[str, str],
    out: Path, say: Say,
) -> dict[str, Any]:  # fmt: skip
    found = stretches(polls)
    seen = traffic(found, kinds)
    document: dict[str, Any] = {
        "endpoints": report.endpoint_rows(polls, kinds, urls, seen),
        "duration_s": seen.duration_s,
        "interval_s": options.interval_s,
        "prompts": seen.prompts,
        "measured": report.measured_figures(seen),
        "remarks": [*report.remarks(seen), *filter(None, [report.drift(seen, Windows.of(seen.duration_s))])],
        "out": str(out),
    }
    files = [POLLS, OBSERVED]
    write_json(out / OBSERVED, document | {"series": report.series_rows(seen)})
    if not found:
        raise RunFailed("no endpoint answered twice: nothing was recorded", where=str(out))
    scene = stage(polls, found, seen, kinds, given)
    document["assumed"] = list(scene.guessed)
    parts: dict[str, Any] = {}
    if seen.prompts:
        parts = _twin(options, scene, seen, kinds, out, say)
        files += parts.pop("files")
    gain, checked, calibration = (parts.get(k) for k in ("gain", "checked", "calibration"))
    why = judge.refusals(seen, checked, gain, parts.get("why", ()))
    word, sentence = report.verdict(gain, why)
    return document | {
        "verdict": word,
        "sentence": sentence,
        "why": why,
        "twin": report.twin_rows(checked),
        "gain": None if gain is None else to_plain(gain),
        "pairs": parts.get("pairs", 0),
        "calibration": report.calibration_rows(scene, calibration),
        "slot_s": parts.get("slot_s"),
        "plan": parts.get("plan"),
        "files": {name: str(out / name) for name in (*files, REPORT)},
    }


def _twin(
    options: ShadowOptions, scene: Any, seen: Any, kinds: Mapping[str, Kind], out: Path, say: Say
) -> dict[str, Any]:  # fmt: skip
    """Trace, calibration, check, pairs, plan. Keys left out where it did not come to that."""
    slot_s = options.slot_s or min(MOST_SLOT_S, max(2 * options.interval_s, seen.duration_s / SLOTS))
    settings = load_settings(slot_s=slot_s, epoch_slots=EPOCH_SLOTS)
    rows = prompts(seen, scene, options.seed)
    system = ",".join(sorted(set(kinds.values())))
    write_trace(out / TRACE, trace_rows(rows, scene, {m.name: system for m in scene.models}))
    parts: dict[str, Any] = {"files": [TRACE], "slot_s": slot_s}
    base = first_scenario(
        scene, str((out / TRACE).resolve()), seen.duration_s, slot_s, EPOCH_SLOTS, options.link_ms, options.seed
    )
    base = _with_prompts(base, {scene.models[m].id for m in set(rows.model.tolist())})
    if not sum(t.count for t in seen.latencies):
        return parts
    windows = Windows.of(seen.duration_s)
    say("calibrating: services under which the twin shows the latencies that were measured")
    calibration = judge.calibrate(seen, scene, base, settings, windows, options.seed)
    checked = judge.check(seen, scene, calibration, base, settings, windows, options.seed)
    scenario = scenario_of(scene, calibration, base)
    portable = replace(scenario, workload=replace(scenario.workload, traces=tuple(
        replace(t, file=TRACE) for t in scenario.workload.traces)))  # fmt: skip
    (out / SCENARIO).write_text(to_yaml(portable), encoding="utf-8")
    parts |= {"calibration": calibration, "checked": checked}
    parts["files"].append(SCENARIO)
    if not judge.refusals(seen, checked, None, ()):
        say(f"running the twin: {options.seeds} pairs, today and with edgewise")
        seeds = range(options.seed, options.seed + options.seeds)
        made = judge.pairs(seen, scene, calibration, base, settings, windows, seeds, lambda n: say(f"pair {n}"))
        parts["pairs"] = len(made)
        if len(made) >= 2 and checked is not None:
            parts["gain"] = judge.gain_of(made, checked.error)
    say("one decision on what stands now")
    means = [mean_of([t for t in seen.latencies if t.model == m.name]) for m in scene.models]
    now = observation(scene, scenario, rows, [m.mean_s if m else None for m in means])
    decision = decision_for(now, settings)
    write_json(out / OBSERVATION, to_plain(now))
    write_json(out / PLAN, to_plain(decision.plan))
    parts["plan"] = {"chosen": decision.chosen, "reason": decision.verdict.reason if decision.verdict else ""}
    parts["files"] += [OBSERVATION, PLAN]
    return parts


def _with_prompts(base: Scenario, used: set[str]) -> Scenario:
    """Only models that prompts came for have rows in the trace."""
    traces = tuple(t for t in base.workload.traces if t.model in used)
    return replace(base, workload=replace(base.workload, traces=traces))


def print_shadow(document: dict[str, Any]) -> None:
    """For a person."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for row in document["endpoints"]:
        failed = f", {row['failed_polls']} failed" if row["failed_polls"] else ""
        console.print(f"{row['endpoint']}: {row['system']}, {row['polls']} looks{failed}")
        for gap in row["unknown"]:
            console.print(f"  cannot be known: {gap}")
    figures = document["measured"]
    for name, row in (*figures["per_model"].items(), ("all", figures["all"])):
        mean_s, p95_s = row["mean_latency_s"], row["p95_latency_s"]
        took = f"mean {mean_s:.3f} s" if mean_s is not None else "no latency"
        tail = f", p95 about {p95_s:.3f} s" if p95_s is not None else ""
        console.print(f"  {name}: {row['arrived']} prompts came, {row['ended']:.0f} ended, {took}{tail}")
    for note in (*document["remarks"], *document.get("assumed", ())):
        console.print(f"note: {note}")
    twin = document["twin"]
    if twin is not None:
        console.print(
            f"twin of today, where it was not calibrated: mean {twin['twin_s']:.3f} s, measured "
            f"{twin['measured_s']:.3f} s ({twin['error']:+.1%})"
        )
    console.print(document["sentence"])
    console.print(f"files: {', '.join(document['files'].values())}")
