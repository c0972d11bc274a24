"""Imports of the model libraries, in one place: they load parts of themselves lazily, and not thread-safely."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Collection
from contextlib import suppress

from edgewise.domain.errors import SetupError
from edgewise.domain.model import Task

_lock = threading.Lock()
_COMMON = ("torch", "accelerate", "accelerate.hooks", "safetensors.torch", "tokenizers.decoders")
_MODULES = {
    Task.TEXT_GENERATION: (
        "serving.engines.text",
        "serving.engines.tokens",
        "transformers.models.auto.modeling_auto",
        "transformers.models.auto.tokenization_auto",
        "transformers.models.gpt2.modeling_gpt2",
        "transformers.models.gpt2.tokenization_gpt2",
    ),
    Task.IMAGE_TO_TEXT: (
        "serving.engines.caption",
        "serving.engines.tokens",
        "transformers.models.auto.tokenization_auto",
        "transformers.models.bert.tokenization_bert",
        "transformers.models.blip.image_processing_pil_blip",
        "transformers.models.blip.modeling_blip",
        "PIL.Image",
    ),
    Task.TEXT_TO_IMAGE: (
        "serving.engines.image",
        "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
        "diffusers.models.autoencoders.autoencoder_kl",
        "diffusers.models.unets.unet_2d_condition",
        "diffusers.schedulers.scheduling_pndm",
        "transformers.models.clip.modeling_clip",
        "transformers.models.clip.tokenization_clip",
        "PIL.Image",
    ),
}
# Imported on the way by one version or another of the libraries; not every version has each. (diffusers' onnx_utils
# is left out: it starts a thread, and a process that forks must have none.)
_ON_THE_WAY = (
    "diffusers.guiders",
    "diffusers.schedulers.scheduling_unipc_multistep",
    "transformers.models.bert.tokenization_bert_fast",
    "transformers.models.gpt2.tokenization_gpt2_fast",
)
# What `from x import Name` resolves lazily: touched once here, under the lock.
_NAMES: dict[Task, dict[str, tuple[str, ...]]] = {
    Task.TEXT_GENERATION: {"transformers": ("AutoModelForCausalLM", "AutoTokenizer", "StoppingCriteriaList")},
    Task.IMAGE_TO_TEXT: {"transformers": ("AutoTokenizer", "BlipForConditionalGeneration", "StoppingCriteriaList")},
    Task.TEXT_TO_IMAGE: {"diffusers": ("StableDiffusionPipeline",)},
}


def import_libraries(tasks: Collection[Task] = tuple(Task)) -> None:
    """Import all that serving these tasks will need; seconds the first time. Runs no model, starts no thread.
    Raises SetupError when the serving extras are not installed."""
    try:
        with _lock:
            for task in tasks:
                for name in (*_COMMON, *_MODULES[task]):
                    importlib.import_module(name)
                for module, names in _NAMES[task].items():
                    for name in names:
                        getattr(importlib.import_module(module), name)
            for name in _ON_THE_WAY if len(tasks) > 1 else ():
                with suppress(ImportError):
                    importlib.import_module(name)
    except ImportError as error:
        raise SetupError(
            f"cannot import {error.name or error}", hint="install the serving extras: pip install 'edgewise[serving]'"
        ) from error
