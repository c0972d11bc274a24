"""Requests and replies between our records and langchain's messages. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from edgewise.control.ports import ChatReply, ChatRequest, ChatTurn, ToolCall

# Not an option of the body, but left out like one: turns of tools, told as plain text instead.
TURNS = "turns"
# What a server may reject, in the order in which it is left out when the server does not say which, and the words by
# which it says it.
_NAMES: dict[str, tuple[str, ...]] = {
    "tools": ("tools", "tool_choice", "tool choice", "tool use", "tool call", "function call"),
    "response_format": ("response_format", "json_schema", "structured output", "grammar"),
    "temperature": ("temperature",),
    "max_tokens": ("max_tokens",),
    TURNS: ("role", "tool", "alternate"),
}
_GUESSED = ("tools", "response_format", TURNS)
_BAD_REQUEST = (400, 422)
_NAMED = (*_BAD_REQUEST, 404, 500, 501)  # with these a server may name an option it does not take
NO_OBJECT = "no JSON object: "
MAX_CALLS = 16  # tool calls read from one answer


def messages(request: ChatRequest, left_out: Collection[str] = ()) -> list[BaseMessage]:
    """The request's texts as langchain messages."""
    out: list[BaseMessage] = [SystemMessage(request.system), HumanMessage(request.user)]
    told = TURNS in left_out or "tools" in left_out
    for turn in request.history:
        if told:
            _add_text(out, turn)
        elif turn.role == "assistant":
            calls: Any = [{"name": c.name, "args": arguments(c), "id": c.id, "type": "tool_call"} for c in turn.calls]
            out.append(AIMessage(turn.text, tool_calls=calls))
        elif turn.role == "tool":
            out.append(ToolMessage(turn.text, tool_call_id=turn.call_id))
        else:
            out.append(HumanMessage(turn.text))
    return out


def arguments(call: ToolCall) -> dict[str, Any]:
    """The arguments of a call; none where its text is no JSON object (the tool's answer says so)."""
    try:
        plain = json.loads(call.arguments)
    except (ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}


def readable(arguments: Any) -> str:
    """The text of a call's arguments; said to be none where it is JSON but no object. Some servers send the object
    itself."""
    if isinstance(arguments, Mapping):
        return json.dumps(arguments)
    try:
        plain = json.loads(arguments or "{}")
    except (ValueError, TypeError, RecursionError):
        return str(arguments)
    return str(arguments or "{}") if isinstance(plain, Mapping) else f"{NO_OBJECT}{arguments}"


def options(request: ChatRequest, left_out: Collection[str]) -> dict[str, Any]:
    """The body's optional fields, without those the server does not take. Newer OpenAI models know the token
    limit only as max_completion_tokens, most other servers only as max_tokens."""
    limit = "max_completion_tokens" if "max_tokens" in left_out else "max_tokens"
    found: dict[str, Any] = {"temperature": request.temperature, limit: request.max_tokens}
    if request.tools and "tools" not in left_out:
        found["tools"] = [
            {
                "type": "function",
                "function": {"name": t.name, "description": t.description, "parameters": t.parameters},
            }
            for t in request.tools
        ]
    elif request.schema is not None:  # a schema beside tools keeps models from calling them
        schema = {"name": "answer", "strict": True, "schema": request.schema}
        found["response_format"] = {"type": "json_schema", "json_schema": schema}
    return {name: value for name, value in found.items() if name not in left_out}


def rejected(
    status: int, message: str, request: ChatRequest, sent: Mapping[str, Any], left_out: Collection[str]
) -> str:
    """What to leave out after a rejection: what the server names, else the likeliest; empty to give up."""
    turns = TURNS not in left_out and any(t.role == "tool" for t in request.history)
    present = [n for n in _NAMES if n in sent or (n == TURNS and turns)]
    words = message.lower()
    if status in _NAMED:
        for name in present:
            if any(word in words for word in _NAMES[name]):
                return name
    guessed = [n for n in present if n in _GUESSED] if status in _BAD_REQUEST else []
    return next(iter(guessed), "")


def reply_of(message: AIMessage, request: ChatRequest, seconds: float) -> ChatReply:
    """What came back, with text that can be stored."""
    text = str(message.text)
    finish = str(message.response_metadata.get("finish_reason") or "")
    refusal = message.additional_kwargs.get("refusal")
    if not text and refusal:
        text, finish = str(refusal), "refusal"
    calls = _calls(message)
    tokens, answered = _tokens(message, request, calls)
    return ChatReply(sound(text), sound(finish), tokens, seconds, calls, answered)


def sound(text: str) -> str:
    """Text that can be stored: JSON may smuggle in half a surrogate pair, which no encoding takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _add_text(out: list[BaseMessage], turn: ChatTurn) -> None:
    """A turn as text, joined to the message before it where both are of the same side: many servers' templates want
    the sides to take turns."""
    asked = "".join(f"\n[{c.name}] {c.arguments}" for c in turn.calls)
    text = f"Answer of a tool:\n{turn.text}" if turn.role == "tool" else f"{turn.text}{asked}".strip()
    kind = AIMessage if turn.role == "assistant" else HumanMessage
    if isinstance(out[-1], kind):
        out[-1] = kind(f"{out[-1].text}\n\n{text}")
    else:
        out.append(kind(text))


def _calls(message: AIMessage) -> tuple[ToolCall, ...]:
    """Calls in order, those with unreadable arguments last; each with an id of its own."""
    found: list[tuple[Any, Any, Any]] = [(c.get("id"), c.get("name"), c.get("args")) for c in message.tool_calls]
    found += [(c.get("id"), c.get("name"), c.get("args")) for c in message.invalid_tool_calls]
    out: list[ToolCall] = []
    for number, (call_id, name, args) in enumerate(found[:MAX_CALLS]):
        text = args if isinstance(args, str) else json.dumps(args)
        known = {c.id for c in out}
        own = str(call_id) if call_id and str(call_id) not in known else f"call-{number + 1}"
        out.append(ToolCall(sound(own), sound(str(name or "")), sound(text)))
    return tuple(out)


def _tokens(message: AIMessage, request: ChatRequest, calls: tuple[ToolCall, ...]) -> tuple[int, int]:
    """Tokens of prompt and answer, and of the answer, by the server's word; estimated at four characters each when it
    says nothing, so that a budget is never spent for free."""
    usage = message.usage_metadata
    if usage and usage["total_tokens"] > 0:
        return int(usage["total_tokens"]), int(usage["output_tokens"])
    told = len(message.text) + sum(len(c.name) + len(c.arguments) for c in calls)
    asked = len(request.system) + len(request.user) + sum(len(t.text) for t in request.history)
    return (asked + told + 3) // 4, (told + 3) // 4
