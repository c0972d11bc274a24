"""The door to the API server, against a server that pages, grows old, limits, hangs, and talks nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from kubernetes.aio import client

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.errors import ClusterUnavailable, SetupError
from edgewise.domain.model import ModelSpec, Task
from tools.clock import RunClock
from tools.kubernetes import KubernetesCluster, KubernetesSettings
from tools.kubernetes.api import KubeApi
from tools.kubernetes.manifest import deployment
from tools.kubernetes.replica import ReplicaDoor

Answer = Callable[[web.Request], Awaitable[web.Response]]
SETTINGS = KubernetesSettings(image="echo:1", memory_gib={"n1": 4.0}, conflict_retries=3)
NODE = {
    "metadata": {"name": "host-1", "labels": {"edgewise.io/node": "n1"}},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}


def status(code: int, message: str = "words", **headers: str) -> web.Response:
    return web.json_response({"kind": "Status", "message": message, "code": code}, status=code, headers=headers)


class Server:
    """An API server whose answers a test writes. `seen` lists "METHOD path?query"."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.answer: Answer = self.empty
        self.url = ""

    async def empty(self, _request: web.Request) -> web.Response:
        return web.json_response({"items": [], "metadata": {}})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(f"{request.method} {request.path_qs}")
        return await self.answer(request)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = site.name
    yield made
    await runner.cleanup()


@pytest_asyncio.fixture
async def api(server: Server) -> AsyncIterator[KubeApi]:
    made = KubeApi(client.Configuration(host=server.url), timeout_s=1.0)
    yield made
    await made.aclose()


async def test_a_long_list_comes_in_pages(server: Server, api: KubeApi) -> None:
    async def pages(request: web.Request) -> web.Response:
        token = request.query.get("continue", "")
        assert request.query["labelSelector"] == "a=b"
        number = int(token or 0)
        more = str(number + 1) if number < 2 else ""
        return web.json_response({"items": [{"n": number}], "metadata": {"continue": more}})

    server.answer = pages
    listing = await api.list_all("/api/v1/nodes", "a=b")
    assert [i["n"] for i in listing.items] == [0, 1, 2]
    assert len(server.seen) == 3


async def test_a_list_that_grew_too_old_is_begun_anew(server: Server, api: KubeApi) -> None:
    expired = [True]

    async def pages(request: web.Request) -> web.Response:
        if "continue" not in request.query:
            return web.json_response({"items": [{"n": 0}], "metadata": {"continue": "x"}})
        if expired:
            expired.clear()
            return status(410)
        return web.json_response({"items": [{"n": 1}], "metadata": {}})

    server.answer = pages
    assert [i["n"] for i in (await api.list_all("/api/v1/nodes")).items] == [0, 1]
    assert len(server.seen) == 4


@pytest.mark.parametrize(
    ("code", "word"), [(401, "signed in"), (403, "not allowed"), (410, "too old"), (429, "too many"), (503, "503")]
)
async def test_refusals_are_ours(server: Server, api: KubeApi, code: int, word: str) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return status(code, **{"Retry-After": "3"})

    server.answer = refuse
    with pytest.raises(ClusterUnavailable, match=word) as caught:
        await api.list_all("/api/v1/nodes")
    assert "/api/v1/nodes" in caught.value.where
    if code == 429:
        assert caught.value.retry_after_s == 3.0


async def test_a_server_that_hangs_is_left_after_the_timeout(server: Server, api: KubeApi) -> None:
    async def hang(_request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return status(500)

    server.answer = hang
    with pytest.raises(ClusterUnavailable, match="in time"):
        await api.list_all("/api/v1/nodes")


async def test_nonsense_is_not_believed(server: Server, api: KubeApi) -> None:
    async def nonsense(_request: web.Request) -> web.Response:
        return web.Response(text="<html>welcome</html>")

    server.answer = nonsense
    with pytest.raises(ClusterUnavailable, match="not understood"):
        await api.list_all("/api/v1/nodes")


async def test_a_conflict_is_looked_at_again_and_in_the_end_told(server: Server, api: KubeApi) -> None:
    tries = 0

    async def contended(request: web.Request) -> web.Response:
        nonlocal tries
        if request.method == "POST":
            tries += 1
            return status(409, "already exists")
        return web.json_response({"items": [NODE] if request.path.endswith("nodes") else [], "metadata": {}})

    server.answer = contended
    model = ModelSpec("m", Task.TEXT_GENERATION, 1.0, 1.0)
    cluster = KubernetesCluster(api, ReplicaDoor(api, "edgewise", 1.0, False), [model], RunClock(), SETTINGS)
    with pytest.raises(ClusterUnavailable, match="someone else"):
        await cluster.load("n1", "m")
    assert tries == SETTINGS.conflict_retries + 1


async def test_a_load_lost_to_another_controller_is_a_load(server: Server, api: KubeApi) -> None:
    stored: list[dict[str, object]] = []

    async def raced(request: web.Request) -> web.Response:
        if request.method == "POST":
            body = await request.json()
            body["metadata"] |= {"uid": "u", "resourceVersion": "1"}
            stored.append(body)
            return status(409, "already exists")
        kind = request.path.rpartition("/")[2]
        items = {"nodes": [NODE], "deployments": stored, "pods": []}[kind]
        return web.json_response({"items": items, "metadata": {}})

    server.answer = raced
    model = ModelSpec("m", Task.TEXT_GENERATION, 1.0, 1.0)
    cluster = KubernetesCluster(api, ReplicaDoor(api, "edgewise", 1.0, False), [model], RunClock(), SETTINGS)
    await cluster.load("n1", "m")
    assert len(stored) == 1
    facts = await cluster.observe()
    assert (facts.nodes[0].memory_used_gib, facts.replicas[0].state.value) == (1.0, "loading")


async def test_a_replica_made_while_the_lists_are_read_is_no_leftover(server: Server, api: KubeApi) -> None:
    """Every list answers as if another controller had made the replica just after the first of them was read."""
    model = ModelSpec("m", Task.TEXT_GENERATION, 1.0, 1.0)
    made = deployment("n1", model, 1, datetime.now(UTC), SETTINGS)
    made["metadata"] |= {"uid": "u", "resourceVersion": "1"}
    template = made["spec"]["template"]
    pod = {
        "metadata": {"name": "p", **template["metadata"]},
        "spec": template["spec"],
        "status": {"phase": "Pending"},
    }

    async def growing(request: web.Request) -> web.Response:
        kind, first = request.path.rpartition("/")[2], sum("namespaces" in line for line in server.seen) == 1
        items = [NODE] if kind == "nodes" else [] if first else [made] if kind == "deployments" else [pod]
        return web.json_response({"items": items, "metadata": {}})

    server.answer = growing
    cluster = KubernetesCluster(api, ReplicaDoor(api, "edgewise", 1.0, False), [model], RunClock(), SETTINGS)
    assert (await cluster.observe()).replicas[0].state is ReplicaState.LOADING


async def test_no_kubeconfig_and_no_pod_is_a_set_up_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(SetupError) as caught:
        await KubeApi.connect(None, 1.0)
    assert "KUBECONFIG" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"clusters": [], "contexts": [], "current-context": "x", "users": []}']
)
async def test_a_kubeconfig_that_is_none_is_a_set_up_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    with pytest.raises(SetupError):
        await KubeApi.connect(path, 1.0)
    path.write_text(text)
    with pytest.raises(SetupError) as caught:
        await KubeApi.connect(path, 1.0)
    assert caught.value.where == str(path)
