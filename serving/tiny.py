"""Tiny random-weight checkpoints of the four default architectures, in the layouts of the real ones.

They load through the same `from_pretrained` path as the published weights and answer in milliseconds; what they
say means nothing. `python -m serving.tiny FOLDER` writes them and prints nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgewise.domain.errors import SetupError
from serving import tiny_text
from serving.checkpoints import HUB_IDS

FORMAT = 1  # raise it when what is written changes, and stale folders are replaced
SEED = 7
STAMP = "edgewise-tiny.json"


def tiny_is_made(folder: Path) -> bool:
    """Whether `folder` holds all four checkpoints in today's format. Imports no torch."""
    return all(_current(folder / model_id) for model_id in HUB_IDS)


def make_tiny(folder: Path) -> dict[str, Path]:
    """Write the four checkpoints that are not yet in `folder`; the same weights each time. Returns the folder of
    each model id. Several processes may do so at once: each model appears whole or not at all. Imports torch.

    Raises SetupError when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for model_id, write in _writers().items():
            if not _current(folder / model_id):
                _write_whole(folder / model_id, write)
    except OSError as error:
        raise SetupError(
            f"cannot write the tiny checkpoints: {error.strerror or error}",
            where=str(folder),
            hint="free some disk space (10 MiB), or choose another folder",
        ) from error
    return {model_id: folder / model_id for model_id in HUB_IDS}


def make_hub_cache(folder: Path) -> dict[str, Path]:
    """The same weights as a Hugging Face hub cache (`models--ORG--NAME/snapshots/REVISION`, `refs/main`).
    Returns the snapshot folder of each model id."""
    made = make_tiny(folder / ".plain")
    snapshots: dict[str, Path] = {}
    for model_id, hub_id in HUB_IDS.items():
        repository = folder / f"models--{hub_id.replace('/', '--')}"
        revision = f"{FORMAT:040x}"
        snapshots[model_id] = repository / "snapshots" / revision
        shutil.copytree(made[model_id], snapshots[model_id], dirs_exist_ok=True)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / "main").write_text(revision, encoding="ascii")
    return snapshots


def _current(path: Path) -> bool:
    try:
        stamp = json.loads((path / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(stamp == {"format": FORMAT})


def _write_whole(target: Path, write: Callable[[Path], None]) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        made = scratch / "made"
        made.mkdir()
        write(made)
        (made / STAMP).write_text(json.dumps({"format": FORMAT}), encoding="utf-8")
        if target.exists() and not _current(target):
            target.rename(scratch / "stale")
        try:
            made.rename(target)
        except OSError:
            if not _current(target):  # else another process was first, with the same weights
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _writers() -> dict[str, Callable[[Path], None]]:
    # Sizes are set so that a token costs about 2 ms (gpt2) and 4 ms (gpt2-large) on one slow core.
    return {
        "gpt2": lambda path: _gpt2(path, layers=2, width=64, heads=2),
        "gpt2-large": lambda path: _gpt2(path, layers=5, width=192, heads=4),
        "blip": _blip,
        "stable-diffusion": _stable_diffusion,
    }


def _gpt2(path: Path, layers: int, width: int, heads: int) -> None:
    import torch
    from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

    vocabulary, _ = tiny_text.gpt2_vocabulary()
    end = vocabulary[tiny_text.END]
    torch.manual_seed(SEED)
    config = GPT2Config(
        vocab_size=len(vocabulary),
        n_positions=1024,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        bos_token_id=end,
        eos_token_id=end,
    )
    model = GPT2LMHeadModel(config)
    # Random weights know no end of text and would pick bytes that are no text, so neither is offered to them.
    model.generation_config = GenerationConfig(
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        min_new_tokens=1,
        suppress_tokens=tiny_text.invisible_ids(vocabulary),
    )
    model.save_pretrained(path)
    tiny_text.write_gpt2(path)
    GPT2Tokenizer.from_pretrained(path, model_max_length=1024).save_pretrained(path)


def _blip(path: Path) -> None:
    import torch
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration
    from transformers.models.blip.configuration_blip import BlipTextConfig, BlipVisionConfig
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    vocabulary = tiny_text.bert_vocabulary()
    text = BlipTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        encoder_hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        pad_token_id=vocabulary["[PAD]"],
        bos_token_id=vocabulary["[DEC]"],
        eos_token_id=vocabulary["[SEP]"],
        sep_token_id=vocabulary["[SEP]"],
    )
    vision = BlipVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=224,
        patch_size=16,
    )
    torch.manual_seed(SEED)
    model = BlipForConditionalGeneration(BlipConfig(text_config=text.to_dict(), vision_config=vision.to_dict()))
    with torch.no_grad():  # only whole words are likely, so that a caption can be read
        bias = model.text_decoder.cls.predictions.bias
        for token, i in vocabulary.items():
            bias[i] = 0.0 if token in tiny_text.WORDS else -1e4
    model.save_pretrained(path)
    tiny_text.write_bert(path)
    BertTokenizer.from_pretrained(path).save_pretrained(path)
    BlipImageProcessorPil(size={"height": 224, "width": 224}).save_pretrained(path)


def _stable_diffusion(path: Path) -> None:
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    words = path / "tokenizer"
    words.mkdir()
    tiny_text.write_clip(words)
    tokenizer = CLIPTokenizer.from_pretrained(words, model_max_length=77)
    torch.manual_seed(SEED)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=32,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    parts: dict[str, Any] = {
        "tokenizer": tokenizer,
        "text_encoder": CLIPTextModel(text).eval(),
        "unet": UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(16, 32),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=4,
            norm_num_groups=8,
        ),
        "vae": AutoencoderKL(
            sample_size=64,
            block_out_channels=(8, 8, 16, 16),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
        ),
        "scheduler": PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ),
        "safety_checker": None,
        "feature_extractor": None,
    }
    StableDiffusionPipeline(**parts, requires_safety_checker=False).save_pretrained(path)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    make_tiny(Path(sys.argv[1]))
