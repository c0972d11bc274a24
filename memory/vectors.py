"""A situation as a vector: which feature stands on which axis, and the distance between two situations. Pure.

Axes are given to feature names in the order in which they were first seen, and the list is stored beside the
vectors, so an axis never changes its meaning: a model added to the catalogue adds axes, old cases stay comparable.
A feature that a situation lacks counts as 0 (features are scaled to about [0, 1], 0 meaning "none of it").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgewise.domain.records import Situation

DIMENSIONS = 64  # more names than this count in the exact distance, but do not help to find candidates
LIMIT = 4.0  # a feature far outside its scale must not drown the others


@dataclass(frozen=True, slots=True)
class Axes:
    """Feature names by axis."""

    names: tuple[str, ...] = ()

    def extended(self, situation: Situation) -> Axes:
        """These axes and one for every new feature, while there is room."""
        new = [name for name in values_of(situation) if name not in self.names]
        return Axes((self.names + tuple(new))[:DIMENSIONS]) if new else self

    def vector(self, situation: Situation) -> list[float]:
        """DIMENSIONS figures; axes without a name are 0."""
        values = values_of(situation)
        head = [values.get(name, 0.0) for name in self.names]
        return head + [0.0] * (DIMENSIONS - len(head))


def values_of(situation: Situation) -> dict[str, float]:
    """Features by name, clipped to ±LIMIT; what is not finite counts as 0."""
    return {n: max(-LIMIT, min(LIMIT, v)) if math.isfinite(v) else 0.0 for n, v in situation.features}


def distance(a: Situation, b: Situation) -> float:
    """Euclidean distance over the features of both."""
    x, y = values_of(a), values_of(b)
    return math.sqrt(sum((x.get(n, 0.0) - y.get(n, 0.0)) ** 2 for n in sorted(x.keys() | y.keys())))
