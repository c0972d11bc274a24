"""Checkpoints on disk: plain values only, compressed. A slot's state repeats itself (the same plans, node and model
names in ticket, job, candidates), so that it becomes a seventh of what it was for a fifth of a millisecond."""

from __future__ import annotations

import zlib
from typing import Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

PACKED = "+zlib"
LEVEL = 6


class PackingSerializer:
    """Implements LangGraph's SerializerProtocol around `inner`; reads what was written without compression, too."""

    def __init__(self, inner: JsonPlusSerializer) -> None:
        self._inner = inner

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        kind, data = self._inner.dumps_typed(obj)
        return kind + PACKED, zlib.compress(data, LEVEL)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        kind, packed = data
        if kind.endswith(PACKED):
            return self._inner.loads_typed((kind.removesuffix(PACKED), zlib.decompress(packed)))
        return self._inner.loads_typed(data)


def serializer() -> PackingSerializer:
    """Nothing but plain values is let in when checkpoints are read."""
    return PackingSerializer(JsonPlusSerializer(allowed_msgpack_modules=[]))
