"""Single prompts through the gateway: alone, and so many that all nodes are busy."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import aiohttp

from edgewise.domain.errors import RunFailed
from edgewise.domain.model import PromptSize
from evals.prompts import PromptRequest
from evals.replayer import judge

CLIENTS = 3  # per model: more than nodes, so that no replica is ever without work

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
    """All nodes busy. cores: CPU seconds per second that each node got."""

    sent: tuple[Sent, ...]
    cores: dict[str, float]


class GatewayDoor:
    """Prompts are numbered, so that the gateway's rows of them can be found. cpu_s: of each node's process; now_s:
    the run clock."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        cpu_s: Callable[[], Mapping[str, float]],
        now_s: Callable[[], float],
    ) -> None:
        self._session, self._url = session, url
        self._cpu_s, self._now_s = cpu_s, now_s
        self._numbers = itertools.count()

    async def ask(self, request: PromptRequest) -> Sent:
        """Raises RunFailed for an answer that is none."""
        identity = f"calibration-{next(self._numbers):06d}"
        headers = {"x-request-id": identity}
        try:
            async with self._session.post(self._url + request.path, json=request.body, headers=headers) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RunFailed(f"the gateway does not answer: {type(error).__name__}", where=self._url) from error
        fault = judge(response.status, content, request, streamed=False)
        service_ms = response.headers.get("x-edgewise-service-ms", "")
        if fault or not service_ms:
            raise RunFailed(f"{request.model}: {fault or 'no service time in the answer'}", where=self._url)
        return Sent(identity, request.model, request.size, float(service_ms) / 1e3)

    async def alone(self, requests: Requests) -> tuple[Sent, ...]:
        """Every request once, one by one."""
        found = []
        for several in requests.values():
            # Not counted: the very first is held until the gateway has seen the nodes, and caches are cold.
            await self.ask(several[0])
            found += [await self.ask(request) for request in several]
        return tuple(found)

    async def saturate(self, requests: Requests, seconds: float, settle_s: float) -> Saturated:
        """Closed loops of prompts on all models at once. settle_s: of the `seconds`, until every queue is full."""
        end = self._now_s() + seconds
        sent: list[Sent] = []

        async def client(turns: Iterator[PromptRequest]) -> None:
            while self._now_s() < end:
                sent.append(await self.ask(next(turns)))

        clients = [
            asyncio.create_task(client(itertools.islice(itertools.cycle(several), k * len(several) // CLIENTS, None)))
            for several in requests.values()
            for k in range(CLIENTS)
        ]
        try:
            await asyncio.sleep(settle_s)
            before, begin_s = self._cpu_s(), self._now_s()
            await asyncio.sleep(max(0.0, end - begin_s))
            after, end_s = self._cpu_s(), self._now_s()
            await asyncio.gather(*clients)
        finally:
            for task in clients:
                task.cancel()
        cores = {node: (after[node] - before[node]) / (end_s - begin_s) for node in before}
        return Saturated(tuple(sent), cores)
