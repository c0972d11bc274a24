"""What the gateway reads of an OpenAI body: model, size, whether it streams. The body is sent on untouched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import orjson

from edgewise.domain.errors import BadInput
from edgewise.domain.model import PromptSize, Task

COMPLETIONS, CHAT, IMAGES = "/v1/completions", "/v1/chat/completions", "/v1/images/generations"
# Operation names of the OpenTelemetry gen_ai conventions.
OPERATIONS = {COMPLETIONS: "text_completion", CHAT: "chat", IMAGES: "generate_content"}
_TASKS = {
    COMPLETIONS: (Task.TEXT_GENERATION,),
    CHAT: (Task.TEXT_GENERATION, Task.IMAGE_TO_TEXT),
    IMAGES: (Task.TEXT_TO_IMAGE,),
}
DEFAULT_MAX_TOKENS = 16  # of the completions API, when the caller says nothing
MOST_TOKENS, MOST_IMAGES, MOST_STEPS = 1_000_000, 10, 200  # a node refuses more
_CHARS_PER_TOKEN = 4  # of English text under a byte-pair vocabulary; good enough to tell long prompts from short ones


@dataclass(frozen=True, slots=True)
class Ask:
    """What a body asks for."""

    model: str
    size: PromptSize
    stream: bool


def read_ask(path: str, body: bytes | bytearray | memoryview) -> Ask:
    """The ask in a request body. Raises BadInput saying what is wrong with it."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"the body is not JSON: {error}", where="body") from error
    if not isinstance(fields, dict):
        raise BadInput("the body must be a JSON object", where="body")
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        raise BadInput("'model' must name a model of the catalogue", where="model")
    if path == IMAGES:
        return Ask(model, _image_size(fields), False)
    count = _number(fields, "n", 1, 1)
    wanted = fields.get("max_completion_tokens", fields.get("max_tokens"))
    tokens = _number({"max_tokens": wanted}, "max_tokens", DEFAULT_MAX_TOKENS, 0, MOST_TOKENS) * count
    characters, images = _text_length(fields) if path == COMPLETIONS else _messages_length(fields)
    size = PromptSize(max(1, characters // _CHARS_PER_TOKEN) if characters else 0, tokens, images, 0)
    return Ask(model, size, fields.get("stream") is True)


def check_task(path: str, model: str, task: Task, size: PromptSize) -> None:
    """Raises BadInput when the model does not do what the path is for."""
    if task not in _TASKS[path]:
        raise BadInput(f"model {model!r} does {task}, which {path} does not serve", where="model")
    if path == CHAT and task is Task.IMAGE_TO_TEXT and size.images == 0:
        raise BadInput(f"model {model!r} needs an image_url part in its messages", where="messages")


def cut(size: PromptSize, context_tokens: int | None) -> PromptSize:
    """The size that is left when a node has cut the prompt to what its model takes: the answer comes first."""
    if context_tokens is None:
        return size
    out = min(size.output_tokens, context_tokens - 1)
    return replace(size, input_tokens=min(size.input_tokens, context_tokens - out), output_tokens=out)


def usage_of(answer: bytes) -> tuple[int | None, int | None]:
    """(input, output) tokens of a JSON answer's usage; None where it says nothing."""
    if b'"usage"' not in answer:
        return None, None
    try:
        usage = orjson.loads(answer).get("usage")
    except (orjson.JSONDecodeError, AttributeError):
        return None, None
    return _tokens(usage, "prompt_tokens"), _tokens(usage, "completion_tokens")


def usage_of_events(tail: bytes) -> tuple[int | None, int | None]:
    """The same from the end of an event stream: the last event that carries usage."""
    for line in reversed(tail.splitlines()):
        if line.startswith(b"data:") and b'"usage"' in line:
            found = usage_of(line[5:].strip())
            if found != (None, None):
                return found
    return None, None


def _tokens(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) else None


def _number(fields: dict[str, Any], name: str, default: int, least: int, most: int = MOST_TOKENS) -> int:
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadInput(f"{name!r} must be a whole number from {least} to {most}", where=name)
    return value


def _image_size(fields: dict[str, Any]) -> PromptSize:
    prompt = fields.get("prompt")
    if not isinstance(prompt, str):
        raise BadInput("'prompt' must be a string", where="prompt")
    characters = len(prompt)
    return PromptSize(
        max(1, characters // _CHARS_PER_TOKEN),
        0,
        _number(fields, "n", 1, 1, MOST_IMAGES),
        _number(fields, "steps", 0, 0, MOST_STEPS),
    )


def _text_length(fields: dict[str, Any]) -> tuple[int, int]:
    prompt = fields.get("prompt")
    if isinstance(prompt, str):
        return len(prompt), 0
    if isinstance(prompt, list) and prompt and all(isinstance(p, str) for p in prompt):
        return sum(map(len, prompt)), 0
    if isinstance(prompt, list) and prompt and all(isinstance(p, int) for p in prompt):
        return len(prompt) * _CHARS_PER_TOKEN, 0
    raise BadInput("'prompt' must be a string, a list of strings or a list of tokens", where="prompt")


def _messages_length(fields: dict[str, Any]) -> tuple[int, int]:
    """(characters of text, images) in the messages."""
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise BadInput("'messages' must be a list of at least one message", where="messages")
    characters, images = 0, 0
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else [{"text": content}]:
            text = part.get("text") if isinstance(part, dict) else None
            characters += len(text) if isinstance(text, str) else 0
            images += isinstance(part, dict) and part.get("type") == "image_url"
    return characters, images
