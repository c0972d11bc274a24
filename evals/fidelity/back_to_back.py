"""Node time between two prompts of a queue that is never empty: it belongs to nobody's service, and is gone all the
same."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

import aiohttp

from edgewise.domain.errors import RunFailed
from evals.fidelity.gateway_door import Requests
from evals.prompts import PromptRequest

AT_ONCE = 3  # one runs, and at least one waits while an answer is on its way
ROUNDS = 3


class Served(NamedTuple):
    """Run-clock second at which service began, and its seconds, as the node says."""

    started_s: float
    service_s: float


async def measure_gap_s(session: aiohttp.ClientSession, urls: Mapping[str, str], requests: Requests) -> float:
    """The usual gap over all models, each with a node for itself. Raises RunFailed."""
    gaps = []
    for model, several in requests.items():
        small = sorted(several, key=lambda r: (r.size.output_tokens, r.size.steps, r.size.input_tokens))
        gaps += gaps_s(await _queue(session, urls[model], small[: max(1, len(small) // 2)] * ROUNDS))
    return max(0.0, median(gaps)) if gaps else 0.0


def gaps_s(served: Sequence[Served]) -> list[float]:
    """Between the end of each and the start of the next. Prompts run one at a time, in the order of their starts."""
    ordered = sorted(served)
    return [b.started_s - a.started_s - a.service_s for a, b in pairwise(ordered)]


async def _queue(session: aiohttp.ClientSession, url: str, requests: Sequence[PromptRequest]) -> list[Served]:
    waiting, served = list(requests), []

    async def client() -> None:
        while waiting:
            request = waiting.pop()
            async with session.post(url + request.path, json=request.body) as response:
                await response.read()
                started, service = (
                    response.headers.get(f"x-edgewise-{name}", "") for name in ("started-s", "service-ms")
                )
            if response.status != 200 or not started or not service:
                raise RunFailed(f"{request.model}: status {response.status} while gaps were measured", where=url)
            served.append(Served(float(started), float(service) / 1e3))

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return served
