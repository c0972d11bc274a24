"""A request body kept until the first byte of its answer, so that it can be sent again: in memory while small,
else in an unlinked file, which vanishes with the process whatever happens to it."""

from __future__ import annotations

import asyncio
import mmap
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO, TypeVar

from edgewise.domain.errors import SetupError, TooLarge
from edgewise.domain.units import MIB

T = TypeVar("T")
_CHUNK = 256 * 1024


class Body:
    """Bytes of one request. `add` raises TooLarge past `max_bytes`, SetupError when the spool cannot be written."""

    def __init__(self, folder: Path, max_bytes: int, memory_bytes: int) -> None:
        self.size = 0
        self._folder = folder
        self._max = max_bytes
        self._memory = memory_bytes
        self._parts: list[bytes] = []
        self._file: IO[bytes] | None = None

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size > self._max:
            raise TooLarge(f"the body exceeds {self._max / MIB:g} MiB", where="body", hint="setting max_body_mib")
        if self._file is None and self.size <= self._memory:
            self._parts.append(chunk)
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 close() closes it
                self._parts = [b"".join(self._parts)]
                self._write(self._parts.pop())
            self._write(chunk)
        except OSError as error:
            raise SetupError(f"cannot spool a request body: {error.strerror}", where=str(self._folder)) from error

    @property
    def spooled(self) -> bool:
        return self._file is not None

    async def read(self, parse: Callable[[bytes | memoryview], T]) -> T:
        """`parse` of the whole body; off the event loop when it is spooled."""
        if self._file is None:
            if len(self._parts) != 1:
                self._parts = [b"".join(self._parts)]
            return parse(self._parts[0])
        return await asyncio.to_thread(self._parse_file, self._file.fileno(), parse)

    def payload(self) -> bytes | AsyncIterator[bytes]:
        """What to send: may be asked for again on each attempt."""
        return b"".join(self._parts) if self._file is None else self._pieces(self._file.fileno())

    def close(self) -> None:
        self._parts = []
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._file is not None:
            view = view[self._file.write(view) :]

    def _parse_file(self, handle: int, parse: Callable[[bytes | memoryview], T]) -> T:
        with mmap.mmap(handle, self.size, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
            return parse(view)

    async def _pieces(self, handle: int) -> AsyncIterator[bytes]:
        for at in range(0, self.size, _CHUNK):
            yield await asyncio.to_thread(os.pread, handle, _CHUNK, at)
