"""One process at a time in a folder. The system lets go of the lock when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from edgewise.domain.errors import SetupError

NAME = ".in-use"


class MemoryInUse(SetupError):
    """Another process has the folder open."""


class FolderLock:
    """Not held at first. The file stays, holding the id of the process that took it last."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._file: int | None = None

    def take(self) -> None:
        """Raises MemoryInUse when another holds it. Taking it twice is taking it once."""
        if self._file is not None:
            return
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 32).decode(errors="replace").strip() or "unknown"
            os.close(file)
            message = f"the case memory is in use by another process ({holder})"
            hint = "wait for it to end, or name another folder"
            raise MemoryInUse(message, where=str(self._path.parent), hint=hint) from None
        os.truncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
