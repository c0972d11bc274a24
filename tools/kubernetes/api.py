"""The door to the API server: the official client's transport and sign-in, plain JSON objects in and out.

Plain objects rather than the client's generated models: those are made for one server version, and validate; a
cluster of another version would be refused for a field nobody here reads.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import yaml
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from edgewise.domain.errors import SetupError
from tools.kubernetes.errors import FOREIGN, translate

PAGE = 500  # objects per list request, as kubectl does
MERGE_PATCH = "application/merge-patch+json"

# What the client raises for a file that is YAML of another kind, or none at all.
NOT_A_CONFIG = (yaml.YAMLError, KeyError, TypeError, AttributeError)

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects of one kind, and the server's own time when it listed them (its clock made their timestamps)."""

    items: tuple[Item, ...]
    at: datetime


class KubeApi:
    """Raises only errors of ours, except `ApiException` with status 404 and 409, which callers decide about."""

    def __init__(self, configuration: Any, timeout_s: float) -> None:
        self._client = client.ApiClient(configuration)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self.where = str(configuration.host)

    @classmethod
    async def connect(cls, kubeconfig: Path | None, timeout_s: float) -> KubeApi:
        """From a kubeconfig (default: $KUBECONFIG), or inside a pod from its service account. No request yet.
        Raises SetupError."""
        path = str(kubeconfig or os.environ.get("KUBECONFIG", ""))
        configuration = client.Configuration()
        try:
            if path:
                await config.load_kube_config(
                    config_file=path, client_configuration=configuration, persist_config=False
                )
            else:
                config.load_incluster_config(client_configuration=configuration)
            return cls(configuration, timeout_s)
        except (*FOREIGN, *NOT_A_CONFIG) as error:
            where = path or "the service account of this pod"
            hint = "set KUBECONFIG to a kubeconfig, or run inside a pod"
            raise SetupError(
                f"no usable sign-in to a cluster: {_first_line(error)}", where=where, hint=hint
            ) from error

    async def list_all(self, path: str, label_selector: str = "") -> Listing:
        """All objects under `path`, in pages. A list that grows too old on the way (410) is begun anew, once."""
        with door(f"{self.where}{path}"):
            try:
                return await self._pages(path, label_selector)
            except ApiException as error:
                if error.status != 410:
                    raise
                return await self._pages(path, label_selector)

    async def _pages(self, path: str, label_selector: str) -> Listing:
        items: list[Item] = []
        token, at = "", datetime.now(UTC)
        while True:
            query = [("limit", str(PAGE)), ("labelSelector", label_selector), ("continue", token)]
            answer, headers = await self._call("GET", path, [q for q in query if q[1]])
            at = _server_time(headers, at)
            items += answer.get("items") or []
            token = str((answer.get("metadata") or {}).get("continue") or "")
            if not token:
                return Listing(tuple(items), at)

    async def create(self, path: str, body: Item) -> Item:
        return await self._one("POST", path, body)

    async def replace(self, path: str, body: Item) -> Item:
        return await self._one("PUT", path, body)

    async def patch(self, path: str, body: Item) -> Item:
        """A JSON merge patch; with metadata.resourceVersion in it, only if nobody was faster."""
        return await self._one("PATCH", path, body, MERGE_PATCH)

    async def delete(self, path: str, options: Item) -> None:
        await self._one("DELETE", path, options)

    async def proxy(self, method: str, path: str, body: Item | None = None) -> tuple[int, bytes]:
        """A request to a pod through the API server: the pod's own status and body. `path` is the proxy's."""
        with door(f"{self.where}{path}"):
            response = await self._send(method, path, [], body, "application/json")
            return response.status, await response.read()

    async def aclose(self) -> None:
        await self._client.close()

    async def _one(self, method: str, path: str, body: Item, content_type: str = "application/json") -> Item:
        with door(f"{self.where}{path}", let_pass=(404, 409)):
            answer, _ = await self._call(method, path, [], body, content_type)
            return answer

    async def _call(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        body: Item | None = None,
        content_type: str = "application/json",
    ) -> tuple[Item, Mapping[str, str]]:
        response = await self._send(method, path, query, body, content_type)
        data = await response.read()
        if not 200 <= response.status < 300:
            raise ApiException(http_resp=response, body=data.decode(errors="replace"))
        return json.loads(data), response.headers

    async def _send(
        self, method: str, path: str, query: list[tuple[str, str]], body: Item | None, content_type: str
    ) -> Any:
        request = await self._client.param_serialize(
            method,
            quote(path, safe="/:"),
            query_params=query,
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        return await self._client.call_api(*request, _request_timeout=self._timeout)


@contextlib.contextmanager
def door(where: str, let_pass: tuple[int, ...] = ()) -> Iterator[None]:
    """Translates what is raised inside; an ApiException whose status is in `let_pass` goes through as it is."""
    try:
        yield
    except FOREIGN as error:
        if isinstance(error, ApiException) and error.status in let_pass:
            raise
        raise translate(error, where) from error


def _server_time(headers: Mapping[str, str], default: datetime) -> datetime:
    try:
        return parsedate_to_datetime(headers["Date"])
    except (KeyError, ValueError, TypeError):
        return default


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
