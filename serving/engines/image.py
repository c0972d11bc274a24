"""Text in, PNG out: Stable Diffusion through diffusers."""

from __future__ import annotations

import io
import os
from typing import Any

from edgewise.domain.errors import BadInput
from edgewise.domain.model import Task
from serving.checkpoints import Source
from serving.engines.base import ImageRequest, OnStep, OnText, Output, Request
from serving.engines.libraries import import_libraries
from serving.engines.runtime import from_pretrained_options, load_errors, loading, release_memory, require_vocabulary


class ImageEngine:
    """See `Engine`. No safety checker: an operator who needs one puts it in front."""

    def __init__(self) -> None:
        self._pipeline: Any = None
        self._device = "cpu"
        self._name = ""

    def load(self, source: Source, device: str, dtype: str) -> None:
        import_libraries((Task.TEXT_TO_IMAGE,))
        from diffusers import StableDiffusionPipeline

        self._device, self._name = device, source.location
        with loading(source):
            self._pipeline = StableDiffusionPipeline.from_pretrained(
                source.location,
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
                **from_pretrained_options(source, device, dtype),
            )
            require_vocabulary(self._pipeline.tokenizer, source.location)

    def warm_up(self) -> None:
        with load_errors(self._name):
            self.run(ImageRequest(prompt="a", width=64, height=64, steps=1, seed=0), lambda: None)

    def run(self, request: Request, on_step: OnStep, on_text: OnText | None = None) -> Output:
        if not isinstance(request, ImageRequest):
            raise BadInput("this model takes text and answers with an image")
        seed = int.from_bytes(os.urandom(4), "big") if request.seed is None else request.seed
        images = tuple(self._one(request, seed + i, on_step) for i in range(request.images))
        words = self._pipeline.tokenizer.backend_tokenizer.encode(request.prompt).ids
        return Output(images=images, prompt_tokens=min(len(words), self._pipeline.tokenizer.model_max_length))

    def unload(self) -> None:
        self._pipeline = None
        release_memory()

    def _one(self, request: ImageRequest, seed: int, on_step: OnStep) -> bytes:
        import torch

        def step(_pipeline: Any, _step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            on_step()
            return tensors

        made = self._for_one_run()(
            request.prompt,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            generator=torch.Generator(self._device).manual_seed(seed),
            callback_on_step_end=step,
        )
        out = io.BytesIO()
        made.images[0].save(out, "PNG")
        return out.getvalue()

    def _for_one_run(self) -> Any:
        # A scheduler counts steps, so two runs at once need one each; the weights are shared.
        parts = dict(self._pipeline.components)
        parts["scheduler"] = type(parts["scheduler"]).from_config(parts["scheduler"].config)
        pipeline = type(self._pipeline)(**parts, requires_safety_checker=False)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline
