"""Where the weights of each model are, and the default catalogue. Imports no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgewise.domain.errors import BadInput
from edgewise.domain.model import ModelSpec, ServiceProfile, Task

HUB_IDS: Mapping[str, str] = {
    "gpt2": "openai-community/gpt2",
    "gpt2-large": "openai-community/gpt2-large",
    "blip": "Salesforce/blip-image-captioning-base",
    "stable-diffusion": "stable-diffusion-v1-5/stable-diffusion-v1-5",
}
TINY = "tiny"
HUB = "hub"


@dataclass(frozen=True, slots=True)
class Source:
    """What `from_pretrained` is given: a folder or a hub id, and the hub cache it is looked up in (None: the
    default one)."""

    location: str
    cache_dir: str | None = None


def resolve(models: str, specs: Sequence[ModelSpec], cache_dir: Path | None = None) -> dict[str, Source]:
    """The source of each model: `tiny` (folder `tiny` of `cache_dir`), `hub` (a hub cache at `cache_dir`, or the
    default one; weights are never fetched while serving), or a folder with one sub-folder per model id.

    Raises BadInput, naming the folder and what to do, when weights are missing.
    """
    if models == HUB:
        return {spec.id: _from_hub(spec, cache_dir) for spec in specs}
    if models == TINY:
        folder = tiny_folder(cache_dir)
        hint = "run `edgewise models tiny`"
    else:
        folder = Path(models).expanduser()
        hint = "run `edgewise models tiny`, or give a folder with one sub-folder of weights per model id"
    if not folder.is_dir():
        raise BadInput("the folder of checkpoints does not exist", where=str(folder), hint=hint)
    return {spec.id: _from_folder(spec, folder, hint) for spec in specs}


def default_cache() -> Path:
    """Where edgewise keeps what it makes: XDG's cache folder of the user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgewise"


def tiny_folder(cache_dir: Path | None = None) -> Path:
    return (cache_dir or default_cache()) / TINY


def _from_folder(spec: ModelSpec, folder: Path, hint: str) -> Source:
    path = folder / spec.id
    if not _index(path, spec.task).is_file():
        raise BadInput(
            f"no checkpoint of {spec.id!r} here: {_index(path, spec.task).name} is missing",
            where=str(path),
            hint=hint,
        )
    return Source(str(path))


def _index(path: Path, task: Task) -> Path:
    return path / ("model_index.json" if task is Task.TEXT_TO_IMAGE else "config.json")


def _from_hub(spec: ModelSpec, cache_dir: Path | None) -> Source:
    from huggingface_hub import try_to_load_from_cache

    hub_id = spec.checkpoint or HUB_IDS.get(spec.id, "")
    where = str(cache_dir) if cache_dir else "the hub cache"
    if not hub_id:
        raise BadInput(f"model {spec.id!r} names no checkpoint", where=where, hint="set `checkpoint` to a hub id")
    index = _index(Path(), spec.task).name
    if not isinstance(try_to_load_from_cache(hub_id, index, cache_dir=cache_dir), str):
        raise BadInput(f"{hub_id} is not in the hub cache", where=where, hint="run `edgewise models pull`")
    return Source(hub_id, str(cache_dir) if cache_dir else None)


def context_tokens(source: Source, task: Task) -> int | None:
    """Tokens the model takes, in and out together, as its configuration says; None when it says nothing, or has
    none (images)."""
    if task is Task.TEXT_TO_IMAGE:
        return None
    path: str | None = str(Path(source.location) / "config.json")
    if not Path(source.location).is_dir():
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(source.location, "config.json", cache_dir=source.cache_dir)
        path = found if isinstance(found, str) else None
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
        config = config.get("text_config") or config
        values = [config[k] for k in ("n_positions", "max_position_embeddings") if k in config]
    except (OSError, ValueError, AttributeError, TypeError):
        return None  # loading it will say what is wrong
    return values[0] if values and isinstance(values[0], int) and values[0] > 1 else None


def catalogue(models: str = TINY) -> tuple[ModelSpec, ...]:
    """The four default models. Memory is counted as the published weights need it.

    Tiny: service measured as CPU time on one core of a small cloud machine. Published sizes: the means of text (64
    tokens) and captions (20 tokens) and the price of one step (256 px) were measured with random weights, fp32, on
    two such cores; how a mean splits into base and tokens, load times, deadlines and spreads are estimates, and the
    image mean is 20 steps of that price. `edgewise models profile` measures them where it runs."""
    return _TINY_CATALOGUE if models == TINY else _FULL_CATALOGUE


_TINY_CATALOGUE = (
    ModelSpec(
        id="gpt2",
        task=Task.TEXT_GENERATION,
        memory_gib=1.0,
        mean_service_s=0.1,
        checkpoint=HUB_IDS["gpt2"],
        load_s=0.3,
        service=ServiceProfile(base_s=0.002, per_input_token_s=2.3e-5, per_output_token_s=0.0016, cv=0.2),
        deadline_s=10.0,
    ),
    ModelSpec(
        id="gpt2-large",
        task=Task.TEXT_GENERATION,
        memory_gib=3.5,
        mean_service_s=0.2,
        checkpoint=HUB_IDS["gpt2-large"],
        load_s=0.4,
        service=ServiceProfile(base_s=0.003, per_input_token_s=2.3e-4, per_output_token_s=0.0032, cv=0.2),
        deadline_s=15.0,
    ),
    ModelSpec(
        id="blip",
        task=Task.IMAGE_TO_TEXT,
        memory_gib=2.0,
        mean_service_s=0.057,
        checkpoint=HUB_IDS["blip"],
        load_s=0.3,
        service=ServiceProfile(base_s=0.008, per_output_token_s=0.0024, cv=0.2),
        request_kib=64.0,
        deadline_s=10.0,
    ),
    ModelSpec(
        id="stable-diffusion",
        task=Task.TEXT_TO_IMAGE,
        memory_gib=5.0,
        mean_service_s=0.1,
        checkpoint=HUB_IDS["stable-diffusion"],
        load_s=0.5,
        service=ServiceProfile(base_s=0.014, per_step_s=0.01, cv=0.2),
        response_kib=16.0,
        deadline_s=20.0,
    ),
)

_FULL_CATALOGUE = tuple(
    replace(
        spec,
        mean_service_s=mean_s,
        load_s=load_s,
        service=service,
        deadline_s=deadline_s,
        response_kib=512.0 if spec.task is Task.TEXT_TO_IMAGE else spec.response_kib,
    )
    for spec, mean_s, load_s, service, deadline_s in zip(
        _TINY_CATALOGUE,
        (4.1, 17.9, 5.3, 400.0),
        (3.0, 10.0, 5.0, 20.0),
        (
            ServiceProfile(base_s=0.1, per_output_token_s=0.0625, cv=0.2),
            ServiceProfile(base_s=0.3, per_output_token_s=0.275, cv=0.2),
            ServiceProfile(base_s=2.0, per_output_token_s=0.165, cv=0.2),
            ServiceProfile(base_s=10.0, per_step_s=19.5, cv=0.2),
        ),
        (60.0, 180.0, 60.0, 1800.0),
        strict=True,
    )
)
