"""Servers of other makes as far as a reader sees them: their pages and JSON, written in their formats, counting what
a test says they served. Every request they get is kept."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

BUCKETS = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 30.0)


@dataclass
class Fake:
    """pages: what a path answers, made anew each time; anything else is 404. asked: (method, path) of requests.
    broken: every answer is a 500."""

    pages: dict[str, Callable[[], str]]
    asked: list[tuple[str, str]] = field(default_factory=list)
    broken: bool = False
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path_qs))
        if self.broken:
            return web.Response(status=500, text="Internal Server Error")
        made = self.pages.get(request.path)
        if made is None:
            return web.json_response({"detail": "Not Found"}, status=404)
        kind = "application/json" if request.path != "/metrics" else "text/plain"
        return web.Response(text=made(), content_type=kind)


@asynccontextmanager
async def serving(fake: Fake) -> AsyncIterator[Fake]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()


@dataclass
class Vllm:
    """One engine with one model."""

    model: str = "Qwen/Qwen2.5-1.5B-Instruct"
    took_s: list[float] = field(default_factory=list)
    running: int = 0
    waiting: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0

    def ends(self, took_s: float, tokens: tuple[int, int] = (100, 50)) -> None:
        self.took_s.append(took_s)
        self.prompt_tokens += tokens[0]
        self.generation_tokens += tokens[1]

    def page(self) -> str:
        who = f'engine="0",model_name="{self.model}"'
        lines = [
            "# HELP vllm:num_requests_running Requests in the model's batches.",
            "# TYPE vllm:num_requests_running gauge",
            f"vllm:num_requests_running{{{who}}} {float(self.running)}",
            "# TYPE vllm:num_requests_waiting gauge",
            f"vllm:num_requests_waiting{{{who}}} {float(self.waiting)}",
            "# TYPE vllm:kv_cache_usage_perc gauge",
            f"vllm:kv_cache_usage_perc{{{who}}} 0.034",
            "# TYPE vllm:prompt_tokens_total counter",
            f"vllm:prompt_tokens_total{{{who}}} {float(self.prompt_tokens)}",
            "# TYPE vllm:generation_tokens_total counter",
            f"vllm:generation_tokens_total{{{who}}} {float(self.generation_tokens)}",
            "# TYPE vllm:request_success_total counter",
            f'vllm:request_success_total{{engine="0",finished_reason="stop",model_name="{self.model}"}} '
            f"{float(len(self.took_s))}",
            f'vllm:request_success_total{{engine="0",finished_reason="length",model_name="{self.model}"}} 0.0',
            *histogram("vllm:e2e_request_latency_seconds", who, self.took_s),
            *histogram("vllm:request_inference_time_seconds", who, [0.8 * x for x in self.took_s]),
        ]
        return "\n".join(lines) + "\n"

    def fake(self) -> Fake:
        models = {"object": "list", "data": [{"id": self.model, "object": "model", "owned_by": "vllm"}]}
        return Fake({"/metrics": self.page, "/v1/models": lambda: json.dumps(models)})


def histogram(name: str, labels: str, values: list[float], scale: float = 1.0) -> list[str]:
    head = f"{labels}," if labels else ""
    lines = [f"# TYPE {name} histogram"]
    for le in BUCKETS:
        lines.append(f'{name}_bucket{{{head}le="{le * scale}"}} {float(sum(x <= le for x in values))}')
    lines.append(f'{name}_bucket{{{head}le="+Inf"}} {float(len(values))}')
    both = f"{{{labels}}}" if labels else ""
    return [*lines, f"{name}_count{both} {float(len(values))}", f"{name}_sum{both} {sum(values) * scale}"]


@dataclass
class Ollama:
    loaded: dict[str, str] = field(default_factory=lambda: {"llama3.2:3b": "2026-01-01T10:05:00.1+01:00"})
    size: int = 3 * (1 << 30)

    def fake(self) -> Fake:
        details = {"format": "gguf", "family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"}
        tags = [{"name": n, "model": n, "size": 2 << 30, "digest": "aa", "details": details} for n in self.names()]

        def ps() -> str:
            rows = [
                {"name": n, "model": n, "size": self.size, "size_vram": self.size // 2, "digest": "aa",
                 "details": details, "expires_at": at, "context_length": 4096}
                for n, at in self.loaded.items()
            ]  # fmt: skip
            return json.dumps({"models": rows})

        return Fake({"/api/tags": lambda: json.dumps({"models": tags}), "/api/ps": ps})

    def names(self) -> list[str]:
        return ["llama3.2:3b", "moondream:1.8b"]


@dataclass
class LlamaSwap:
    """old: a version whose log is a plain list."""

    log: list[dict[str, Any]] = field(default_factory=list)
    running: dict[str, str] = field(default_factory=dict)
    old: bool = False

    def ends(self, model: str, at: str, took_ms: int, tokens: tuple[int, int] = (20, 30)) -> None:
        sizes = {"cache_tokens": -1, "input_tokens": tokens[0], "output_tokens": tokens[1], "tokens_per_second": 30.1}
        entry = {"id": len(self.log), "timestamp": at, "model": model, "duration_ms": took_ms}
        self.log.append(entry | (sizes if self.old else {"tokens": sizes, "resp_status_code": 200}))

    def fake(self) -> Fake:
        def state() -> str:
            rows = [
                {"model": m, "state": s, "cmd": "llama-server -m x", "proxy": "http://127.0.0.1:5800", "ttl": 0}
                for m, s in self.running.items()
            ]
            return json.dumps({"running": rows})

        listed = {"object": "list", "data": [{"id": m, "object": "model", "created": 1} for m in ("small", "large")]}
        page = "# TYPE llamaswap_gpu_memory_total_bytes gauge\n" + (
            f'llamaswap_gpu_memory_total_bytes{{gpu="0",name="card"}} {24 << 30}\n'
        )
        pages = {"/running": state, "/v1/models": lambda: json.dumps(listed), "/unload": lambda: "OK"}
        if self.old:
            return Fake(pages | {"/api/metrics": lambda: json.dumps(self.log)})
        activity = lambda: json.dumps({"data": self.log[::-1], "page": 1, "total": len(self.log)})  # noqa: E731
        return Fake(pages | {"/metrics": lambda: page, "/api/metrics/activity": activity})


@dataclass
class LlamaCpp:
    """metrics: started with --metrics. tasks: id of the last task of each slot, and whether it runs."""

    metrics: bool = True
    tasks: list[tuple[int, bool]] = field(default_factory=lambda: [(-1, False), (-1, False)])
    seconds: tuple[float, float] = (0.0, 0.0)
    tokens: tuple[int, int] = (0, 0)
    deferred: int = 0

    def page(self) -> str:
        processing = sum(busy for _, busy in self.tasks)
        lines = []
        for name, kind, value in (
            ("prompt_tokens_total", "counter", self.tokens[0]),
            ("prompt_seconds_total", "counter", self.seconds[0]),
            ("tokens_predicted_total", "counter", self.tokens[1]),
            ("tokens_predicted_seconds_total", "counter", self.seconds[1]),
            ("requests_processing", "gauge", processing),
            ("requests_deferred", "gauge", self.deferred),
        ):
            lines += [f"# TYPE llamacpp:{name} {kind}", f"llamacpp:{name} {value:g}"]
        return "\n".join(lines) + "\n"

    def fake(self) -> Fake:
        def slots() -> str:
            rows = [
                {"id": i, "id_task": task, "n_ctx": 4096, "is_processing": busy}
                for i, (task, busy) in enumerate(self.tasks)
            ]
            return json.dumps(rows)

        listed = {"object": "list", "data": [{"id": "/models/qwen2.5-1.5b-q4.gguf", "object": "model"}]}
        pages: dict[str, Callable[[], str]] = {"/slots": slots, "/v1/models": lambda: json.dumps(listed)}
        return Fake(pages | ({"/metrics": self.page} if self.metrics else {}))


@dataclass
class Kserve:
    """KServe's model server behind Knative's queue-proxy, both on one page. proxy: whether the latter is there."""

    model: str = "sklearn-iris"
    took_s: list[float] = field(default_factory=list)
    proxy: bool = True

    def page(self) -> str:
        lines = histogram("request_predict_seconds", f'model_name="{self.model}"', [0.5 * x for x in self.took_s])
        if self.proxy:
            who = 'container_name="queue-proxy",response_code="200",revision_name="iris-00001",service_name="iris"'
            lines += ["# TYPE revision_request_count counter", f"revision_request_count{{{who}}} {len(self.took_s)}"]
            lines += histogram("revision_request_latencies", who, self.took_s, 1000.0)
        return "\n".join(lines) + "\n"

    def fake(self) -> Fake:
        server = {"name": "kserve", "version": "0.15.0", "extensions": ["model_repository_extension"]}
        return Fake({
            "/metrics": self.page,
            "/v2": lambda: json.dumps(server),
            "/v2/models": lambda: json.dumps({"models": [self.model]}),
        })  # fmt: skip
