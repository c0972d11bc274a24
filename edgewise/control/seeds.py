"""Random generators seeded by names, so that a recorded decision draws the same numbers again."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(*names: str) -> np.random.Generator:
    """A generator that depends on the names and nothing else; different names give independent streams."""
    digest = hashlib.blake2b("\0".join(names).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
