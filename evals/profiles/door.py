"""The door to one model on one node, for measuring: loads, prompts one by one or several at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from edgewise.domain.errors import LoadFailed
from evals.calibrate import ModelOnNode, Point
from evals.prompts import PromptRequest


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt alone. took_s: until its answer was here; service_s: what the node says it computed."""

    point: Point
    took_s: float


@dataclass(frozen=True, slots=True)
class NodeDoor(ModelOnNode):
    """`evals.calibrate`'s client of a node, with stop-watches."""

    async def timed(self, request: PromptRequest) -> Asked:
        begun_s = self.now_s()
        service_s = await self.ask(request)
        return Asked(Point(request.size, service_s), self.now_s() - begun_s)

    async def load_afresh(self) -> float:
        """Unload the model if it is there, load it; seconds from asking until ready."""
        if await self._is_ready():
            await self.unload()
        took_s = await self.load()
        if took_s is None:
            raise LoadFailed(f"{self.model}: somebody else loads it", where=self.url)
        return took_s

    async def together(self, requests: Sequence[PromptRequest], at_once: int) -> float:
        """Answer all requests, `at_once` of them at a time; seconds until the last answer."""
        waiting = list(requests)[::-1]

        async def client() -> None:
            while waiting:
                await self.ask(waiting.pop())

        begun_s = self.now_s()
        await asyncio.gather(*(client() for _ in range(at_once)))
        return self.now_s() - begun_s
