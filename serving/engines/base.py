"""What a prompt asks of an engine, what it gets, and the Engine protocol. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edgewise.domain.model import PromptSize
from serving.checkpoints import Source


class Cancelled(Exception):
    """The client has left, or the node stops: `on_step` raises it between two steps and the engine lets it pass."""


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    text: str


@dataclass(frozen=True, slots=True)
class TextRequest:
    """Continue `prompt`, or answer `messages` when there are any. Temperature 0 or None: the model's own
    generation settings. Prompt and answer together are clipped to the model's context."""

    prompt: str = ""
    messages: tuple[Message, ...] = ()
    max_tokens: int = 16
    min_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()

    def size(self) -> PromptSize:
        length = len(self.prompt) + sum(len(m.text) for m in self.messages)
        return PromptSize(input_tokens=length // 4, output_tokens=self.max_tokens)


@dataclass(frozen=True, slots=True)
class CaptionRequest:
    """Describe `image` (an encoded picture, any format Pillow reads)."""

    image: bytes
    max_tokens: int = 20

    def size(self) -> PromptSize:
        return PromptSize(output_tokens=self.max_tokens, images=1)


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """`images` pictures of `prompt`, one after the other. Width and height in pixels; None: what the model was
    made for. `seed` None: another picture each time."""

    prompt: str
    images: int = 1
    width: int | None = None
    height: int | None = None
    steps: int = 20
    guidance: float = 7.5
    seed: int | None = None

    def size(self) -> PromptSize:
        return PromptSize(input_tokens=len(self.prompt) // 4, images=self.images, steps=self.steps)


Request = TextRequest | CaptionRequest | ImageRequest


@dataclass(frozen=True, slots=True)
class Output:
    """The answer: `text`, or `images` as PNG. `finish_reason` is OpenAI's `stop` or `length`."""

    text: str = ""
    images: tuple[bytes, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = "stop"


OnStep = Callable[[], None]
OnText = Callable[[str], None]


class Engine(Protocol):
    """One model's weights. All methods block and are called from worker threads; `run` may be called by several
    at once, of which only one computes at a time (the others stand in `on_step`).

    load     bring the weights to `device` ('cpu' | 'cuda') as `dtype`; raises LoadFailed.
    warm_up  one short inference: mapped weights are read in here, not by the first prompt; raises LoadFailed.
    run      answer one prompt. Calls `on_step` between tokens or denoising steps; what it raises ends the run.
             Calls `on_text` with each visible piece of text, when given. Raises BadInput for a prompt that the
             model cannot take.
    unload   forget the weights and give the memory back.
    """

    def load(self, source: Source, device: str, dtype: str) -> None: ...

    def warm_up(self) -> None: ...

    def run(self, request: Request, on_step: OnStep, on_text: OnText | None = None) -> Output: ...

    def unload(self) -> None: ...
