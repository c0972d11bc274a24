from __future__ import annotations

import base64
from typing import Any

import pytest

from edgewise.domain.errors import BadInput, UnknownModel
from edgewise.domain.model import Task
from serving.engines.base import CaptionRequest, ImageRequest, Message, Output, TextRequest
from serving.node import openai

PIXEL = b"\x89PNG-not-really"
URI = "data:image/png;base64," + base64.b64encode(PIXEL).decode()


def user(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def test_a_completion_with_all_it_may_say() -> None:
    body = {"prompt": ["hi"], "max_tokens": 5, "min_tokens": 2, "temperature": 0.5, "top_p": 0.9, "stop": "x"}
    assert openai.completion(body) == TextRequest("hi", (), 5, 2, 0.5, 0.9, ("x",))


def test_a_chat_is_text_or_one_image() -> None:
    text = openai.chat({**user("hi"), "max_completion_tokens": 7}, Task.TEXT_GENERATION)
    assert text == TextRequest(messages=(Message("user", "hi"),), max_tokens=7)
    parts = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": URI}}]
    assert openai.chat(user(parts), Task.IMAGE_TO_TEXT) == CaptionRequest(PIXEL, openai.CHAT_TOKENS)


def test_an_image_asks_for_its_size() -> None:
    body = {"prompt": "a street", "n": 2, "size": "64x128", "steps": 4, "seed": 3}
    assert openai.image_generation(body) == ImageRequest("a street", 2, 64, 128, 4, 7.5, 3)
    assert openai.image_generation({"prompt": "a"}).width is None


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"prompt": 3}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "max_tokens": True}, "max_tokens"),
        ({"prompt": "a", "max_tokens": "9"}, "max_tokens"),
        ({"prompt": "a", "max_tokens": 2, "min_tokens": 3}, "min_tokens"),
        ({"prompt": "a", "temperature": -1}, "temperature"),
        ({"prompt": "a", "n": 2}, "n"),
        ({"prompt": "a", "stop": [1]}, "stop"),
    ],
)
def test_a_bad_completion_names_the_field(body: dict[str, Any], where: str) -> None:
    with pytest.raises(BadInput) as caught:
        openai.completion(body)
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("body", "task"),
    [
        ({}, Task.TEXT_GENERATION),
        ({"messages": []}, Task.TEXT_GENERATION),
        ({"messages": ["hi"]}, Task.TEXT_GENERATION),
        (user(None), Task.TEXT_GENERATION),
        (user([{"type": "sound"}]), Task.TEXT_GENERATION),
        (user([{"type": "image_url", "image_url": {"url": URI}}]), Task.TEXT_GENERATION),
        (user("no image"), Task.IMAGE_TO_TEXT),
        (user([{"type": "image_url", "image_url": {"url": "http://example.org/a.png"}}]), Task.IMAGE_TO_TEXT),
        (user([{"type": "image_url", "image_url": {"url": "data:image/png;base64,@@"}}]), Task.IMAGE_TO_TEXT),
    ],
)
def test_bad_chats_are_refused(body: dict[str, Any], task: Task) -> None:
    with pytest.raises(BadInput):
        openai.chat(body, task)


@pytest.mark.parametrize("size", ["64", "63x64", "8x8", "4096x64", 64, "64x64x64"])
def test_bad_image_sizes_are_refused(size: Any) -> None:
    with pytest.raises(BadInput, match=r"pixels|512x512"):
        openai.image_generation({"prompt": "a", "size": size})


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"a"', b"\xff"])
def test_a_body_must_be_a_json_object(body: bytes) -> None:
    with pytest.raises(BadInput):
        openai.parse_body(body)


def test_answers_and_errors_have_openais_shape() -> None:
    out = Output(text="hello", prompt_tokens=2, completion_tokens=3, finish_reason="length")
    answer = openai.completion_answer("cmpl-1", "gpt2", 5, out)
    assert answer["choices"][0]["text"] == "hello"
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    assert openai.chat_answer("c", "gpt2", 5, out)["choices"][0]["message"]["content"] == "hello"
    assert base64.b64decode(openai.image_answer(5, Output(images=(PIXEL,)))["data"][0]["b64_json"]) == PIXEL
    error = openai.error_body(UnknownModel("model 'x' is not in the catalogue", hint="known models: y"))["error"]
    assert error["code"] == "model_not_found"
    assert error["type"] == "invalid_request_error"
    assert "known models: y" in error["message"]
