"""The door to a replica: its pod's own HTTP API, at its address or through the API server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp

from edgewise.domain.errors import ClusterUnavailable
from tools.kubernetes.api import Item, KubeApi, door
from tools.kubernetes.errors import from_replica, from_status


@dataclass(frozen=True, slots=True)
class PodAddress:
    """A running pod: `url` is where its replica answers in the pod network."""

    name: str
    url: str
    port: int


@dataclass(frozen=True, slots=True)
class ReplicaWork:
    """What the replica itself says: its state, and how much waits and runs there."""

    state: str
    queued: int
    in_flight: int

    @property
    def idle(self) -> bool:
        return self.queued == 0 and self.in_flight == 0


class ReplicaDoor:
    """Raises ReplicaBusy for a 409 and ClusterUnavailable for everything that is not an answer."""

    def __init__(self, api: KubeApi, namespace: str, timeout_s: float, via_proxy: bool) -> None:
        self._api, self._namespace, self._via_proxy = api, namespace, via_proxy
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def work(self, pod: PodAddress, model: str) -> ReplicaWork:
        """What the replica has to do now. A replica that does not list the model has it not loaded: absent."""
        state = await self._ask("GET", pod, "/edgewise/v1/state")
        with door(pod.url):
            for row in state["replicas"]:
                if row["model"] == model:
                    return ReplicaWork(str(row["state"]), int(row["queued"]), int(row["in_flight"]))
        return ReplicaWork("absent", 0, 0)

    async def drain(self, pod: PodAddress, model: str) -> None:
        await self._ask("POST", pod, f"/edgewise/v1/models/{quote(model, safe='/')}/drain", {})

    async def share(self, pod: PodAddress, shares: dict[str, float]) -> None:
        await self._ask("PUT", pod, "/edgewise/v1/shares", shares)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _ask(self, method: str, pod: PodAddress, path: str, body: Item | None = None) -> Any:
        where = f"pod {pod.name} ({pod.url})"
        if self._via_proxy:
            base = f"/api/v1/namespaces/{self._namespace}/pods/{pod.name}:{pod.port}/proxy"
            status, data = await self._api.proxy(method, base + path, body)
        else:
            status, data = await self._direct(method, pod, path, body, where)
        if 200 <= status < 300:
            try:
                return json.loads(data)
            except ValueError as error:
                raise ClusterUnavailable("the replica's answer is not JSON", where=where) from error
        if self._via_proxy and _is_status(data):
            raise from_status(status, str(json.loads(data).get("message", "")), where)
        raise from_replica(status, data, where)

    async def _direct(
        self, method: str, pod: PodAddress, path: str, body: Item | None, where: str
    ) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        with door(where):
            async with self._session.request(method, pod.url + path, json=body) as response:
                return response.status, await response.read()


def _is_status(data: bytes) -> bool:
    """Whether the API server itself answered (a Status object), and not the pod behind it."""
    try:
        return bool(json.loads(data).get("kind") == "Status")
    except (ValueError, AttributeError):
        return False
