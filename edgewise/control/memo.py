"""What was made last, for the same arguments: the steps of one decision ask for the same thing again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Last(Generic[T]):
    """Keeps one result. Arguments are compared by identity (and kept, so that an identity is not given anew), as to
    compare two large observations takes longer than to make what is asked for. Threads may share it: at worst both
    make the same."""

    def __init__(self) -> None:
        self._kept: tuple[tuple[object, ...], T] | None = None

    def get(self, arguments: tuple[object, ...], make: Callable[[], T]) -> T:
        kept = self._kept
        if kept is not None and all(a is b for a, b in zip(kept[0], arguments, strict=True)):
            return kept[1]
        made = make()
        self._kept = (arguments, made)
        return made
