"""Calibration over HTTP, against a small server that keeps the node's API and charges a known price."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from edgewise.domain.errors import BadInput, LoadFailed, RunFailed, Unavailable
from edgewise.domain.model import ModelSpec, PromptSize, ServiceProfile, Task
from evals.calibrate import calibrate
from evals.prompts import noise_png

TEXT = ModelSpec("gpt2", Task.TEXT_GENERATION, 1.0, 0.1)
CAPTION = ModelSpec("blip", Task.IMAGE_TO_TEXT, 2.0, 0.5)
IMAGE = ModelSpec("stable-diffusion", Task.TEXT_TO_IMAGE, 4.0, 1.0)
PRICES = {
    "gpt2": ServiceProfile(0.02, per_output_token_s=2e-3),
    "blip": ServiceProfile(0.1, per_output_token_s=1e-3),
    "stable-diffusion": ServiceProfile(0.01, per_step_s=0.012),
}


class PricedNode:
    """Loads after two polls; the first prompt after a load costs ten times its price."""

    def __init__(self, *, refuses: bool = False, breaks: bool = False, headers: bool = True) -> None:
        self.states: dict[str, str] = {}
        self.polls: dict[str, int] = {}
        self.most_loaded = 0
        self.calls: list[str] = []
        self._refuses, self._breaks, self._headers = refuses, breaks, headers
        self._cold: set[str] = set()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v2/models/{m}/ready", self.ready)
        app.router.add_post("/v2/repository/models/{m}/load", self.load)
        app.router.add_post("/v2/repository/models/{m}/unload", self.unload)
        app.router.add_post("/edgewise/v1/models/{m}/drain", self.drain)
        app.router.add_get("/edgewise/v1/state", self.state)
        app.router.add_post("/v1/{tail:.*}", self.answer)
        return app

    async def ready(self, request: web.Request) -> web.Response:
        model = request.match_info["m"]
        if self.states.get(model) == "loading":
            self.polls[model] = self.polls.get(model, 0) + 1
            if self.polls[model] >= 2:
                self.states[model] = "failed" if self._breaks else "ready"
                self._cold.add(model)
        return web.Response(status=200 if self.states.get(model) == "ready" else 503)

    async def load(self, request: web.Request) -> web.Response:
        if self._refuses:
            body = {
                "error": {"code": "admission_refused", "message": "needs 4.0 GiB, 1.0 free", "where": "", "hint": ""}
            }
            return web.json_response(body, status=409)
        self.states[request.match_info["m"]] = "loading"
        self.most_loaded = max(self.most_loaded, len(self.states))
        return web.json_response({}, status=202)

    async def drain(self, request: web.Request) -> web.Response:
        self.states[request.match_info["m"]] = "draining"
        return web.json_response({})

    async def unload(self, request: web.Request) -> web.Response:
        assert self.states.pop(request.match_info["m"]) == "draining"
        return web.json_response({})

    async def state(self, _request: web.Request) -> web.Response:
        replicas = [{"model": m, "state": s, "error": "weights are missing"} for m, s in self.states.items()]
        return web.json_response({"replicas": replicas})

    async def answer(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json()
        model = body["model"]
        self.calls.append(model)
        assert self.states[model] == "ready"
        if request.path == "/v1/completions":
            size = PromptSize(len(body["prompt"].split()), body["max_tokens"])
            content: dict[str, Any] = {"choices": [{"text": "yes"}]}
        elif request.path == "/v1/chat/completions":
            size = PromptSize(output_tokens=body["max_tokens"], images=1)
            content = {"choices": [{"message": {"content": "a tree"}}]}
        else:
            size = PromptSize(images=body["n"], steps=body["steps"])
            content = {"data": [{"b64_json": base64.b64encode(noise_png(1, 1, 2)).decode()}] * body["n"]}
        price_s = PRICES[model].expected_s(size) * (10 if model in self._cold else 1)
        self._cold.discard(model)
        headers = {"x-edgewise-service-ms": f"{price_s * 1e3:.6f}"} if self._headers else {}
        return web.json_response(content, headers=headers)


@asynccontextmanager
async def running(node: PricedNode) -> AsyncIterator[str]:
    runner = web.AppRunner(node.app(), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_prices_are_found_and_the_node_is_left_as_it_was() -> None:
    node = PricedNode()
    specs = [TEXT, CAPTION, IMAGE]
    async with running(node) as url:
        found = await calibrate({s.id: url for s in specs}, specs)
    assert node.states == {}
    assert node.most_loaded == 1  # one model at a time: they need not fit together
    assert node.calls == sorted(node.calls, key=[s.id for s in specs].index)  # and never two at once
    for model, size in (
        ("gpt2", PromptSize(200, 30)),
        ("blip", PromptSize(0, 20, 1)),
        ("stable-diffusion", PromptSize(0, 0, 3, 5)),
    ):
        assert found[model].profile.expected_s(size) == pytest.approx(PRICES[model].expected_s(size), rel=1e-3)
        assert found[model].load_s is not None
        assert len(found[model].points) >= 2


async def test_a_model_that_is_ready_stays_so() -> None:
    node = PricedNode()
    node.states["gpt2"] = "ready"
    async with running(node) as url:
        found = await calibrate({"gpt2": url}, [TEXT], budget_s=0.0)
    assert node.states == {"gpt2": "ready"}
    assert found["gpt2"].load_s is None
    assert len(found["gpt2"].points) == 4  # the budget ends repetitions, never the first round


async def test_what_goes_wrong_is_said() -> None:
    async with running(PricedNode(refuses=True)) as url:
        with pytest.raises(LoadFailed, match=r"needs 4\.0 GiB, 1\.0 free"):
            await calibrate({"gpt2": url}, [TEXT])
    async with running(PricedNode(breaks=True)) as url:
        with pytest.raises(LoadFailed, match="weights are missing"):
            await calibrate({"gpt2": url}, [TEXT])
    async with running(PricedNode(headers=False)) as url:
        with pytest.raises(RunFailed, match="x-edgewise-service-ms"):
            await calibrate({"gpt2": url}, [TEXT])
    with pytest.raises(Unavailable, match="does not answer"):
        await calibrate({"gpt2": url}, [TEXT])
    with pytest.raises(BadInput, match="not in the catalogue"):
        await calibrate({"gpt-9": url}, [TEXT])
