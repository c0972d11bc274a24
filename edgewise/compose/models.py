"""Checkpoints on disk: made where they can be made, resolved to what an engine is given."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgewise.domain.errors import RunFailed, SetupError, UnknownModel
from edgewise.domain.model import ModelSpec
from serving.checkpoints import HUB_IDS, TINY, Source, resolve, tiny_folder

_PATTERNS = ["*.json", "*.txt", "*.model", "*.safetensors"]
_NOT = ["v1-5-*", "*.fp16.*", "*non_ema*"]  # the same weights again, in other shapes; gigabytes of them


def make_tiny_models(folder: Path | None) -> dict[str, str]:
    """Make the tiny checkpoints and give model → folder. In a process of its own: it imports torch, which the
    caller may not want. Raises SetupError with its last words when it fails."""
    target = folder or tiny_folder()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "serving.tiny", str(target)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or ["it said nothing"]
        why = words[-1].removeprefix(f"{SetupError.__module__}.{SetupError.__name__}: ")
        raise SetupError(
            f"the tiny checkpoints could not be made: {why}",
            where=str(target),
            hint="make demo installs what is needed; `edgewise doctor` says what is missing",
        )
    return {path.name: str(path) for path in sorted(target.iterdir()) if path.is_dir() and path.name[0] != "."}


def pull_models(models: Sequence[str], cache: Path | None) -> dict[str, str]:
    """Fetch the published weights of these models (all of the catalogue when none is named) into the hub cache:
    model → folder. Needs the hub; raises RunFailed when it cannot be reached, UnknownModel for a name it does not
    know. Formats that are not loaded here are left out."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    unknown = [m for m in models if m not in HUB_IDS]
    if unknown:
        raise UnknownModel(
            f"model {unknown[0]!r} is not in the catalogue", hint=f"known models: {', '.join(HUB_IDS)}"
        )
    found = {}
    for model in models or HUB_IDS:
        try:
            found[model] = snapshot_download(
                HUB_IDS[model], cache_dir=cache, allow_patterns=_PATTERNS, ignore_patterns=_NOT
            )
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            raise RunFailed(
                f"{HUB_IDS[model]} could not be fetched: {type(error).__name__}",
                where="model hub",
                hint="check the network and HF_ENDPOINT, or copy a hub cache here and set HF_HUB_CACHE",
            ) from error
    return found


def sources_for(models: str, specs: Sequence[ModelSpec]) -> dict[str, Source]:
    """Resolve `--models`; tiny ones that are not there yet are made first."""
    if models == TINY and not all((tiny_folder() / s.id).is_dir() for s in specs):
        make_tiny_models(None)
    return resolve(models, specs)
