"""Prompts made from trace rows: sizes as recorded or clipped, whole PNGs, the same again for the same seed."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from edgewise.domain.model import ModelSpec, PromptSize, Task
from evals.prompts import DEMO_LIMITS, PromptLimits, noise_png, request_for, size_of
from evals.replayer import judge
from evals.traces import ModelClass, TraceRow

TEXT = ModelSpec("gpt2", Task.TEXT_GENERATION, 1.0, 0.1)
CAPTION = ModelSpec("blip", Task.IMAGE_TO_TEXT, 2.0, 0.1)
IMAGE = ModelSpec("stable-diffusion", Task.TEXT_TO_IMAGE, 5.0, 0.3)
FULL = PromptLimits()


def row(tokens_in: int | None, tokens_out: int | None, images: int | None = None, extra: str = "{}") -> TraceRow:
    return TraceRow(1.0, ModelClass.TEXT_SMALL, "t", tokens_in, tokens_out, images, extra, line=2)


def test_a_text_prompt_has_the_recorded_size() -> None:
    request = request_for(row(120, 30), TEXT, 1, FULL)
    assert request.path == "/v1/completions"
    assert len(request.body["prompt"].split()) == 120
    assert (request.body["model"], request.body["max_tokens"]) == ("gpt2", 30)
    assert (request.size, request.clipped) == (PromptSize(120, 30), False)
    # Servers that have no tokenizer at hand count four characters a token.
    assert len(request.body["prompt"]) / 4 == pytest.approx(120, rel=0.15)


@pytest.mark.parametrize(
    ("tokens", "size", "clipped"),
    [
        ((4808, 10), (1014, 10), True),
        ((1000, 24), (1000, 24), False),
        ((1000, 25), (999, 25), True),
        ((10, 5000), (10, 512), True),
        ((5000, 5000), (512, 512), True),
        ((0, 0), (1, 1), False),
        ((None, None), (32, 32), False),
    ],
)
def test_text_fits_the_context_in_and_out(
    tokens: tuple[int | None, int | None], size: tuple[int, int], clipped: bool
) -> None:
    found, was = size_of(row(*tokens), Task.TEXT_GENERATION, FULL)
    assert (found, was) == (PromptSize(*size), clipped)
    assert found.input_tokens + found.output_tokens <= FULL.context_tokens


def test_a_caption_prompt_carries_one_whole_picture() -> None:
    request = request_for(row(75, 159, 1), CAPTION, 1, DEMO_LIMITS)
    text, image = request.body["messages"][0]["content"]
    assert len(text["text"].split()) == DEMO_LIMITS.caption_input_tokens
    head, data = image["image_url"]["url"].split(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        picture.load()
        assert (picture.size, picture.mode, picture.format) == ((64, 64), "RGB", "PNG")
    assert request.size == PromptSize(16, DEMO_LIMITS.caption_output_tokens, 1)
    assert request.clipped


def test_an_image_prompt_has_number_steps_and_length() -> None:
    extra = '{"steps":30,"prompt_chars":53}'
    request = request_for(row(None, None, 2, extra), IMAGE, 1, FULL)
    assert (request.body["n"], request.body["steps"], request.body["size"]) == (2, 30, "512x512")
    assert len(request.body["prompt"]) == 53
    assert (request.size, request.clipped) == (PromptSize(images=2, steps=30), False)
    small = request_for(row(None, None, 9, extra), IMAGE, 1, DEMO_LIMITS)
    assert (small.body["n"], small.body["steps"], small.body["size"], small.clipped) == (4, 8, "64x64", True)


def test_requests_are_fixed_by_seed_and_row() -> None:
    first, again = (request_for(row(50, 5), TEXT, 1, FULL) for _ in range(2))
    assert first == again
    assert first.body != request_for(row(50, 5), TEXT, 2, FULL).body
    assert noise_png(1, 2, 16) == noise_png(1, 2, 16) != noise_png(1, 3, 16)


@pytest.mark.parametrize("extra", ['{"steps":"many"}', '{"steps":-3,"prompt_chars":null}', '{"steps":2.5}'])
def test_what_the_source_says_oddly_is_taken_as_unknown(extra: str) -> None:
    request = request_for(row(None, None, None, extra), IMAGE, 1, FULL)
    assert (request.body["n"], request.body["steps"]) == (1, 25)


@pytest.mark.parametrize(
    ("spec", "content", "fault"),
    [
        (TEXT, b'{"choices":[{"text":" the"}]}', ""),
        (TEXT, b'{"choices":[]}', "not an answer: IndexError"),
        (CAPTION, b'{"choices":[{"message":{"content":"a tree"}}]}', ""),
        (CAPTION, b'{"choices":[{"message":{"content":""}}]}', "empty text"),
        (IMAGE, b'{"data":[]}', "0 images, not 1"),
        (IMAGE, b'{"data":[{"b64_json":"R0lG"}]}', "not a PNG"),
        (IMAGE, b'{"data":[{"b64_json":"?"}]}', "not an answer: Error"),
        (IMAGE, b'{"data":[{"b64_json":"' + base64.b64encode(noise_png(1, 1, 2)) + b'"}]}', ""),
    ],
)
def test_answers_are_judged_by_what_they_hold(spec: ModelSpec, content: bytes, fault: str) -> None:
    assert judge(200, content, request_for(row(5, 5), spec, 1, FULL), streamed=False) == fault


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'data: {"choices":[{"text":"a"}]}\n\ndata: [DONE]\n\n', ""),
        (b"data: [DONE]\n\n", "empty text"),
        (b'data: {"choices":[{"text":"a"}]}\n\n', "the stream ended early"),
        (b'data: {"error":{"message":"died"}}\n\n', "error in the stream"),
        (b"data: [1]\n\n", "not an answer: AttributeError"),
        (b"data: {\n\n", "not an answer: JSONDecodeError"),
    ],
)
def test_streams_are_judged_by_their_whole(content: bytes, fault: str) -> None:
    assert judge(200, content, request_for(row(5, 5), TEXT, 1, FULL), streamed=True) == fault
