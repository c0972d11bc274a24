"""The Router port over HTTP: the gateways' plan door."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from edgewise.control.ports import Ack
from edgewise.domain.codec import from_json, to_plain
from edgewise.domain.errors import ClusterUnavailable
from edgewise.domain.plan import Plan

PLAN_PATH, NODES_PATH = "/edgewise/v1/plan", "/edgewise/v1/nodes"


class HttpRouter:
    """Publishes to every gateway of `urls`; all must take it. Implements ports.Router."""

    def __init__(self, urls: Sequence[str], timeout_s: float = 5.0) -> None:
        self.urls = tuple(url.rstrip("/") for url in urls)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def publish(self, plan: Plan, decision_id: str) -> Ack:
        """Returns when every gateway routes by the plan, with the time of the last. Raises ClusterUnavailable; then
        some may have it already, and publishing again is safe."""
        body = {"plan": to_plain(plan), "decision": decision_id}
        acks = [from_json(Ack, answer, where="gateway") for answer in await self._put_all(PLAN_PATH, body)]
        strange = [ack.plan_id for ack in acks if ack.plan_id != plan.id]
        if strange:
            raise ClusterUnavailable(f"a gateway acknowledged plan {strange[0]!r} instead of {plan.id!r}")
        return Ack(plan.id, max((ack.at_s for ack in acks), default=plan.made_at_s))

    async def set_nodes(self, nodes: Mapping[str, str]) -> None:
        """Replaces every gateway's node list: node id → base URL. Raises ClusterUnavailable."""
        await self._put_all(NODES_PATH, [{"id": node, "url": url} for node, url in nodes.items()])

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _put_all(self, path: str, body: Any) -> list[bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, trust_env=False)
        tasks = [self._put(self._session, url + path, body) for url in self.urls]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [r for r in results if isinstance(r, bytes)]

    async def _put(self, session: aiohttp.ClientSession, url: str, body: Any) -> bytes:
        try:
            async with session.put(url, json=body) as response:
                data = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise ClusterUnavailable(f"the gateway does not answer: {reason}", where=url) from error
        if response.status != 200:
            text = data[:300].decode("utf-8", "replace")
            raise ClusterUnavailable(f"the gateway answered {response.status}: {text}", where=url)
        return data
