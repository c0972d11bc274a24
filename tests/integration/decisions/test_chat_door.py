"""OpenAIChat over real HTTP: what is asked, what comes back, which errors, how long."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web

from agents.chat import OpenAIChat
from edgewise.control.ports import ChatModel, ChatReply, ChatRequest, ChatTurn, ToolCall, ToolSpec
from edgewise.domain.errors import BadInput, ChatUnavailable
from tests.support.llm_server import MODEL, LlmServer

SCHEMA = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
REQUEST = ChatRequest("test-v1", "be brief", "how are you?", SCHEMA, max_tokens=77)


@pytest.fixture
async def server() -> AsyncIterator[LlmServer]:
    async with LlmServer("valid") as running:
        yield running


async def ask(server: LlmServer, timeout_s: float = 30.0, **options: str) -> OpenAIChat:
    """One answered call; the chat is open still."""
    chat = OpenAIChat(server.url, **options)
    await chat.ask(REQUEST, timeout_s)
    return chat


async def test_the_request_says_what_is_wanted(server: LlmServer) -> None:
    chat = OpenAIChat(server.url, api_key="secret")
    assert isinstance(chat, ChatModel)
    reply = await chat.ask(REQUEST, 30.0)
    await chat.aclose()
    (body,) = server.requests
    assert body["model"] == MODEL
    assert [(m["role"], m["content"]) for m in body["messages"]] == [("system", "be brief"), ("user", "how are you?")]
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert (body["max_tokens"], body["temperature"]) == (77, 0.0)
    assert not body.get("stream")
    assert reply.finish_reason == "stop"
    assert reply.tokens > 0
    assert reply.seconds > 0


async def test_no_schema_no_response_format(server: LlmServer) -> None:
    chat = OpenAIChat(server.url)
    await chat.ask(ChatRequest("k", "s", "u"), 30.0)
    await chat.aclose()
    assert "response_format" not in server.requests[0]


async def test_the_model_id_is_the_setting_or_the_first_listed_asked_for_once(server: LlmServer) -> None:
    chat = await ask(server)
    await chat.ask(REQUEST, 30.0)
    await chat.aclose()
    assert server.listed == 1
    named = await ask(server, model="mine")
    await named.aclose()
    assert server.listed == 1
    assert [r["model"] for r in server.requests] == [MODEL, MODEL, "mine"]


async def test_the_list_is_asked_again_after_an_error_status() -> None:
    async with LlmServer(["500", "valid"]) as server:
        chat = OpenAIChat(server.url)
        with pytest.raises(ChatUnavailable, match=r"status 500: .*crashed"):
            await chat.ask(REQUEST, 30.0)
        await chat.ask(REQUEST, 30.0)
        await chat.aclose()
    assert server.listed == 2
    assert len(server.requests) == 2  # no retries of its own


@pytest.mark.parametrize(
    ("rejects", "left"),
    [
        (("response_format",), {"max_tokens", "temperature"}),
        (("temperature",), {"max_tokens", "response_format"}),
        (("max_tokens",), {"max_completion_tokens", "response_format", "temperature"}),
        (("response_format", "temperature", "max_tokens"), {"max_completion_tokens"}),
    ],
)
async def test_an_option_the_server_rejects_is_left_out_and_remembered(
    rejects: tuple[str, ...], left: set[str]
) -> None:
    async with LlmServer("valid", rejects=rejects) as server:
        chat = await ask(server)
        rejected = server.rejected
        await chat.ask(REQUEST, 30.0)
        await chat.aclose()
    assert rejected == len(rejects)
    assert server.rejected == rejected  # the second call knew
    options = {"max_tokens", "max_completion_tokens", "temperature", "response_format"}
    assert [set(body) & options for body in server.requests] == [left, left]


async def test_an_option_is_not_blamed_for_a_request_that_fails_anyway() -> None:
    async with LlmServer("valid", rejects=("messages",)) as server:
        chat = OpenAIChat(server.url)
        with pytest.raises(ChatUnavailable, match="status 400"):
            await chat.ask(REQUEST, 30.0)
        server.rejects = ()
        await chat.ask(REQUEST, 30.0)
        await chat.aclose()
    assert "response_format" in server.requests[0]


async def test_too_many_requests_carries_the_wait() -> None:
    async with LlmServer("429") as server:
        chat = OpenAIChat(server.url)
        with pytest.raises(ChatUnavailable) as caught:
            await chat.ask(REQUEST, 30.0)
        await chat.aclose()
    assert caught.value.retry_after_s == 7.0
    assert caught.value.where == server.url


@pytest.mark.parametrize("fault", ["html", "not-json", "wrong-envelope", "reset", "reset-midway", "endless"])
async def test_what_is_not_an_answer_is_unavailable(fault: str) -> None:
    async with LlmServer(fault) as server:
        chat = OpenAIChat(server.url)
        with pytest.raises(ChatUnavailable) as caught:
            await chat.ask(REQUEST, 30.0)
        await chat.aclose()
    assert caught.value.retry_after_s is None
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize("fault", ["hang", "drip"])
async def test_silence_and_a_slow_drip_end_at_the_deadline(fault: str) -> None:
    async with LlmServer(fault) as server:
        chat = OpenAIChat(server.url)
        began = time.monotonic()
        with pytest.raises(ChatUnavailable, match=r"no answer within 0\.3 s"):
            await chat.ask(REQUEST, 0.3)
        assert time.monotonic() - began < 10.0
        await chat.aclose()


async def test_a_cancelled_call_is_cancelled() -> None:
    async with LlmServer("hang") as server:
        chat = OpenAIChat(server.url)
        task = asyncio.create_task(chat.ask(REQUEST, 30.0))
        await asyncio.wait_for(server.asked.wait(), 30.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await chat.aclose()


async def test_a_refusal_is_an_answer_and_an_answer_without_usage_is_estimated() -> None:
    async with LlmServer("refusal", usage=False) as server:
        chat = OpenAIChat(server.url)
        reply = await chat.ask(REQUEST, 30.0)
        await chat.aclose()
    assert (reply.finish_reason, reply.text) == ("refusal", "I can't help with that.")
    assert reply.tokens == (len("be brief") + len("how are you?") + 3) // 4


@pytest.mark.parametrize("url", ["", "localhost:9000", "ftp://x/v1", "http:///v1"])
def test_an_address_that_is_none_is_bad_input(url: str) -> None:
    with pytest.raises(BadInput, match="not an HTTP address"):
        OpenAIChat(url)


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: LlmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "OPENAI_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    chat = await ask(server)
    await chat.aclose()
    assert len(server.requests) == 1


async def test_nothing_is_traced_to_outside(server: LlmServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hits: list[str] = []

    async def collect(request: web.Request) -> web.Response:
        hits.append(request.path)
        return web.json_response({})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", collect)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
    for name in ("LANGSMITH", "LANGCHAIN"):
        monkeypatch.setenv(f"{name}_TRACING", "true")
        monkeypatch.setenv(f"{name}_TRACING_V2", "true")
        monkeypatch.setenv(f"{name}_ENDPOINT", endpoint)
        monkeypatch.setenv(f"{name}_API_KEY", "k")
    chat = await ask(server)
    from langchain_core.tracers.langchain import wait_for_all_tracers

    await asyncio.to_thread(wait_for_all_tracers)
    await asyncio.sleep(0.3)
    await chat.aclose()
    await runner.cleanup()
    assert hits == []


TOOL = ToolSpec("forecast", "what is to come", {"type": "object", "properties": {}, "additionalProperties": False})
TURNS = (
    ChatTurn("assistant", "", (ToolCall("t0", "forecast", '{"a": 1}'), ToolCall("t1", "forecast", "{broken"))),
    ChatTurn("tool", "[1, 2]", call_id="t0"),
    ChatTurn("tool", "no JSON", call_id="t1"),
    ChatTurn("user", "and now?"),
)


async def once(server: LlmServer, request: ChatRequest) -> ChatReply:
    chat = OpenAIChat(server.url)
    try:
        return await chat.ask(request, 30.0)
    finally:
        await chat.aclose()


async def test_tools_are_offered_and_calls_come_back() -> None:
    async with LlmServer("valid", tools=True) as server:
        reply = await once(server, replace(REQUEST, tools=(TOOL,)))
    (body,) = server.requests
    assert body["tools"][0]["function"] == {
        "name": "forecast",
        "description": "what is to come",
        "parameters": dict(TOOL.parameters),
    }
    assert "response_format" not in body  # it would keep the model from calling
    assert reply.calls == (ToolCall("t0", "forecast", "{}"),)
    assert (reply.text, reply.finish_reason) == ("", "tool_calls")
    assert 0 < reply.answer_tokens < reply.tokens


async def test_turns_are_sent_as_turns() -> None:
    async with LlmServer() as server:
        await once(server, replace(REQUEST, history=TURNS))
    said = server.requests[0]["messages"][2:]
    assert [m["role"] for m in said] == ["assistant", "tool", "tool", "user"]
    calls = [(c["id"], c["function"]["name"], json.loads(c["function"]["arguments"])) for c in said[0]["tool_calls"]]
    assert calls == [("t0", "forecast", {"a": 1}), ("t1", "forecast", {})]
    assert [(m["tool_call_id"], m["content"]) for m in said[1:3]] == [("t0", "[1, 2]"), ("t1", "no JSON")]


async def test_calls_that_are_none_are_read_as_far_as_they_go() -> None:
    async with LlmServer(["bad-arguments", "no-call-id", "many-calls"]) as server:
        chat = OpenAIChat(server.url)
        bad, nameless, many = [(await chat.ask(replace(REQUEST, tools=(TOOL,)), 30.0)).calls for _ in range(3)]
        await chat.aclose()
    assert {(c.id, c.arguments) for c in bad} == {("a", '{"replicas": [{"node":'), ("b", "no JSON object: [1]")}
    assert len({c.id for c in nameless}) == len(nameless) == 2
    assert len(many) == 16


@pytest.mark.parametrize(
    ("rejects", "schema"),
    [(("tools",), True), (("tools", "response_format"), False), (("tools", "turns"), True)],
)
async def test_a_server_without_tools_is_asked_for_the_answer_itself(rejects: tuple[str, ...], schema: bool) -> None:
    async with LlmServer("valid", rejects=rejects, tools=True) as server:
        chat = OpenAIChat(server.url)
        for _ in range(2):
            reply = await chat.ask(replace(REQUEST, tools=(TOOL,), history=TURNS), 30.0)
            assert reply.calls == ()
        await chat.aclose()
    assert server.rejected == len(rejects) - ("turns" in rejects)  # and remembered; turns of tools go with the tools
    for body in server.requests:
        assert "tools" not in body
        assert ("response_format" in body) is schema
        roles = [m["role"] for m in body["messages"]]
        assert roles == ["system", "user", "assistant", "user"]  # sides take turns, as chat templates want it
        assert "[1, 2]" in body["messages"][-1]["content"]
        assert "and now?" in body["messages"][-1]["content"]


async def test_turns_of_tools_are_told_as_text_where_they_are_rejected() -> None:
    async with LlmServer("valid", rejects=("turns",)) as server:
        await once(server, replace(REQUEST, history=TURNS))
    assert server.rejected == 1
    body = server.requests[0]
    assert "response_format" in body
    assert "[forecast] {broken" in body["messages"][2]["content"]


async def test_a_wait_that_was_asked_for_is_kept() -> None:
    async with LlmServer(["429", "valid"], retry_after_s=0.3) as server:
        chat = OpenAIChat(server.url)
        with pytest.raises(ChatUnavailable) as first:
            await chat.ask(REQUEST, 30.0)
        with pytest.raises(ChatUnavailable, match="asked for a wait") as second:
            await chat.ask(REQUEST, 30.0)
        assert (first.value.asked, second.value.asked) == (True, False)
        assert len(server.requests) == 1
        await asyncio.sleep(0.35)
        await chat.ask(REQUEST, 30.0)
        await chat.aclose()


async def test_a_request_may_name_its_model(server: LlmServer) -> None:
    await once(server, replace(REQUEST, model="small"))
    assert (server.requests[0]["model"], server.listed) == ("small", 0)


async def test_the_time_of_an_answer_grows_with_its_tokens() -> None:
    async with LlmServer("valid", token_s=0.01) as server:
        reply = await once(server, REQUEST)
    assert reply.seconds > 0.01 * reply.answer_tokens
