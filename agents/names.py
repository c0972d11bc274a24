"""The known name a misspelt one stands for, when there is only one candidate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

NEAR = 0.8  # similarity below which a name is simply unknown
LEAD = 0.1  # by how much the best candidate must beat the second
MAX_NAME_CHARS = 256


def nearest(name: str, known: Sequence[str]) -> str | None:
    """`name` itself if known; else the one that differs in case and punctuation only; else the one clearly
    nearest in spelling. None when there is none or more than one. Digits must agree (edge-9 is no
    slip of the pen for edge-1 but another node), and a longer name is another one too (gpt2-xl is not gpt2)."""
    if name in known:
        return name
    if len(name) > MAX_NAME_CHARS:
        return None
    plain = _plain(name)
    same = [k for k in known if _plain(k) == plain]
    if same:
        return same[0] if len(same) == 1 else None
    digits = re.sub(r"\D", "", name)
    scored = sorted(((SequenceMatcher(None, plain, _plain(k)).ratio(), k) for k in known), reverse=True)
    near = [
        (score, k)
        for score, k in scored
        if score >= NEAR and re.sub(r"\D", "", k) == digits and not plain.startswith(_plain(k))
    ]
    if not near or (len(near) > 1 and near[0][0] - near[1][0] < LEAD):
        return None
    return near[0][1]


def _plain(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())
