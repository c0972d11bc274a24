"""Between two tokens of `generate`: step, decode, stop. Imports torch."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers.decoders import DecodeStream
from transformers import StoppingCriteria

from serving.engines.base import OnStep, OnText
from serving.engines.stopping import StopScanner


class BetweenTokens(StoppingCriteria):  # type: ignore[misc]  # transformers ships no types
    """Called by `generate` after each token: takes the next step and passes the new text on.

    `text` is the answer so far, without the stop string that ended it."""

    def __init__(
        self, tokenizer: Any, on_step: OnStep, on_text: OnText | None = None, stop: tuple[str, ...] = ()
    ) -> None:
        self._tokenizer = tokenizer.backend_tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._on_step = on_step
        self._on_text = on_text
        self._scanner = StopScanner(stop)
        self._pieces: list[str] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_kwargs: Any) -> torch.BoolTensor:
        piece = self._stream.step(self._tokenizer, int(input_ids[0, -1]))
        if piece:
            self._emit(self._scanner.feed(piece))
        self._on_step()
        ended = torch.full((input_ids.shape[0],), self._scanner.stopped, dtype=torch.bool)
        return ended.to(input_ids.device)  # type: ignore[return-value]  # torch types only the base tensor

    def finish(self) -> str:
        """The whole answer; passes on what was held back."""
        self._emit(self._scanner.rest())
        return "".join(self._pieces)

    @property
    def stopped(self) -> bool:
        return self._scanner.stopped

    def _emit(self, piece: str) -> None:
        if not piece:
            return
        self._pieces.append(piece)
        if self._on_text is not None:
            self._on_text(piece)
