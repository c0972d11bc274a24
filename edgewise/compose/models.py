"""Checkpoints on disk: made where they can be made, resolved to what an engine is given."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgewise.domain.errors import SetupError
from edgewise.domain.model import ModelSpec
from serving.checkpoints import TINY, Source, resolve, tiny_folder


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
        words = done.stderr.strip().splitlines()
        raise SetupError(
            f"the tiny checkpoints could not be made: {words[-1] if words else 'it said nothing'}",
            where=str(target),
            hint="make demo installs what is needed; `edgewise doctor` says what is missing",
        )
    return {path.name: str(path) for path in sorted(target.iterdir()) if path.is_dir() and path.name[0] != "."}


def sources_for(models: str, specs: Sequence[ModelSpec]) -> dict[str, Source]:
    """Resolve `--models`; tiny ones that are not there yet are made first."""
    if models == TINY and not all((tiny_folder() / s.id).is_dir() for s in specs):
        make_tiny_models(None)
    return resolve(models, specs)
