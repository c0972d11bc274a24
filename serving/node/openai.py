"""OpenAI's request and answer shapes: bodies in, our requests out; our outputs in, bodies out. Pure.

All of it raises BadInput, naming the field, for what a client got wrong.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import orjson

from edgewise.domain.errors import BadInput, EdgewiseError
from edgewise.domain.model import Task
from serving.engines.base import CaptionRequest, ImageRequest, Message, Output, Request, TextRequest

MAX_SIDE = 1024  # pixels
MAX_IMAGES = 10
MAX_STEPS = 200
CHAT_TOKENS = 64


def parse_body(data: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"the body is not valid JSON: {error}", where="body") from error
    if not isinstance(body, dict):
        raise BadInput("the body must be a JSON object", where="body")
    return body


def completion(body: Mapping[str, Any]) -> TextRequest:
    """/v1/completions. One prompt, one answer (`n` = 1)."""
    prompt = body.get("prompt", "")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise BadInput("must be a string (or a list of one)", where="prompt")
    return _text(body, prompt=prompt, max_tokens=_integer(body, "max_tokens", 16, 1, 1_000_000))


def chat(body: Mapping[str, Any], task: Task) -> Request:
    """/v1/chat/completions: a text request, or a caption request when the model takes images."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadInput("must be a list of at least one message", where="messages")
    tokens = _integer(body, "max_tokens", CHAT_TOKENS, 1, 1_000_000)
    tokens = _integer(body, "max_completion_tokens", tokens, 1, 1_000_000)
    texts: list[Message] = []
    images: list[bytes] = []
    for i, message in enumerate(messages):
        text, more = _message(message, f"messages.{i}")
        texts.append(text)
        images += more
    if task is Task.IMAGE_TO_TEXT:
        if len(images) != 1:
            raise BadInput(f"this model describes one image; {len(images)} were given", where="messages")
        return CaptionRequest(image=images[0], max_tokens=tokens)
    if images:
        raise BadInput("this model takes no images", where="messages")
    return _text(body, messages=tuple(texts), max_tokens=tokens)


def image_generation(body: Mapping[str, Any]) -> ImageRequest:
    """/v1/images/generations; `steps`, `guidance` and `seed` are extensions that image servers share."""
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        raise BadInput("must be a string", where="prompt")
    if body.get("response_format", "b64_json") != "b64_json":
        raise BadInput("only 'b64_json' is answered", where="response_format")
    width, height = _size(body.get("size"))
    return ImageRequest(
        prompt=prompt,
        images=_integer(body, "n", 1, 1, MAX_IMAGES),
        width=width,
        height=height,
        steps=_integer(body, "steps", 20, 1, MAX_STEPS),
        guidance=_number(body, "guidance", 7.5, 0.0, 50.0) or 0.0,
        seed=_integer(body, "seed", 0, 0, 2**63) if body.get("seed") is not None else None,
    )


def usage(output: Output) -> dict[str, int]:
    return {
        "prompt_tokens": output.prompt_tokens,
        "completion_tokens": output.completion_tokens,
        "total_tokens": output.prompt_tokens + output.completion_tokens,
    }


def completion_answer(identity: str, model: str, created: int, output: Output) -> dict[str, Any]:
    choice = {"index": 0, "text": output.text, "finish_reason": output.finish_reason, "logprobs": None}
    return _envelope(identity, "text_completion", model, created, choice) | {"usage": usage(output)}


def chat_answer(identity: str, model: str, created: int, output: Output) -> dict[str, Any]:
    message = {"role": "assistant", "content": output.text}
    choice = {"index": 0, "message": message, "finish_reason": output.finish_reason, "logprobs": None}
    return _envelope(identity, "chat.completion", model, created, choice) | {"usage": usage(output)}


def image_answer(created: int, output: Output) -> dict[str, Any]:
    data = [{"b64_json": base64.b64encode(image).decode("ascii")} for image in output.images]
    return {"created": created, "data": data}


def completion_chunk(identity: str, model: str, created: int, piece: str, finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, "text": piece, "finish_reason": finish, "logprobs": None}
    return _envelope(identity, "text_completion", model, created, choice)


def chat_chunk(identity: str, model: str, created: int, piece: str, finish: str | None) -> dict[str, Any]:
    delta = {} if finish else {"role": "assistant", "content": piece}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _envelope(identity, "chat.completion.chunk", model, created, choice)


def error_body(error: EdgewiseError) -> dict[str, Any]:
    """OpenAI's error shape."""
    kind = "invalid_request_error" if error.http_status < 500 else "server_error"
    hint = f" ({error.hint})" if error.hint else ""
    where = error.where if isinstance(error, BadInput) else ""
    return {"error": {"message": f"{error.message}{hint}", "type": kind, "param": where or None, "code": error.code}}


def _envelope(identity: str, kind: str, model: str, created: int, choice: dict[str, Any]) -> dict[str, Any]:
    return {"id": identity, "object": kind, "created": created, "model": model, "choices": [choice]}


def _text(
    body: Mapping[str, Any], max_tokens: int, prompt: str = "", messages: tuple[Message, ...] = ()
) -> TextRequest:
    _integer(body, "n", 1, 1, 1)
    stop = body.get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(s, str) for s in stops):
        raise BadInput("must be a string or a list of strings", where="stop")
    return TextRequest(
        prompt=prompt,
        messages=messages,
        max_tokens=max_tokens,
        min_tokens=_integer(body, "min_tokens", 0, 0, max_tokens),
        temperature=_number(body, "temperature", None, 0.0, 10.0),
        top_p=_number(body, "top_p", None, 1e-6, 1.0),
        stop=tuple(stops),
    )


def _message(message: Any, where: str) -> tuple[Message, list[bytes]]:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise BadInput("must be an object with a role", where=where)
    content = message.get("content")
    if isinstance(content, str):
        return Message(message["role"], content), []
    if not isinstance(content, list):
        raise BadInput("must be a string or a list of parts", where=f"{where}.content")
    texts: list[str] = []
    images: list[bytes] = []
    for i, part in enumerate(content):
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str(url)}} | {"type": "image_url", "image_url": str(url)}:
                images.append(data_uri(url, f"{where}.content.{i}"))
            case _:
                raise BadInput("must be a text or an image_url part", where=f"{where}.content.{i}")
    return Message(message["role"], "\n".join(texts)), images


def data_uri(url: str, where: str) -> bytes:
    """The bytes of a base64 data URI. Nodes fetch nothing from the network on a client's word."""
    head, comma, data = url.partition(",")
    if not (head.startswith("data:") and head.endswith(";base64") and comma):
        raise BadInput("only data: URIs in base64 are taken", where=where)
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise BadInput(f"not valid base64: {error}", where=where) from error


def _size(size: Any) -> tuple[int | None, int | None]:
    if size is None or size == "auto":
        return None, None
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size) if isinstance(size, str) else None
    if match is None:
        raise BadInput("must look like '512x512'", where="size")
    width, height = int(match[1]), int(match[2])
    if not all(64 <= side <= MAX_SIDE and side % 8 == 0 for side in (width, height)):
        raise BadInput(f"each side must be a multiple of 8 from 64 to {MAX_SIDE} pixels", where="size")
    return width, height


def _integer(body: Mapping[str, Any], key: str, default: int, least: int, most: int) -> int:
    value = body.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadInput(f"must be a whole number from {least} to {most}", where=key)
    return value


def _number(body: Mapping[str, Any], key: str, default: float | None, least: float, most: float) -> float | None:
    value = body.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise BadInput(f"must be a number from {least:g} to {most:g}", where=key)
    return float(value)
