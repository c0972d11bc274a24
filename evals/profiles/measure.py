"""Measures one model after the other on a node that has nothing else to do."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import fmean, stdev

import aiohttp
import psutil

from edgewise.domain.errors import RunFailed, Unavailable
from edgewise.domain.model import ModelSpec
from evals.calibrate import LOAD_WAIT_S, design
from evals.profiles.door import Asked, NodeDoor
from evals.profiles.fit import fit_mean, lack_of_fit
from evals.profiles.record import Memory, ModelProfile, Together, batch_curve, sized
from evals.prompts import PromptLimits, PromptRequest, request_for
from evals.scenario import LoadTime

AT_ONCE = (1, 2, 4)
LIMITS = PromptLimits(
    context_tokens=768, output_tokens=160, caption_output_tokens=64, images=2, steps=24, image_px=64
)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured of a model; seconds end a repetition early, never its first round. Large models take
    minutes per load: then two loads must do."""

    loads: int = 5
    rounds: int = 4
    together_rounds: int = 2
    budget_s: float = 20.0
    least_loads: int = 2


USUAL = Effort()


async def measure_models(
    url: str,
    pid: int,
    models: Sequence[ModelSpec],
    *,
    effort: Effort = USUAL,
    limits: PromptLimits = LIMITS,
    seed: int = 1,
    say: Callable[[str], None] = lambda _text: None,
) -> tuple[ModelProfile, ...]:
    """The profile of each model on the node at `url`, whose process is `pid`. Models are loaded and unloaded one by
    one, so they need not fit together. Raises LoadFailed, RunFailed, Unavailable."""
    found = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10 * LOAD_WAIT_S)) as session:
        for spec in models:
            say(f"profiling {spec.id}")
            door = NodeDoor(session, url.rstrip("/"), spec.id, time.monotonic)
            try:
                found.append(await _measure(door, spec, _Watch(pid), effort, limits, seed))
            except (aiohttp.ClientError, TimeoutError) as error:
                what = f"{spec.id}: the node does not answer while it is profiled: {type(error).__name__}"
                raise Unavailable(what, where=url) from error
    return tuple(found)


async def _measure(
    door: NodeDoor, spec: ModelSpec, watch: _Watch, effort: Effort, limits: PromptLimits, seed: int
) -> ModelProfile:
    requests = [request_for(row, spec, seed, limits) for row in design(spec.task, limits)]
    before = watch.look()
    loads, first = [], []
    begun_s = time.monotonic()
    for turn in range(effort.loads):
        if turn >= effort.least_loads and time.monotonic() - begun_s > effort.budget_s:
            break
        loads.append(await door.load_afresh())
        first.append(await door.timed(requests[0]))
    loaded = watch.look()
    alone = [asked async for asked in _rounds(door, requests, effort, watch)]
    points = [asked.point for asked in alone]
    service = fit_mean(points)
    usual = fmean(a.took_s for a in alone if a.point.size == requests[0].size)
    together = await _together(door, requests, effort)
    peak = watch.look()
    await door.unload()
    return ModelProfile(
        id=spec.id,
        task=spec.task,
        memory_gib=spec.memory_gib,
        load_s=LoadTime(fmean(loads), stdev(loads) / fmean(loads) if len(loads) > 1 else spec.load_cv),
        loads=len(loads),
        first_s=max(0.0, fmean(a.took_s for a in first) - usual),
        service_s=sized(service),
        prompts=len(points),
        mean_service_s=fmean(p.service_s for p in points),
        worst_fit=lack_of_fit(points, service),
        http_s=fmean(a.took_s - a.point.service_s for a in alone),
        together=together,
        batch_curve=batch_curve(together),
        memory_mib=Memory(before[0], loaded[0], max(watch.peak[0], peak[0]), before[1], loaded[1], watch.peak[1]),
    )


async def _rounds(
    door: NodeDoor, requests: Sequence[PromptRequest], effort: Effort, watch: _Watch
) -> AsyncIterator[Asked]:
    """Prompts alone, all sizes in each round."""
    begun_s = time.monotonic()
    for turn in range(effort.rounds):
        for request in requests:
            if turn and time.monotonic() - begun_s > effort.budget_s:
                return
            yield await door.timed(request)
        watch.look()


async def _together(door: NodeDoor, requests: Sequence[PromptRequest], effort: Effort) -> tuple[Together, ...]:
    """The same prompts one at a time, two at a time, …: each count takes its turn in each round, so that a machine
    that gets slower meanwhile makes none look worse."""
    took: dict[int, float] = dict.fromkeys(AT_ONCE, 0.0)
    begun_s = time.monotonic()
    for turn in range(effort.together_rounds):
        for at_once in AT_ONCE if turn % 2 == 0 else AT_ONCE[::-1]:
            took[at_once] += await door.together(list(_several(requests)), at_once)
        if time.monotonic() - begun_s > effort.budget_s:
            break
    return tuple(Together(k, took[AT_ONCE[0]] / took[k]) for k in AT_ONCE)


def _several(requests: Sequence[PromptRequest]) -> Iterator[PromptRequest]:
    """A multiple of the largest count at once, so that the last ones do not run alone; all alike in size, so that
    none ends long before the rest."""
    middle = sorted(requests, key=lambda r: (r.size.output_tokens, r.size.steps * max(1, r.size.images)))
    return islice(cycle([middle[len(middle) // 2]]), 2 * max(AT_ONCE))


class _Watch:
    """Memory of the node's process, MiB; peak: the most seen, (PSS, RSS)."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.peak = (0.0, 0.0)

    def look(self) -> tuple[float, float]:
        try:
            info = psutil.Process(self._pid).memory_full_info()
        except psutil.Error as error:
            raise RunFailed(f"the node process is gone: {error}") from error
        seen = (getattr(info, "pss", 0) / 2**20, info.rss / 2**20)
        self.peak = (max(self.peak[0], seen[0]), max(self.peak[1], seen[1]))
        return seen
