"""What the replica answers: OpenAI's shapes, filled with an echo that says it is one."""

from __future__ import annotations

import base64
import json
import struct
import time
import zlib
from collections.abc import Iterator
from typing import Any

NOTE = "[echo replica, no model]"


class BadRequestError(Exception):
    """The body is not what the path takes."""


def prompt_text(path: str, body: dict[str, Any]) -> str:
    """The text to echo. An image of a chat is named by its size, since nobody here looks at it."""
    if not path.endswith("/chat/completions"):
        prompt = body.get("prompt", "")
        return prompt if isinstance(prompt, str) else json.dumps(prompt)
    words: list[str] = []
    for message in body.get("messages") or []:
        content = message.get("content") if isinstance(message, dict) else None
        parts: list[dict[str, Any]] = content if isinstance(content, list) else [{"text": content or ""}]
        for part in parts:
            url = part["image_url"].get("url", "") if part.get("type") == "image_url" else ""
            words.append(f"an image of {len(url)} characters" if url else str(part.get("text", "")))
    if not words:
        raise BadRequestError("messages must be a non-empty list")
    return " ".join(words)


def answer(path: str, request_id: str, model: str, body: dict[str, Any]) -> dict[str, Any]:
    """The whole answer to one prompt."""
    created = int(time.time())
    if path == "/v1/images/generations":
        side = int(str(body.get("size", "64x64")).split("x")[0])
        images = [{"b64_json": png(min(max(side, 1), 1024))} for _ in range(int(body.get("n", 1)))]
        return {"created": created, "data": images}
    text = f"{NOTE} {prompt_text(path, body)}"
    chat = path == "/v1/chat/completions"
    said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    words_in, words_out = len(prompt_text(path, body).split()), len(text.split())
    return {
        "id": request_id, "object": "chat.completion" if chat else "text_completion", "created": created,
        "model": model, "choices": [{"index": 0, "finish_reason": "stop", **said}],
        "usage": {"prompt_tokens": words_in, "completion_tokens": words_out, "total_tokens": words_in + words_out},
    }  # fmt: skip


def chunks(path: str, request_id: str, model: str, body: dict[str, Any]) -> Iterator[bytes]:
    """The same answer as server-sent events, one word each."""
    chat = path == "/v1/chat/completions"
    kind = "chat.completion.chunk" if chat else "text_completion"
    for word in f"{NOTE} {prompt_text(path, body)}".split():
        said: dict[str, Any] = {"delta": {"content": word + " "}} if chat else {"text": word + " "}
        row = {"id": request_id, "object": kind, "model": model, "choices": [{"index": 0, **said}]}
        yield f"data: {json.dumps(row)}\n\n".encode()
    yield b"data: [DONE]\n\n"


def png(side: int) -> str:
    """A grey square as a PNG, base64. Source: the PNG specification, chunks IHDR, IDAT, IEND."""
    rows = (b"\x00" + b"\x80" * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    framed = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in parts]
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(framed)).decode()


def metrics(node: str, facts: dict[str, Any]) -> str:
    """The Prometheus series of this replica, in the text format."""
    labels = f'node="{node}",model="{facts["model"]}"'
    states = ("absent", "loading", "ready", "draining", "failed")
    lines = ["# TYPE edgewise_replica_state gauge"]
    lines += [f'edgewise_replica_state{{{labels},state="{s}"}} {int(facts["state"] == s)}' for s in states]
    for name, kind, key in (
        ("queued", "gauge", "queued"),
        ("in_flight", "gauge", "in_flight"),
        ("work_seconds", "gauge", "work_s"),
        ("served_total", "counter", "served"),
    ):
        lines += [f"# TYPE edgewise_replica_{name} {kind}", f"edgewise_replica_{name}{{{labels}}} {facts[key]}"]
    return "\n".join(lines) + "\n"
