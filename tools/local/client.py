"""The HTTP door to one node server: its state and its lifecycle commands, every foreign error as one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import aiohttp
from yarl import URL

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.codec import from_json
from edgewise.domain.errors import BadInput, ClusterUnavailable
from tools.local.answers import error_of


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """A replica as its node reports it; the fields of `ReplicaFact` and `ReplicaLoad`, and its share."""

    model: str
    state: ReplicaState
    since_s: float = 0.0
    ready_in_s: float | None = 0.0
    error: str | None = ""
    queued: int = 0
    in_flight: int = 0
    work_s: float = 0.0
    share: float = 1.0
    served: int = 0
    mean_service_s: float | None = None


@dataclass(frozen=True, slots=True)
class NodeState:
    """GET /edgewise/v1/state of a node. `at_s` is the run-clock second it was true; replicas: none absent."""

    node: str
    at_s: float
    memory_gib: float
    memory_used_gib: float
    replicas: tuple[ReplicaRow, ...] = ()
    speed: float = 1.0
    pid: int = 0


class NodeClient:
    """Speaks to one node server. Every call is bounded by `timeout_s` seconds.

    Raises ClusterUnavailable when the node does not answer, or answers what no node server says; otherwise the
    error the node named (UnknownModel, AdmissionRefused, ReplicaBusy, BadInput).
    """

    def __init__(self, session: aiohttp.ClientSession, node: str, url: str, timeout_s: float) -> None:
        self._session = session
        self._node = node
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def state(self) -> NodeState:
        body = await self._call("GET", "/edgewise/v1/state")
        try:
            state = from_json(NodeState, body, where=self._node)
        except BadInput as error:
            raise ClusterUnavailable(f"the node's state is unreadable: {error.message}", where=self._node) from error
        if state.node != self._node:
            # A free port is soon given to another process: what answers here may not be the node we know.
            raise ClusterUnavailable(f"node {state.node!r} answers at {self._url}", where=self._node)
        return state

    async def load(self, model: str) -> None:
        await self._call("POST", f"/v2/repository/models/{quote(model, safe='')}/load")

    async def unload(self, model: str) -> None:
        await self._call("POST", f"/v2/repository/models/{quote(model, safe='')}/unload")

    async def drain(self, model: str) -> None:
        await self._call("POST", f"/edgewise/v1/models/{quote(model, safe='')}/drain")

    async def share(self, shares: Mapping[str, float]) -> None:
        await self._call("PUT", "/edgewise/v1/shares", json=dict(shares))

    async def _call(self, method: Literal["GET", "POST", "PUT"], path: str, json: Any = None) -> bytes:
        try:
            try:
                return await self._once(method, path, json)
            except aiohttp.ServerDisconnectedError:
                # The node closed an idle connection just as we used it; every command is idempotent, so say it again.
                return await self._once(method, path, json)
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            what = str(error) or type(error).__name__
            raise ClusterUnavailable(f"the node does not answer: {what}", where=self._node) from error

    async def _once(self, method: str, path: str, json: Any) -> bytes:
        url = URL(self._url + path, encoded=True)
        async with self._session.request(
            method, url, json=json, timeout=self._timeout, allow_redirects=False
        ) as answer:
            body = await answer.read()
            if answer.status >= 300:
                raise error_of(answer.status, body, answer.headers.get("Retry-After"), where=self._node)
            return body
