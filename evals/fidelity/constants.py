"""What a prompt costs besides its service, measured on prompts of their own: through the gateway alone, and with all
nodes busy. These are the constants by which the twin of a real cluster differs from its service profiles."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import aiohttp
import numpy as np
from scipy.stats import trim_mean

from edgewise.domain.errors import RunFailed
from edgewise.domain.model import PromptSize, ServiceProfile
from edgewise.domain.records import PromptRow
from evals.prompts import PromptRequest
from evals.replayer import judge

TURNS = 2  # of all nodes busy, each between two of prompts alone: a machine that changes meanwhile cancels
SATURATED_S = 6.0
SETTLE_S = 1.5  # of the saturated time, before which not every queue is full yet
CLIENTS = 3  # per model: more than nodes, so that no replica is ever without work
TRIM = 0.1  # of the draws at each end: a hiccup of the machine is no constant

Requests = Mapping[str, Sequence[PromptRequest]]


@dataclass(frozen=True, slots=True)
class Sent:
    """One prompt that was sent through the gateway; service_s as its node says."""

    id: str
    model: str
    size: PromptSize
    service_s: float


@dataclass(frozen=True, slots=True)
class Saturated:
    """All nodes busy from begin_s to end_s (run clock). cores: CPU seconds per second that each node got."""

    sent: tuple[Sent, ...]
    begin_s: float
    end_s: float
    cores: dict[str, float]


@dataclass(frozen=True, slots=True)
class Constants:
    """http_s: latency beyond service of a prompt alone, from the gateway's first byte to its last, s; gap_s: idle
    node time between two prompts though others wait; crowding: how much longer services are with all nodes busy than
    alone; cores: CPU per second of each node with all of them busy."""

    http_s: dict[str, float]
    gap_s: float
    crowding: float
    cores: dict[str, float]


class GatewayDoor:
    """Sends single prompts to the gateway, numbered so that their rows can be found again."""

    def __init__(self, session: aiohttp.ClientSession, url: str, tag: str) -> None:
        self._session, self._url, self._tag = session, url, tag
        self._numbers = itertools.count()

    async def ask(self, request: PromptRequest) -> Sent:
        """Raises RunFailed for an answer that is none."""
        identity = f"{self._tag}-{next(self._numbers):05d}"
        headers = {"x-request-id": identity}
        async with self._session.post(self._url + request.path, json=request.body, headers=headers) as response:
            content = await response.read()
            fault = judge(response.status, content, request, streamed=False)
            service_ms = response.headers.get("x-edgewise-service-ms", "")
        if fault or not service_ms:
            raise RunFailed(f"{request.model}: {fault or 'no service time in the answer'}", where=self._url)
        return Sent(identity, request.model, request.size, float(service_ms) / 1e3)


async def alone(door: GatewayDoor, requests: Requests) -> tuple[Sent, ...]:
    """Every request once, one by one."""
    for several in requests.values():
        # Not counted: the very first is held until the gateway has seen the nodes, and caches are cold.
        await door.ask(several[0])
    return tuple([await door.ask(request) for several in requests.values() for request in several])


async def saturate(
    door: GatewayDoor, requests: Requests, cpu_s: Callable[[], Mapping[str, float]], now_s: Callable[[], float]
) -> Saturated:
    """Closed loops of prompts on all models at once. `cpu_s`: of each node's process; `now_s`: the run clock."""
    end = now_s() + SATURATED_S
    sent: list[Sent] = []

    async def client(turns: Iterator[PromptRequest]) -> None:
        while now_s() < end:
            sent.append(await door.ask(next(turns)))

    clients = [
        asyncio.create_task(client(itertools.islice(itertools.cycle(several), k * len(several) // CLIENTS, None)))
        for several in requests.values()
        for k in range(CLIENTS)
    ]
    try:
        await asyncio.sleep(SETTLE_S)
        before, begin_s = cpu_s(), now_s()
        await asyncio.sleep(max(0.0, end - begin_s))
        after, end_s = cpu_s(), now_s()
        await asyncio.gather(*clients)
    finally:
        for task in clients:
            task.cancel()
    cores = {node: (after[node] - before[node]) / (end_s - begin_s) for node in before}
    return Saturated(tuple(sent), begin_s, end_s, cores)


def constants(
    one: Sequence[Sent], many: Sequence[Saturated], rows: Sequence[PromptRow], services: Mapping[str, ServiceProfile]
) -> Constants:
    """From the prompts sent alone and together, the gateway's rows of them, and services by size."""
    by_id = {row.id: row for row in rows}
    http: dict[str, list[float]] = {}
    for sent in one:
        row = by_id[sent.id]
        if row.finished_s is None:
            raise RunFailed(f"prompt {sent.id} got no answer while it was measured alone")
        http.setdefault(sent.model, []).append(row.finished_s - row.arrived_s - sent.service_s)
    gaps = [_gap_s(turn, node, by_id) for turn in many for node in turn.cores]
    together = [sent for turn in many for sent in turn.sent]
    return Constants(
        http_s={model: max(0.0, float(trim_mean(np.array(draws), TRIM))) for model, draws in http.items()},
        gap_s=max(0.0, float(np.mean(gaps))),
        crowding=_slowness(together, services) / _slowness(one, services),
        cores={node: fmean(turn.cores[node] for turn in many) for node in many[0].cores},
    )


def _slowness(sent: Sequence[Sent], services: Mapping[str, ServiceProfile]) -> float:
    """Service over what the sizes let expect."""
    return sum(s.service_s for s in sent) / sum(services[s.model].expected_s(s.size) for s in sent)


def _gap_s(many: Saturated, node: str, rows: Mapping[str, PromptRow]) -> float:
    """Node seconds per prompt in which nobody computed, though all queues were full. A prompt counts for the part of
    its time in service that lies in the window."""
    served_s = prompts = 0.0
    for sent in many.sent:
        row = rows[sent.id]
        if row.node != node or row.started_s is None or row.finished_s is None:
            continue
        inside_s = min(row.finished_s, many.end_s) - max(row.started_s, many.begin_s)
        part = max(0.0, inside_s) / max(row.finished_s - row.started_s, 1e-9)
        served_s += sent.service_s * part
        prompts += part
    return (many.end_s - many.begin_s - served_s) / max(prompts, 1.0)
