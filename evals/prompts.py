"""Prompts of a stated size. Traces hold no text, so text and images are made here: the same for the same seed.

Text is common English words, each one token for GPT-2; images are small patterns of noise. What a row asks for is
clipped to what the model takes, and the request says so.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from edgewise.domain.model import ModelSpec, PromptSize, Task
from evals.traces import TraceRow

_COMMON = (
    "the of and to in is that it for was on are as with his they at be this from have or by one had not but what all "
    "were when we there can an your which their said if do will each about how up out them then she many some so "
    "these would other into has more her two like him see time could no make than first been its who now people"
)
WORDS = tuple(_COMMON.split())
CHARACTERS_PER_WORD = 4.2  # mean of WORDS with the space between them
IMAGE_PX = 64
IMAGE_VARIANTS = 32  # distinct images per seed; made once each, since noise does not compress and takes a while


@dataclass(frozen=True, slots=True)
class PromptLimits:
    """What is sent at most; defaults suit the four default models, DEMO_LIMITS what a laptop answers in a second.

    context_tokens: GPT-2's window, prompt and answer together. caption_input_tokens: text that goes with an image.
    caption_images: BLIP looks at one. images, steps: of one generation. image_px: side of a generated image, pixels.
    """

    context_tokens: int = 1024
    output_tokens: int = 512
    caption_input_tokens: int = 16
    caption_output_tokens: int = 64
    caption_images: int = 1
    images: int = 4
    steps: int = 50
    image_px: int = 512
    image_prompt_chars: int = 300  # CLIP reads 77 tokens and servers cut the rest


DEMO_LIMITS = PromptLimits(
    context_tokens=512, output_tokens=48, caption_output_tokens=32, steps=8, image_px=64, image_prompt_chars=70
)
UNKNOWN_TOKENS = 32  # stands in for a size the source does not give
UNKNOWN_STEPS = 25
UNKNOWN_CHARS = 80


@dataclass(frozen=True, slots=True)
class PromptRequest:
    """One request, ready to send: `path` below the gateway's URL, `body` for JSON. `size` is what it asks for after
    clipping; `clipped` says that the trace asked for more."""

    model: str
    path: str
    body: dict[str, Any]
    size: PromptSize
    clipped: bool

    @property
    def streamable(self) -> bool:
        """Text streams; images do not."""
        return self.path == "/v1/completions"


def size_of(row: TraceRow, task: Task, limits: PromptLimits) -> tuple[PromptSize, bool]:
    """The size of the prompt made for a row, and whether it was clipped. Unknown sizes get documented defaults."""
    tokens_in = UNKNOWN_TOKENS if row.input_tokens is None else row.input_tokens
    tokens_out = UNKNOWN_TOKENS if row.output_tokens is None else row.output_tokens
    images = max(1, row.images if row.images is not None else 1)
    if task is Task.TEXT_GENERATION:
        wanted = PromptSize(max(1, tokens_in), max(1, tokens_out))
        given_out = min(wanted.output_tokens, limits.output_tokens, limits.context_tokens - 1)
        size = PromptSize(min(wanted.input_tokens, limits.context_tokens - given_out), given_out)
    elif task is Task.IMAGE_TO_TEXT:
        wanted = PromptSize(max(1, tokens_in), max(1, tokens_out), images)
        size = PromptSize(
            min(wanted.input_tokens, limits.caption_input_tokens),
            min(wanted.output_tokens, limits.caption_output_tokens),
            min(images, limits.caption_images),
        )
    else:
        wanted = PromptSize(images=images, steps=_steps(row))
        size = PromptSize(images=min(images, limits.images), steps=min(wanted.steps, limits.steps))
    return size, size != wanted


def request_for(row: TraceRow, spec: ModelSpec, seed: int, limits: PromptLimits) -> PromptRequest:
    """The request for one row of a trace, sent to the model of `spec`; fixed by (seed, row)."""
    size, clipped = size_of(row, spec.task, limits)
    random = Random(f"{seed}/{row.source}/{row.line}/{row.timestamp_s}")
    if spec.task is Task.TEXT_GENERATION:
        body = {"model": spec.id, "prompt": words(size.input_tokens, random), "max_tokens": size.output_tokens}
        return PromptRequest(spec.id, "/v1/completions", body, size, clipped)
    if spec.task is Task.IMAGE_TO_TEXT:
        return PromptRequest(spec.id, "/v1/chat/completions", _caption(spec, size, seed, random), size, clipped)
    chars = row.extra.get("prompt_chars")
    length = max(1, min(chars if isinstance(chars, int) else UNKNOWN_CHARS, limits.image_prompt_chars))
    body = {
        "model": spec.id,
        "prompt": words(1 + round(length / CHARACTERS_PER_WORD), random)[:length],
        "n": size.images,
        "size": f"{limits.image_px}x{limits.image_px}",
        "steps": size.steps,
        "response_format": "b64_json",
    }
    return PromptRequest(spec.id, "/v1/images/generations", body, size, clipped)


def _caption(spec: ModelSpec, size: PromptSize, seed: int, random: Random) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "text", "text": words(size.input_tokens, random)}]
    for _ in range(size.images):
        url = image_uri(seed, random.randrange(IMAGE_VARIANTS))
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return {
        "model": spec.id,
        "messages": [{"role": "user", "content": parts}],
        "max_tokens": size.output_tokens,
    }


def _steps(row: TraceRow) -> int:
    steps = row.extra.get("steps")
    return steps if isinstance(steps, int) and steps > 0 else UNKNOWN_STEPS


def words(count: int, random: Random) -> str:
    """`count` words with a space between them."""
    return " ".join(random.choices(WORDS, k=count))


@lru_cache(maxsize=256)
def image_uri(seed: int, variant: int, px: int = IMAGE_PX) -> str:
    """A PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(noise_png(seed, variant, px)).decode("ascii")


def noise_png(seed: int, variant: int, px: int) -> bytes:
    """An RGB PNG of noise, px × px. Written here, since the bytes must not change with the version of a library.
    Source of the layout: W3C PNG specification, sections 5 and 11."""
    noise = Random(f"{seed}/image/{variant}").randbytes(px * px * 3)
    stride = px * 3
    # Each line starts with its filter: 0, none.
    lines = b"".join(b"\0" + noise[y * stride : (y + 1) * stride] for y in range(px))
    header = struct.pack(">IIBBBBB", px, px, 8, 2, 0, 0, 0)  # 8 bits, RGB
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", binascii.crc32(name + data))
