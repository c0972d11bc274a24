"""Measures what prompts cost on a real node, over HTTP: service profiles by size, and load times.

Each model answers a few prompts of small and large sizes, alone; a profile is the non-negative least-squares fit of
the node's own service times. A node that is busy with anything else gives figures that are too high.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import median_low

import aiohttp
import numpy as np
import orjson
from scipy.optimize import nnls

from edgewise.domain.errors import BadInput, LoadFailed, RunFailed, Unavailable
from edgewise.domain.model import ModelSpec, PromptSize, ServiceProfile, Task
from evals.prompts import DEMO_LIMITS, PromptLimits, PromptRequest, request_for
from evals.replayer import judge
from evals.traces import ModelClass, TraceRow

BUDGET_S = 0.8  # per model, after its first round; a repetition is left out rather than started late
ROUNDS = 3
LOAD_WAIT_S = 120.0
POLL_S = 0.02
UNITS = ("per_input_token_s", "per_output_token_s", "per_image_s", "per_step_s")


@dataclass(frozen=True, slots=True)
class Point:
    """One measured prompt."""

    size: PromptSize
    service_s: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What one model costs at speed 1. load_s: seconds from asking for the load to ready; None when the model was
    ready already."""

    model: str
    profile: ServiceProfile
    load_s: float | None
    points: tuple[Point, ...]


async def calibrate(
    urls: Mapping[str, str],
    models: Sequence[ModelSpec],
    *,
    limits: PromptLimits = DEMO_LIMITS,
    seed: int = 1,
    budget_s: float = BUDGET_S,
    unload: bool = True,
    now_s: Callable[[], float] = time.monotonic,
) -> dict[str, Calibration]:
    """Measure every model of `urls` ({model id: node URL}), one after the other. A model that is not ready is loaded
    and, with `unload`, drained and unloaded again, so that models which do not fit together can share a node.

    Raises BadInput for a model without an entry in `models`, LoadFailed when a load fails or is refused,
    Unavailable when a node does not answer, RunFailed when an answer is none.
    """
    specs = {spec.id: spec for spec in models}
    unknown = sorted(set(urls) - set(specs))
    if unknown:
        raise BadInput(f"cannot calibrate {', '.join(unknown)}: not in the catalogue")
    results: dict[str, Calibration] = {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LOAD_WAIT_S)) as session:
        for model, url in urls.items():
            node = ModelOnNode(session, url.rstrip("/"), model, now_s)
            try:
                load_s = await node.load()
                points = await _measure(node, specs[model], limits, seed, budget_s)
                results[model] = Calibration(model, fit(points), load_s, points)
                if unload and load_s is not None:
                    await node.unload()
            except (aiohttp.ClientError, TimeoutError) as error:
                what = f"{model}: the node does not answer while it is calibrated: {type(error).__name__}"
                raise Unavailable(what, where=url) from error
    return results


def with_calibration(spec: ModelSpec, found: Calibration, mean_size: PromptSize) -> ModelSpec:
    """The catalogue entry with what was measured; its mean is that of a prompt of `mean_size`."""
    return replace(
        spec,
        service=found.profile,
        mean_service_s=found.profile.expected_s(mean_size),
        service_cv=found.profile.cv,
        load_s=spec.load_s if found.load_s is None else found.load_s,
    )


def fit(points: Sequence[Point]) -> ServiceProfile:
    """The non-negative profile nearest to the points in relative error, and the spread that it leaves (cv).

    A unit that was not varied is left to `base_s`. Raises BadInput for no points.
    """
    if not points:
        raise BadInput("a service profile needs at least one measured prompt")
    by_size: dict[PromptSize, list[float]] = {}
    for point in points:
        by_size.setdefault(point.size, []).append(max(point.service_s, 1e-6))
    # The middle of each size: something else running on the machine for a moment makes one draw slow, not all.
    usual = np.array([median_low(draws) for draws in by_size.values()])
    sizes = np.array([[1.0, *_units(size)] for size in by_size])
    varied = np.ptp(sizes, axis=0) > 0
    varied[0] = True
    # Relative errors: an image must not drown a sentence.
    found, _ = nnls(sizes[:, varied] / usual[:, None], np.ones(len(usual)))
    parts = np.zeros(sizes.shape[1])
    parts[varied] = found
    expected = np.maximum(sizes @ parts, 1e-9)
    residuals = [d / e - 1.0 for draws, e in zip(by_size.values(), expected, strict=True) for d in draws]
    spare = max(1, len(points) - int(varied.sum()))
    cv = float(np.sqrt(np.sum(np.square(residuals)) / spare))
    base_s, *rest = (float(p) for p in parts)
    return ServiceProfile(base_s, **dict(zip(UNITS, rest, strict=True)), cv=cv)


def _units(size: PromptSize) -> tuple[float, ...]:
    """The factors of ServiceProfile.expected_s, in the order of UNITS."""
    return (size.input_tokens, size.output_tokens, size.images, size.steps * max(1, size.images))


