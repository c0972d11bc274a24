"""Image in, caption out: BLIP."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from edgewise.domain.errors import BadInput
from edgewise.domain.model import Task
from serving.checkpoints import Source
from serving.engines.base import CaptionRequest, OnStep, OnText, Output, Request
from serving.engines.libraries import import_libraries
from serving.engines.runtime import from_pretrained_options, load_errors, loading, release_memory, require_vocabulary

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 50_000_000  # a small file can unpack to gigabytes


class CaptionEngine:
    """See `Engine`. BLIP describes what it sees; it follows no instruction, so none is taken."""

    def __init__(self) -> None:
        self._model: Any = None
        self._tokenizer: Any = None
        self._pixels: Any = None

    def load(self, source: Source, device: str, dtype: str) -> None:
        import_libraries((Task.IMAGE_TO_TEXT,))
        from transformers import AutoTokenizer, BlipForConditionalGeneration
        from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

        files = {"cache_dir": source.cache_dir, "local_files_only": True}
        with loading(source):
            self._tokenizer = AutoTokenizer.from_pretrained(source.location, **files)
            require_vocabulary(self._tokenizer, source.location)
            self._pixels = BlipImageProcessorPil.from_pretrained(source.location, **files)
            self._model = BlipForConditionalGeneration.from_pretrained(
                source.location, **from_pretrained_options(source, device, dtype)
            ).eval()

    def warm_up(self) -> None:
        from PIL import Image

        with load_errors(str(self._model.config.name_or_path)):
            blank = io.BytesIO()
            Image.new("RGB", (32, 32)).save(blank, "PNG")
            self.run(CaptionRequest(image=blank.getvalue(), max_tokens=1), lambda: None)

    def run(self, request: Request, on_step: OnStep, on_text: OnText | None = None) -> Output:
        import torch
        from transformers import StoppingCriteriaList

        from serving.engines.tokens import BetweenTokens

        if not isinstance(request, CaptionRequest):
            raise BadInput("this model takes an image and answers with a caption")
        pixels = self._pixels(images=decode_image(request.image), return_tensors="pt")["pixel_values"]
        between = BetweenTokens(self._tokenizer, on_step, on_text)
        text = self._model.config.text_config
        max_new = max(1, min(request.max_tokens, text.max_position_embeddings - 1))
        with torch.inference_mode():
            made = self._model.generate(
                pixels.to(self._model.device, self._model.dtype),
                max_new_tokens=max_new,
                min_new_tokens=1,
                stopping_criteria=StoppingCriteriaList([between]),
            )
        new = made[0, 1:].tolist()
        return Output(
            text=between.finish().strip(),
            prompt_tokens=int(pixels.shape[-1] // self._model.config.vision_config.patch_size) ** 2,
            completion_tokens=len(new),
            finish_reason="stop" if new and new[-1] == text.sep_token_id else "length",
        )

    def unload(self) -> None:
        self._model = self._tokenizer = self._pixels = None
        release_memory()


def decode_image(data: bytes) -> Image:
    """The picture in `data`. Raises BadInput for what is no picture, or unpacks to more than MAX_PIXELS."""
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > MAX_PIXELS:
            raise BadInput(f"the image has {image.width}×{image.height} pixels; at most {MAX_PIXELS:,} are taken")
        return image.convert("RGB")
    except UnidentifiedImageError as error:
        raise BadInput("not an image of a known format") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(f"not an image that can be read: {error}") from error
