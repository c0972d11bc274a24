"""Finished runs on disk, each in one file named by its key, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from edgewise.domain.errors import SetupError


@dataclass(frozen=True, slots=True)
class Store:
    """folder: OUT/runs. A file holds what the run's key stands for, so that it can be read without this program."""

    folder: Path

    def prepare(self) -> None:
        """Raises SetupError when nothing can be written there."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".probe-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            hint = "name another folder with --out"
            raise SetupError(f"cannot write there: {error.strerror}", where=str(self.folder), hint=hint) from error

    def get(self, key: str) -> dict[str, Any] | None:
        """None when the run is not there, or its file is not whole (it is run again)."""
        try:
            found = orjson.loads(self._file(key).read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            return None
        return found if isinstance(found, dict) and found.get("key") == key else None

    def put(self, key: str, run: Mapping[str, Any]) -> None:
        file = self._file(key)
        part = file.with_name(f".{key}.{os.getpid()}")
        # NaN and infinity become null here, for a run kept and a run just made alike.
        part.write_bytes(orjson.dumps({"key": key, **run}, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SORT_KEYS))
        part.replace(file)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.json"
