"""A situation as a vector: which feature stands on which axis, and the distance between situations. Pure.

Axes are given to feature names in the order in which they were first seen, and the list is stored beside the
vectors, so an axis never changes its meaning: a model added to the catalogue adds axes, old cases stay comparable.
A feature that a situation lacks counts as 0 (features are scaled to about [0, 1], 0 meaning "none of it"). Features
that came with a later version are left out of the distance to a case that was written before them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgewise.domain.records import Situation

DIMENSIONS = 64  # more names than this count in the exact distance, but do not help to find candidates
LIMIT = 4.0  # a feature far outside its scale must not drown the others
LATER = ("memory", "catalogue", "role:", "load:")  # names, or beginnings of names

Floats = npt.NDArray[np.float64]


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
    return float(distances_from(a, [b])[0])


def distances_from(here: Situation, others: Sequence[Situation]) -> Floats:
    """Euclidean distances [n] from one situation to others, each over the features of both."""
    x, known = _table([here, *others])
    return _row(x, known, 0)[1:]


def distances(situations: Sequence[Situation]) -> Floats:
    """Euclidean distances [n, n], each over the features of both."""
    x, known = _table(situations)
    return np.array([_row(x, known, i) for i in range(len(x))]).reshape(len(x), len(x))


def _row(x: Floats, known: Floats, i: int) -> Floats:
    out: Floats = np.sqrt((known * known[i] * (x - x[i]) ** 2).sum(axis=1))
    return out


def _table(situations: Sequence[Situation]) -> tuple[Floats, Floats]:
    """Values [n, f] of all features named, and 1 where the version that wrote the situation knew the feature."""
    rows = [values_of(s) for s in situations]
    names = sorted({name for row in rows for name in row})
    x = np.array([[row.get(name, 0.0) for name in names] for row in rows]).reshape(len(rows), len(names))
    family = {name: _family(name) for name in names}
    families = [family[name] for name in names]
    had = [{family[name] for name in row} | {""} for row in rows]
    known = np.array([[float(f in mine) for f in families] for mine in had]).reshape(x.shape)
    return x, known


def _family(name: str) -> str:
    """Which of LATER a feature belongs to; empty: none."""
    return next((f for f in LATER if (name.startswith(f) if f.endswith(":") else name == f)), "")
