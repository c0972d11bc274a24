"""Text in, text out: any causal language model of transformers."""

from __future__ import annotations

from typing import Any

from edgewise.domain.errors import BadInput
from edgewise.domain.model import Task
from serving.checkpoints import Source
from serving.engines.base import Message, OnStep, OnText, Output, Request, TextRequest
from serving.engines.libraries import import_libraries
from serving.engines.runtime import from_pretrained_options, load_errors, loading, release_memory, require_vocabulary

FALLBACK_CONTEXT = 1024  # tokens, for a configuration that names none


class TextEngine:
    """See `Engine`. Prompts are cut from the left, as the end of a text says most about what follows."""

    def __init__(self) -> None:
        self._model: Any = None
        self._tokenizer: Any = None

    def load(self, source: Source, device: str, dtype: str) -> None:
        import_libraries((Task.TEXT_GENERATION,))
        from transformers import AutoModelForCausalLM, AutoTokenizer

        with loading(source):
            self._tokenizer = AutoTokenizer.from_pretrained(
                source.location, cache_dir=source.cache_dir, local_files_only=True
            )
            require_vocabulary(self._tokenizer, source.location)
            self._model = AutoModelForCausalLM.from_pretrained(
                source.location, **from_pretrained_options(source, device, dtype)
            ).eval()

    def warm_up(self) -> None:
        with load_errors(str(self._model.config.name_or_path)):
            self.run(TextRequest(prompt="a", max_tokens=1), lambda: None)

    def run(self, request: Request, on_step: OnStep, on_text: OnText | None = None) -> Output:
        import torch
        from transformers import StoppingCriteriaList

        from serving.engines.tokens import BetweenTokens

        if not isinstance(request, TextRequest):
            raise BadInput("this model takes text and answers text")
        ids = self._encode(request)
        room = self._context - 1
        max_new = min(request.max_tokens, room)
        ids = ids[-(self._context - max_new) :]
        between = BetweenTokens(self._tokenizer, on_step, on_text, request.stop)
        inputs = torch.tensor([ids], device=self._model.device)
        with torch.inference_mode():
            made = self._model.generate(
                inputs,
                attention_mask=torch.ones_like(inputs),
                stopping_criteria=StoppingCriteriaList([between]),
                **self._settings(request, max_new),
            )
        new = made[0, len(ids) :].tolist()
        ended = between.stopped or (bool(new) and new[-1] in self._ends)
        return Output(
            text=between.finish(),
            prompt_tokens=len(ids),
            completion_tokens=len(new),
            finish_reason="stop" if ended else "length",
        )

    def unload(self) -> None:
        self._model = self._tokenizer = None
        release_memory()

    @property
    def _context(self) -> int:
        return int(getattr(self._model.config, "max_position_embeddings", 0) or FALLBACK_CONTEXT)

    @property
    def _ends(self) -> tuple[int, ...]:
        end = self._model.generation_config.eos_token_id
        return tuple(end) if isinstance(end, list) else (end,)

    def _encode(self, request: TextRequest) -> list[int]:
        if not request.messages:
            text = request.prompt
        elif self._tokenizer.chat_template:
            chat = [{"role": m.role, "content": m.text} for m in request.messages]
            text = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        else:
            text = plain_chat(request.messages)
        ids: list[int] = self._tokenizer.backend_tokenizer.encode(text).ids
        return ids or [self._model.generation_config.bos_token_id or 0]

    def _settings(self, request: TextRequest, max_new: int) -> dict[str, Any]:
        own = self._model.generation_config
        least = min(max(request.min_tokens, own.min_new_tokens or 0), max_new)
        settings: dict[str, Any] = {
            "max_new_tokens": max_new,
            "min_new_tokens": least,
            "pad_token_id": own.pad_token_id if own.pad_token_id is not None else self._ends[0],
        }
        if request.temperature:
            settings |= {"do_sample": True, "temperature": request.temperature, "top_p": request.top_p or 1.0}
        return settings


def plain_chat(messages: tuple[Message, ...]) -> str:
    """Messages as text, for models that were never taught a chat format."""
    return "\n".join([*(f"{m.role}: {m.text}" for m in messages), "assistant:"])
