"""Which folder the case memory of a run is in."""

from __future__ import annotations

import logging
from pathlib import Path

from edgewise.compose.paths import default_folder
from edgewise.settings import Settings
from memory.chroma import ChromaMemory
from memory.lock import MemoryInUse
from tools.rundir import MEMORY

OWN = "run"  # the value of the setting memory_dir that keeps cases in the run's directory

_log = logging.getLogger(__name__)


def memory_folder(run: Path, settings: Settings) -> Path:
    """The setting's folder; by default one in the user's data folder, which all runs share."""
    if settings.memory_dir == OWN:
        return run / MEMORY
    return Path(settings.memory_dir).expanduser() if settings.memory_dir else default_folder() / MEMORY


async def open_memory(run: Path, settings: Settings) -> ChromaMemory:
    """The case memory, open. While another run has the shared one, this run keeps its cases in its own directory, and
    says so. Raises SetupError when the folder cannot be used."""
    memory = ChromaMemory(memory_folder(run, settings))
    try:
        await memory.start()
    except MemoryInUse as error:
        await memory.aclose()
        own = run / MEMORY
        if settings.memory_dir == OWN:
            raise
        _log.warning("%s; the cases of this run go to %s", error.line(), own)
        memory = ChromaMemory(own)
        await memory.start()
    return memory