def design(task: Task, limits: PromptLimits) -> tuple[TraceRow, ...]:
    """The prompts measured: every corner of the sizes that the limits allow."""
    if task is Task.TEXT_GENERATION:
        outs = (2, max(3, limits.output_tokens // 2))
        ins = (8, max(9, limits.context_tokens // 2))
        return tuple(_row(ModelClass.TEXT_SMALL, i, o, 0, 0) for i, o in product(ins, outs))
    if task is Task.IMAGE_TO_TEXT:
        outs = (2, max(3, limits.caption_output_tokens))
        images = (1, min(2, limits.caption_images))
        return tuple(_row(ModelClass.IMAGE_CAPTION, 4, o, n, 0) for n, o in dict.fromkeys(product(images, outs)))
    steps = (min(2, limits.steps), limits.steps)
    images = (1, min(2, limits.images))
    return tuple(_row(ModelClass.IMAGE_GENERATION, 8, 0, n, s) for n, s in dict.fromkeys(product(images, steps)))


def _row(kind: ModelClass, tokens_in: int, tokens_out: int, images: int, steps: int) -> TraceRow:
    extra = orjson.dumps({"steps": steps}).decode() if steps else "{}"
    return TraceRow(0.0, kind, "calibration", tokens_in, tokens_out, images, extra)


async def _measure(
    node: ModelOnNode, spec: ModelSpec, limits: PromptLimits, seed: int, budget_s: float
) -> tuple[Point, ...]:
    requests = [request_for(row, spec, seed, limits) for row in design(spec.task, limits)]
    # The first prompt pays for what loading left undone (lazily mapped weights, first-use caches).
    await node.ask(requests[0])
    points: list[Point] = []
    begun_s = node.now_s()
    for turn in range(ROUNDS):
        for request in requests:
            if turn and node.now_s() - begun_s > budget_s:
                return tuple(points)
            points.append(Point(request.size, await node.ask(request)))
    return tuple(points)


@dataclass(frozen=True, slots=True)
class ModelOnNode:
    """One model on one node, by the node's own API."""

    session: aiohttp.ClientSession
    url: str
    model: str
    now_s: Callable[[], float]

    async def load(self) -> float | None:
        """Make the model ready; seconds that took, None when it was."""
        if await self._is_ready():
            return None
        begun_s = self.now_s()
        status, text = await self._post(f"/v2/repository/models/{self.model}/load")
        if status not in (200, 202):
            raise LoadFailed(f"{self.model}: load refused: {_message(text)}", where=self.url)
        while self.now_s() - begun_s < LOAD_WAIT_S:
            if await self._is_ready():
                return self.now_s() - begun_s
            await self._state()  # raises when the load has failed
            await asyncio.sleep(POLL_S)
        raise LoadFailed(f"{self.model}: not ready after {LOAD_WAIT_S:g} s", where=self.url)

    async def unload(self) -> None:
        """Drain and unload, and wait until the model holds no memory."""
        await self._post(f"/edgewise/v1/models/{self.model}/drain")
        begun_s = self.now_s()
        while self.now_s() - begun_s < LOAD_WAIT_S:
            status, text = await self._post(f"/v2/repository/models/{self.model}/unload")
            if status not in (200, 202, 409):
                raise RunFailed(f"{self.model}: not unloaded: {_message(text)}", where=self.url)
            if status != 409 and await self._state() in ("absent", None):
                return
            await asyncio.sleep(POLL_S)
        raise RunFailed(f"{self.model}: still not unloaded after {LOAD_WAIT_S:g} s", where=self.url)

    async def ask(self, request: PromptRequest) -> float:
        """The service seconds the node reports for one prompt."""
        async with self.session.post(self.url + request.path, json=request.body) as response:
            content = await response.read()
            fault = judge(response.status, content, request, streamed=False)
            service_ms = response.headers.get("x-edgewise-service-ms", "")
        if fault:
            detail = _message(content) if response.status != 200 else ""
            raise RunFailed(f"{self.model}: {fault} {detail}".rstrip(), where=self.url)
        try:
            return float(service_ms) / 1e3
        except ValueError:
            what = f"{self.model}: no x-edgewise-service-ms in the answer: {service_ms!r}"
            raise RunFailed(what, where=self.url) from None

    async def _is_ready(self) -> bool:
        async with self.session.get(f"{self.url}/v2/models/{self.model}/ready") as response:
            return response.status == 200

    async def _state(self) -> str | None:
        """The replica's state; None when the node lists no such replica."""
        async with self.session.get(f"{self.url}/edgewise/v1/state") as response:
            state = orjson.loads(await response.read())
        mine = [r for r in state["replicas"] if r["model"] == self.model]
        if mine and mine[0]["state"] == "failed":
            raise LoadFailed(f"{self.model}: {mine[0]['error'] or 'the load failed'}", where=self.url)
        return mine[0]["state"] if mine else None

    async def _post(self, path: str) -> tuple[int, bytes]:
        async with self.session.post(self.url + path) as response:
            return response.status, await response.read()


def _message(text: bytes) -> str:
    """What an error answer says, in either error shape."""
    try:
        return str(orjson.loads(text)["error"]["message"])
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return text[:200].decode("utf-8", "replace")
