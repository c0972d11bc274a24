"""A language model as a real part: an OpenAI-compatible server on loopback with scripted answers and faults.

In tests: `async with LlmServer("prose") as server: ... server.url`. By hand:
`python tests/support/llm_server.py --port 9000 --fault random --seed 1`; then give http://127.0.0.1:9000/v1 to --llm.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

from aiohttp import web

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.llm_answers import ANSWERS, TOOL_FAULTS, Answer, answer_object, honest_calls, state_in

# Faults below the text: of status, envelope, time or connection.
TRANSPORT = ("html", "not-json", "wrong-envelope", "429", "500", "hang", "drip", "reset", "reset-midway", "endless")
FAULTS = (*ANSWERS, *TRANSPORT, *TOOL_FAULTS)
MODEL = "test-llm"


class LlmServer:
    """Listens on 127.0.0.1. `faults`: one name, or several in turn (the last one stays), or "random" (every fault,
    drawn from `seed` and the call's number). `rejects`: body fields answered with 400, as some servers do; "turns":
    messages of tools. tools: whether an honest answer calls tools first where it is offered some. delay_s, token_s:
    seconds before each answer, and for each of its tokens. usage: whether tokens are reported. retry_after_s: of a
    429. says: makes the content from the body instead. `requests` holds every chat body, `served` counts faults by
    name."""

    def __init__(
        self,
        faults: str | Sequence[str] = "valid",
        *,
        port: int = 0,
        seed: int = 0,
        delay_s: float = 0.0,
        rejects: Sequence[str] = (),
        usage: bool = True,
        tools: bool = False,
        token_s: float = 0.0,
        retry_after_s: float = 7.0,
        says: Callable[[dict[str, Any]], str] | None = None,
    ) -> None:
        self.faults = (faults,) if isinstance(faults, str) else tuple(faults)
        unknown = [f for f in self.faults if f not in FAULTS and f != "random"]
        if unknown:
            raise ValueError(f"unknown faults {unknown}; known: random, {', '.join(FAULTS)}")
        self.port, self.seed, self.delay_s = port, seed, delay_s
        self.rejects, self.usage, self.tools = tuple(rejects), usage, tools
        self.token_s, self.retry_after_s, self.says = token_s, retry_after_s, says
        self.requests: list[dict[str, Any]] = []
        self.served: Counter[str] = Counter()
        self.listed = 0
        self.rejected = 0
        self._runner: web.AppRunner | None = None
        self.asked = asyncio.Event()  # set by the first chat request
        self._stopping = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> None:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> LlmServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def fault_of(self, number: int) -> str:
        """The fault of the call with this number, from 0."""
        name = self.faults[min(number, len(self.faults) - 1)]
        return Random(f"{self.seed}/{number}").choice(FAULTS) if name == "random" else name

    async def _models(self, _request: web.Request) -> web.Response:
        self.listed += 1
        models = [{"id": MODEL, "object": "model", "created": 0, "owned_by": "tests"}]
        return web.json_response({"object": "list", "data": models})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        there = {*body, *(["turns"] if any(m["role"] == "tool" for m in body["messages"]) else [])}
        refused = next((name for name in self.rejects if name in there), None)
        if refused:
            self.rejected += 1
            words = "unexpected role 'tool'" if refused == "turns" else f"Unsupported parameter: '{refused}'"
            return _error(400, words)
        fault = self.fault_of(len(self.requests))
        self.requests.append(body)
        self.asked.set()
        self.served[fault] += 1
        await asyncio.sleep(self.delay_s)
        if fault in TRANSPORT:
            return await self._break(request, body, fault)
        completion = self._completion(body, fault)
        await asyncio.sleep(self.token_s * completion.get("usage", {}).get("completion_tokens", 0))
        return web.json_response(completion)

    def _completion(self, body: dict[str, Any], fault: str) -> dict[str, Any]:
        if self.says is not None:
            return _envelope(body, Answer(self.says(body)), self.usage)
        state = next((s for m in body["messages"] if m["role"] == "user" and (s := state_in(m["content"]))), {})
        # The same plan throughout a conversation: what was tried out is what is answered.
        talk = json.dumps(state, sort_keys=True)
        plan = answer_object(state, Random(f"{self.seed}/{talk}"))
        turn = sum(m["role"] == "assistant" for m in body["messages"])
        calls: tuple[tuple[str | None, str, str], ...] = ()
        if body.get("tools"):
            if fault in TOOL_FAULTS:
                calls = TOOL_FAULTS[fault] if turn < 2 or fault == "same-call" else ()
            elif self.tools and fault == "valid":
                calls = honest_calls(plan, turn)
        if calls and fault == "spoken-call":  # as a server does that does not parse its model's calls
            return _envelope(
                body, Answer(calls[0][2] if turn < 1 else ANSWERS["valid"](plan, state).content), self.usage
            )
        if calls:
            return _envelope(body, Answer(None, "tool_calls", calls=calls), self.usage)
        return _envelope(body, ANSWERS.get(fault, ANSWERS["valid"])(plan, state), self.usage)

    async def _break(self, request: web.Request, body: dict[str, Any], fault: str) -> web.StreamResponse:
        if fault == "html":
            return web.Response(text="<html><body>Please log in</body></html>", content_type="text/html")
        if fault == "not-json":
            return web.Response(text='{"id": "cut', content_type="application/json")
        if fault == "wrong-envelope":
            return web.json_response({"choices": [], "usage": "none"})
        if fault == "429":
            return _error(429, "Too many requests", {"Retry-After": f"{self.retry_after_s:g}"})
        if fault == "500":
            return _error(500, "The model crashed")
        if fault == "reset":
            _abort(request)
            return web.Response()
        if fault == "hang":
            await self._stopping.wait()
            return web.Response()
        return await self._trickle(request, json.dumps(self._completion(body, "valid")).encode(), fault)

    async def _trickle(self, request: web.Request, text: bytes, fault: str) -> web.StreamResponse:
        """The answer a byte at a time, half of it and then a reset, or white space without end."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        try:
            if fault == "reset-midway":
                await response.write(text[: len(text) // 2])
                _abort(request)
                return response
            while fault == "endless" and not self._stopping.is_set():
                await response.write(b" " * 65536)
            for i in range(len(text)):
                if self._stopping.is_set():
                    break
                await response.write(text[i : i + 1])
                await asyncio.sleep(0.05)
        except ConnectionError:
            pass  # the client has had enough
        return response


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    return web.json_response(body, status=status, headers=headers)


def _envelope(body: dict[str, Any], answer: Answer, usage: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.content}
    if answer.refusal is not None:
        message["refusal"] = answer.refusal
    if answer.calls:
        message["tool_calls"] = [
            {"id": i, "type": "function", "function": {"name": name, "arguments": text}}
            for i, name, text in answer.calls
        ]
    asked = sum(len(str(m["content"])) for m in body["messages"]) // 4
    told = (len(answer.content or "") + sum(len(n) + len(a) for _, n, a in answer.calls)) // 4
    envelope: dict[str, Any] = {
        "id": "chatcmpl-test",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model", MODEL),
        "choices": [{"index": 0, "message": message, "finish_reason": answer.finish_reason, "logprobs": None}],
    }
    if usage:
        envelope["usage"] = {"prompt_tokens": asked, "completion_tokens": told, "total_tokens": asked + told}
    return envelope


async def _serve(args: argparse.Namespace) -> None:
    server = LlmServer(
        args.fault.split(","),
        port=args.port,
        seed=args.seed,
        delay_s=args.delay,
        tools=args.tools,
        token_s=args.token_s,
        rejects=[r for r in args.reject.split(",") if r],
    )
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        await stop.wait()
    sys.stderr.write(f"{json.dumps(dict(server.served))}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="An OpenAI-compatible test server with faults.")
    parser.add_argument("--port", type=int, default=0, help="0: a free one, printed")
    parser.add_argument("--fault", default="valid", help=f"random, or names in turn, by comma: {', '.join(FAULTS)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--token-s", type=float, default=0.0, help="seconds for each token of an answer")
    parser.add_argument("--tools", action="store_true", help="honest answers call tools first")
    parser.add_argument("--reject", default="", help="fields answered with 400, by comma: tools, response_format, …")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
