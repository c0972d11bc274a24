"""The node's HTTP API: OpenAI shapes, the Open Inference Protocol, and ours under /edgewise/v1."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.codec import from_json, to_plain
from edgewise.domain.errors import BadInput, EdgewiseError
from serving.node import openai
from serving.node.bodies import json_response, read_body
from serving.node.config import Order
from serving.node.node import Node
from serving.node.prompts import Prompts
from serving.node.view import ReplicaView

Handler = Callable[[Request], Awaitable[Response]]


def make_app(node: Node) -> Starlette:
    """The ASGI application of one node."""
    api = _Api(node)
    prompts = Prompts(node)
    ours = [
        Route("/v2/health/live", api.live),
        Route("/v2/health/ready", api.ready),
        Route("/v2/models/{model}/ready", _guard(api.model_ready)),
        Route("/v2/repository/index", api.index, methods=["GET", "POST"]),
        Route("/v2/repository/models/{model}/load", _guard(api.load), methods=["POST"]),
        Route("/v2/repository/models/{model}/unload", _guard(api.unload), methods=["POST"]),
        Route("/edgewise/v1/state", api.state),
        Route("/edgewise/v1/models/{model}/drain", _guard(api.drain), methods=["POST"]),
        Route("/edgewise/v1/shares", _guard(api.shares), methods=["PUT"]),
        Route("/edgewise/v1/order", _guard(api.order), methods=["PUT"]),
        Route("/edgewise/v1/limits", _guard(api.limits), methods=["PUT"]),
        Route("/metrics", api.metrics),
        Route("/v1/models", api.models),
    ]
    data = [
        Route("/v1/completions", prompts.completion, methods=["POST"]),
        Route("/v1/chat/completions", prompts.chat, methods=["POST"]),
        Route("/v1/images/generations", prompts.image, methods=["POST"]),
    ]
    return Starlette(routes=ours + data, exception_handlers={404: _not_found, 405: _not_found})


def _guard(handler: Handler) -> Handler:
    """Turns our errors into our error shape."""

    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except EdgewiseError as error:
            return json_response(error.as_dict(), error.http_status)

    return guarded


async def _not_found(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    wrong = BadInput(f"no such resource: {request.method} {request.url.path}")
    body = openai.error_body(wrong) if request.url.path.startswith("/v1/") else wrong.as_dict()
    return json_response(body, status)


class _Api:
    """Everything but prompts."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def live(self, _request: Request) -> Response:
        return json_response({"live": True})

    async def ready(self, _request: Request) -> Response:
        return json_response({"ready": True})

    async def model_ready(self, request: Request) -> Response:
        life = self._node.life(request.path_params["model"])
        ready = life.state is ReplicaState.READY
        return json_response({"name": life.model, "ready": ready, "state": life.state}, 200 if ready else 503)

    async def index(self, _request: Request) -> Response:
        return json_response(
            [{"name": v.model, "version": "1", "state": _INDEX[v.state], "reason": v.error} for v in self._views()]
        )

    async def models(self, _request: Request) -> Response:
        ready = [v for v in self._views() if v.state is ReplicaState.READY]
        data = [{"id": v.model, "object": "model", "created": 0, "owned_by": "edgewise"} for v in ready]
        return json_response({"object": "list", "data": data})

    async def load(self, request: Request) -> Response:
        model = request.path_params["model"]
        begun = self._node.load(model)
        return json_response({"model": model, "state": self._node.life(model).state}, 202 if begun else 200)

    async def unload(self, request: Request) -> Response:
        model = request.path_params["model"]
        await self._node.unload(model)
        return json_response({"model": model, "state": self._node.life(model).state})

    async def drain(self, request: Request) -> Response:
        model = request.path_params["model"]
        handed_back = self._node.drain(model)
        state = self._node.life(model).state
        return json_response({"model": model, "state": state, "handed_back": handed_back})

    async def shares(self, request: Request) -> Response:
        body = openai.parse_body(await read_body(request, self._node.config.max_body_mib))
        for model, share in body.items():
            if isinstance(share, bool) or not isinstance(share, int | float):
                raise BadInput(f"the share of {model} must be a number > 0", where="shares")
        self._node.share(body)
        return json_response({"shares": {v.model: v.share for v in self._views()}})

    async def order(self, request: Request) -> Response:
        data = await read_body(request, self._node.config.max_body_mib)
        order = from_json(Order, data, where="order")
        self._node.set_order(order)
        return json_response(to_plain(order))

    async def limits(self, request: Request) -> Response:
        body = openai.parse_body(await read_body(request, self._node.config.max_body_mib))
        cores = body.get("cpu")
        if set(body) != {"cpu"} or isinstance(cores, bool) or not isinstance(cores, int | float):
            raise BadInput('limits are {"cpu": cores}', where="limits", hint="0 means no limit")
        self._node.limit_cpu(cores)
        return json_response({"cpu": cores})

    async def state(self, _request: Request) -> Response:
        node = self._node
        replicas = [asdict(v) for v in self._views() if v.state is not ReplicaState.ABSENT]
        return json_response(
            {
                "node": node.config.node.id,
                "at_s": node.now_s(),
                "memory_gib": node.config.node.memory_gib,
                "memory_used_gib": node.memory_used_gib(),
                "speed": node.config.node.speed,
                "pid": os.getpid(),
                "replicas": replicas,
            }
        )

    async def metrics(self, _request: Request) -> Response:
        return Response(self._node.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def _views(self) -> list[ReplicaView]:
        return self._node.states()


_INDEX = {
    ReplicaState.ABSENT: "UNAVAILABLE",
    ReplicaState.FAILED: "UNAVAILABLE",
    ReplicaState.LOADING: "LOADING",
    ReplicaState.READY: "READY",
    ReplicaState.DRAINING: "UNLOADING",
}
