"""A node process with the real (tiny) models, over HTTP: one fork server for all tests here."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import pytest_asyncio
from PIL import Image

from edgewise.domain.cluster import NodeSpec
from edgewise.domain.errors import BadInput, ClusterUnavailable
from serving.checkpoints import Source, catalogue, resolve
from serving.fork_client import ForkServer, NodeExited, Spawned
from serving.node.config import NodeConfig
from serving.tiny import make_hub_cache, tiny_is_made

pytestmark = pytest.mark.asyncio(loop_scope="module")
SPECS = catalogue()
LONG_S = 60.0


class Forked:
    """The fork server, its checkpoints, and the deaths it told of."""

    def __init__(self, server: ForkServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.deaths: list[NodeExited] = []

    @property
    def tiny(self) -> Path:
        return self.folder / "tiny"

    async def listen(self) -> None:
        async for death in self.server.exits():
            self.deaths.append(death)

    async def death_of(self, pid: int) -> NodeExited:
        async with asyncio.timeout(LONG_S):
            while True:
                for death in self.deaths:
                    if death.pid == pid:
                        return death
                await asyncio.sleep(0.02)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Forked]:
    folder = tmp_path_factory.mktemp("node")
    server = ForkServer(log=folder / "nodes.log")
    await server.start()
    world = Forked(server, folder)
    listening = asyncio.create_task(world.listen())
    try:
        await server.make_tiny(world.tiny)
        yield world
    finally:
        await server.stop()
        await asyncio.wait_for(listening, LONG_S)
        assert (folder / "nodes.log").read_text().count("Traceback") == 0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(forked: Forked) -> AsyncIterator[httpx.AsyncClient]:
    """One node that has room for three of the four models, all ready but gpt2-large."""
    spawned = await forked.server.spawn(config("edge-1", forked, memory_gib=8.0))
    async with client(spawned) as http:
        await asyncio.gather(*(load(http, m) for m in ("gpt2", "blip", "stable-diffusion")))
        yield http


def config(node: str, forked: Forked, memory_gib: float, **more: Any) -> NodeConfig:
    sources = resolve(str(forked.tiny), SPECS)
    whole = NodeConfig(NodeSpec(node, memory_gib), SPECS, sources, origin=time.monotonic())
    return replace(whole, **more)


@asynccontextmanager
async def client(spawned: Spawned) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{spawned.port}", timeout=LONG_S) as http:
        yield http


async def replica(http: httpx.AsyncClient, model: str) -> dict[str, Any]:
    state = (await http.get("/edgewise/v1/state")).json()
    found: list[dict[str, Any]] = [r for r in state["replicas"] if r["model"] == model]
    return found[0] if found else {"state": "absent", "in_flight": 0, "queued": 0}


async def until(http: httpx.AsyncClient, model: str, **figures: Any) -> dict[str, Any]:
    async with asyncio.timeout(LONG_S):
        while True:
            seen = await replica(http, model)
            if all(seen[k] == v for k, v in figures.items()):
                return seen
            assert seen["state"] != "failed" or figures.get("state") == "failed", seen["error"]
            await asyncio.sleep(0.02)


async def load(http: httpx.AsyncClient, model: str) -> None:
    assert (await http.post(f"/v2/repository/models/{model}/load")).status_code in (200, 202)
    await until(http, model, state="ready")


async def remove(http: httpx.AsyncClient, model: str) -> None:
    assert (await http.post(f"/edgewise/v1/models/{model}/drain")).status_code == 200
    await until(http, model, in_flight=0)
    assert (await http.post(f"/v2/repository/models/{model}/unload")).status_code == 200


def complete(max_tokens: int, **more: Any) -> dict[str, Any]:
    return {"model": "gpt2", "prompt": "the people of the city", "max_tokens": max_tokens, **more}


async def test_text_in_text_out(api: httpx.AsyncClient) -> None:
    response = await api.post("/v1/completions", json=complete(12), headers={"x-request-id": "p1"})
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["choices"][0]["text"].strip()
    assert body["usage"] == {"prompt_tokens": 7, "completion_tokens": 12, "total_tokens": 19}
    assert response.headers["x-edgewise-node"] == "edge-1"
    assert response.headers["x-request-id"] == "p1"
    assert float(response.headers["x-edgewise-service-ms"]) > 0
    assert float(response.headers["x-edgewise-queue-ms"]) >= 0
    assert 0 < float(response.headers["x-edgewise-started-s"]) < time.monotonic()
    again = await api.post("/v1/completions", json=complete(12))
    assert again.json()["choices"] == body["choices"]  # greedy decoding
    assert again.headers["x-edgewise-cold-start"] == "false"


async def test_prompt_and_answer_are_clipped_to_the_context(api: httpx.AsyncClient) -> None:
    body = complete(30) | {"prompt": "the people " * 2000}
    usage = (await api.post("/v1/completions", json=body)).json()["usage"]
    assert usage == {"prompt_tokens": 994, "completion_tokens": 30, "total_tokens": 1024}


async def test_a_stream_says_the_same_as_one_answer(api: httpx.AsyncClient) -> None:
    whole = (await api.post("/v1/completions", json=complete(10))).json()["choices"][0]["text"]
    body = complete(10, stream=True, stream_options={"include_usage": True})
    async with api.stream("POST", "/v1/completions", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "x-edgewise-started-s" in response.headers
        lines = [line[6:] async for line in response.aiter_lines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    *chunks, usage = [json.loads(line) for line in lines[:-1]]
    assert len(chunks) > 5
    assert "".join(c["choices"][0]["text"] for c in chunks) == whole
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert usage["usage"]["completion_tokens"] == 10


async def test_a_chat_streams_too(api: httpx.AsyncClient) -> None:
    body = {"model": "gpt2", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4, "stream": True}
    async with api.stream("POST", "/v1/chat/completions", json=body) as response:
        lines = [line[6:] async for line in response.aiter_lines() if line.startswith("data: ")]
    said = [json.loads(line)["choices"][0]["delta"].get("content", "") for line in lines[:-1]]
    assert "".join(said).strip()


async def test_image_in_caption_out(api: httpx.AsyncClient) -> None:
    response = await api.post("/v1/chat/completions", json=caption(picture()))
    assert response.status_code == 200, response.text
    assert len(response.json()["choices"][0]["message"]["content"].split()) >= 5


def picture() -> bytes:
    out = io.BytesIO()
    Image.radial_gradient("L").resize((120, 80)).save(out, "JPEG")
    return out.getvalue()


def caption(image: bytes) -> dict[str, Any]:
    url = "data:image/jpeg;base64," + base64.b64encode(image).decode()
    content = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    return {"model": "blip", "messages": [{"role": "user", "content": content}], "max_tokens": 8}


async def test_text_in_png_out(api: httpx.AsyncClient) -> None:
    body = {"model": "stable-diffusion", "prompt": "a street", "n": 2, "size": "64x128", "steps": 3, "seed": 5}
    response = await api.post("/v1/images/generations", json=body)
    assert response.status_code == 200, response.text
    images = [base64.b64decode(item["b64_json"]) for item in response.json()["data"]]
    assert [Image.open(io.BytesIO(i)).size for i in images] == [(64, 128), (64, 128)]
    assert images[0] != images[1]
    again = (await api.post("/v1/images/generations", json=body)).json()["data"]
    assert base64.b64decode(again[0]["b64_json"]) == images[0]


async def test_what_a_client_gets_wrong(api: httpx.AsyncClient) -> None:
    cases: list[tuple[str, Any, int, str]] = [
        ("/v1/completions", complete(1) | {"model": "nope"}, 404, "model_not_found"),
        ("/v1/completions", complete(1) | {"model": "blip"}, 400, "bad_input"),
        ("/v1/completions", complete(1) | {"model": 3}, 400, "bad_input"),
        ("/v1/completions", {"prompt": "a"}, 400, "bad_input"),
        ("/v1/completions", complete(1, stream="yes"), 400, "bad_input"),
        ("/v1/chat/completions", caption(b"no image"), 400, "bad_input"),
        ("/v1/images/generations", {"model": "stable-diffusion", "prompt": 1}, 400, "bad_input"),
        ("/v1/nothing", {}, 404, "bad_input"),
    ]
    for path, body, status, code in cases:
        response = await api.post(path, json=body)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code), path
        assert response.json()["error"]["type"] == "invalid_request_error"
    malformed = await api.post("/v1/completions", content=b'{"model": ')
    assert malformed.status_code == 400
    hint = await api.post("/v1/completions", json=complete(1), headers={"x-edgewise-size-hint": "soon"})
    assert hint.json()["error"]["param"] == "x-edgewise-size-hint"


async def test_admission_refuses_what_does_not_fit_with_the_numbers(api: httpx.AsyncClient) -> None:
    response = await api.post("/v2/repository/models/gpt2-large/load")
    assert response.status_code == 409
    error = response.json()["error"]
    assert error["code"] == "admission_refused"
    assert "3.5 GiB" in error["message"]
    assert "0 GiB of the node's 8 GiB" in error["message"]
    handed = await api.post("/v1/completions", json=complete(1) | {"model": "gpt2-large"})
    assert handed.status_code == 503
    assert handed.headers["x-edgewise-handed-back"] == "1"
    assert int(handed.headers["retry-after"]) >= 1


async def test_the_open_inference_protocol_and_our_state(api: httpx.AsyncClient) -> None:
    assert (await api.get("/v2/health/live")).status_code == 200
    assert (await api.get("/v2/health/ready")).status_code == 200
    assert (await api.get("/v2/models/gpt2/ready")).status_code == 200
    assert (await api.get("/v2/models/gpt2-large/ready")).status_code == 503
    assert (await api.get("/v2/models/nope/ready")).status_code == 404
    index = {m["name"]: m["state"] for m in (await api.post("/v2/repository/index")).json()}
    assert index["gpt2"] == "READY"
    assert index["gpt2-large"] == "UNAVAILABLE"
    assert [m["id"] for m in (await api.get("/v1/models")).json()["data"]] == ["gpt2", "blip", "stable-diffusion"]
    state = (await api.get("/edgewise/v1/state")).json()
    assert (state["node"], state["memory_gib"], state["memory_used_gib"]) == ("edge-1", 8.0, 8.0)
    assert "edgewise: node edge-1" in " ".join(psutil.Process(state["pid"]).cmdline())
    shares = await api.put("/edgewise/v1/shares", json={"gpt2": 3})
    assert shares.json()["shares"]["gpt2"] == 3
    assert (await replica(api, "gpt2"))["share"] == 3
    for bad in ({"gpt2": 0}, {"gpt2": "1"}, []):
        assert (await api.put("/edgewise/v1/shares", json=bad)).status_code == 400
    assert (await api.put("/edgewise/v1/shares", json={"nope": 1})).status_code == 404


async def test_a_client_that_leaves_frees_the_capacity(api: httpx.AsyncClient) -> None:
    async with api.stream("POST", "/v1/completions", json=complete(1000, stream=True)) as response:
        await anext(response.aiter_lines())  # it is running, and streams
    with pytest.raises(httpx.ReadTimeout):
        await api.post("/v1/completions", json=complete(1000), timeout=0.15)
    served = (await replica(api, "gpt2"))["served"]
    await until(api, "gpt2", in_flight=0, queued=0)
    assert (await api.post("/v1/completions", json=complete(2))).status_code == 200
    after = await until(api, "gpt2", in_flight=0, queued=0)
    assert after["served"] <= served + 2  # cancelled ones do not count; at most one was past its last step
    assert after["work_s"] == 0


async def test_a_drain_hands_the_queue_back_and_finishes_what_runs(api: httpx.AsyncClient) -> None:
    running = asyncio.create_task(api.post("/v1/completions", json=complete(400)))
    await until(api, "gpt2", in_flight=1)
    queued = [asyncio.create_task(api.post("/v1/completions", json=complete(400))) for _ in range(3)]
    await until(api, "gpt2", in_flight=1, queued=3)
    assert (await api.post("/v2/repository/models/gpt2/unload")).status_code == 409
    assert (await api.post("/edgewise/v1/models/gpt2/drain")).json()["handed_back"] == 3
    for response in await asyncio.gather(*queued):
        assert response.status_code == 503
        assert response.headers["x-edgewise-handed-back"] == "1"
    busy = await api.post("/v2/repository/models/gpt2/unload")
    assert (busy.status_code, busy.json()["error"]["code"]) == (409, "replica_busy")
    finished = await running
    assert finished.json()["usage"]["completion_tokens"] == 400
    assert (await api.post("/v2/repository/models/gpt2/unload")).status_code == 200
    assert (await replica(api, "gpt2"))["state"] == "absent"
    assert (await api.get("/edgewise/v1/state")).json()["memory_used_gib"] == 7.0
    await load(api, "gpt2")
    cold = await api.post("/v1/completions", json=complete(1))
    assert cold.headers["x-edgewise-cold-start"] == "true"


async def test_memory_freed_by_an_unload_admits_another_model(api: httpx.AsyncClient) -> None:
    await remove(api, "stable-diffusion")
    await load(api, "gpt2-large")
    response = await api.post("/v1/completions", json=complete(5) | {"model": "gpt2-large"})
    assert response.json()["usage"]["completion_tokens"] == 5
    await remove(api, "gpt2-large")
    await load(api, "stable-diffusion")


async def test_metrics_tell_what_happened(api: httpx.AsyncClient) -> None:
    text = (await api.get("/metrics")).text
    assert 'edgewise_replica_state{model="gpt2",node="edge-1",state="ready"} 1.0' in text
    assert 'edgewise_replica_load_seconds_count{model="gpt2",node="edge-1"}' in text
    assert 'edgewise_service_seconds_count{model="blip",node="edge-1"}' in text


async def test_a_killed_node_is_told_of_and_comes_back_where_it_was(forked: Forked) -> None:
    first = await forked.server.spawn(config("edge-2", forked, 8.0))
    os.kill(first.pid, signal.SIGKILL)
    death = await forked.death_of(first.pid)
    assert (death.node, death.signal) == ("edge-2", signal.SIGKILL)
    second = await forked.server.spawn(config("edge-2", forked, 8.0, port=first.port))
    assert second.port == first.port
    third = await forked.server.spawn(config("edge-3", forked, 8.0, port=first.port))
    assert third.port != first.port  # taken: another one is found
    async with client(second) as http:
        assert (await http.get("/v2/health/live")).status_code == 200
    for spawned in (second, third):
        os.kill(spawned.pid, signal.SIGTERM)
        assert (await forked.death_of(spawned.pid)).signal in (0, signal.SIGTERM)


async def test_a_node_at_work_stops_within_seconds(forked: Forked) -> None:
    spawned = await forked.server.spawn(config("edge-4", forked, 8.0))
    async with client(spawned) as http:
        await load(http, "gpt2")
        prompts = [asyncio.create_task(http.post("/v1/completions", json=complete(1000))) for _ in range(3)]
        await until(http, "gpt2", in_flight=1, queued=2)
        began = time.monotonic()
        os.kill(spawned.pid, signal.SIGTERM)
        assert (await forked.death_of(spawned.pid)).code == 0
        assert time.monotonic() - began < 5.0
        for end in await asyncio.gather(*prompts, return_exceptions=True):
            assert isinstance(end, httpx.HTTPError) or (isinstance(end, httpx.Response) and end.status_code == 503)


async def test_a_torn_checkpoint_leaves_a_failed_replica_that_can_be_unloaded(forked: Forked) -> None:
    torn = forked.folder / "torn"
    torn.mkdir()
    (torn / "config.json").write_text('{"model_type": "gpt2"}')
    mute = forked.folder / "mute"
    shutil.copytree(forked.tiny / "blip", mute)
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (mute / file).unlink()
    sources = {"gpt2": Source(str(torn)), "blip": Source(str(mute)), "stable-diffusion": Source(str(torn / "no"))}
    spawned = await forked.server.spawn(config("edge-5", forked, 8.0, sources=sources, max_body_mib=0.001))
    async with client(spawned) as http:
        for model, reason in (
            ("gpt2", str(torn)),
            ("blip", "tokenizer"),
            ("stable-diffusion", "does not exist"),
            ("gpt2-large", "no source"),
        ):
            assert (await http.post(f"/v2/repository/models/{model}/load")).status_code == 202
            assert reason in (await until(http, model, state="failed"))["error"]
            assert (await http.post(f"/v2/repository/models/{model}/unload")).status_code == 200
        assert (await http.get("/edgewise/v1/state")).json()["memory_used_gib"] == 0.0
        large = await http.post("/v1/completions", json=complete(1) | {"prompt": "x" * 4000})
        assert (large.status_code, large.json()["error"]["code"]) == (413, "too_large")


async def test_the_hub_cache_serves_the_published_ids_offline(forked: Forked) -> None:
    cache = forked.folder / "hub"
    await forked.server.make_tiny(cache / ".plain")
    make_hub_cache(cache)
    sources = resolve("hub", SPECS, cache)
    assert sources["gpt2"].location == "openai-community/gpt2"
    spawned = await forked.server.spawn(config("edge-6", forked, 16.0, sources=sources))
    async with client(spawned) as http:
        await asyncio.gather(*(load(http, spec.id) for spec in SPECS))
        assert (await http.post("/v1/completions", json=complete(2))).json()["choices"][0]["text"].strip()
        assert (await http.post("/v1/chat/completions", json=caption(picture()))).status_code == 200
    os.kill(spawned.pid, signal.SIGTERM)


async def test_missing_checkpoints_say_where_and_what_to_do(forked: Forked) -> None:
    assert tiny_is_made(forked.tiny)
    with pytest.raises(BadInput) as caught:
        resolve(str(forked.folder / "absent"), SPECS)
    assert "absent" in caught.value.line()
    assert "edgewise models tiny" in caught.value.line()
    with pytest.raises(BadInput, match="not in the hub cache"):
        resolve("hub", SPECS, forked.folder / "empty")


async def test_nodes_end_with_the_fork_server_however_it_ends(forked: Forked) -> None:
    other = ForkServer(log=forked.folder / "nodes.log")
    await other.start()
    spawned = await other.spawn(config("edge-7", forked, 8.0))
    os.kill(other.pid, signal.SIGKILL)
    async with asyncio.timeout(LONG_S):
        while psutil.pid_exists(spawned.pid):  # noqa: ASYNC110  # a foreign process: there is nothing to wait on
            await asyncio.sleep(0.02)
        assert [death async for death in other.exits()] == []
    with pytest.raises(ClusterUnavailable):
        await other.spawn(config("edge-8", forked, 8.0))
    await other.stop()
