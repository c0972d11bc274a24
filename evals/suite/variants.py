"""The product at another weight of fairness: `edgewise@0.5` is edgewise with α = 0.5, for the frontier over α."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

from edgewise.domain.errors import BadInput

ALPHA = "EDGEWISE_ALPHA"  # the product reads its settings from the environment
PRODUCT = "edgewise"


def name_of(alpha: float) -> str:
    return f"{PRODUCT}@{alpha:g}"


def is_variant(policy: str) -> bool:
    return "@" in policy


def alpha_of(policy: str) -> float | None:
    """None for a policy that is no variant."""
    _, _, alpha = policy.partition("@")
    return float(alpha) if alpha else None


def alphas(asked: str | None) -> tuple[str, ...]:
    """Names of variants from a comma-separated list of weights. Raises BadInput for what is no weight."""
    found = []
    for part in (asked or "").split(","):
        if not part.strip():
            continue
        try:
            alpha = float(part)
        except ValueError:
            alpha = math.nan
        if not 0 <= alpha < math.inf:
            raise BadInput(
                f"no weight of fairness: {part.strip()!r}", where="--alphas", hint="for example 0,0.5,1,2,4"
            )
        found.append(name_of(alpha))
    return tuple(dict.fromkeys(found))


@contextmanager
def at_its_alpha(policy: str) -> Iterator[str]:
    """The name the twin knows a policy by, while the product's α is that of the variant."""
    alpha, before = alpha_of(policy), os.environ.get(ALPHA)
    if alpha is None:
        yield policy
        return
    os.environ[ALPHA] = repr(alpha)
    try:
        yield policy.partition("@")[0]
    finally:
        if before is None:
            del os.environ[ALPHA]
        else:
            os.environ[ALPHA] = before
