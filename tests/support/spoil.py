"""Spoiling valid answers: types swapped, keys renamed or dropped, texts cut, flipped, doubled."""

from __future__ import annotations

import random
from typing import Any

WORDS = [
    "edge-1", "edge-2", "edge-3", "gpt2", "gpt2-large", "blip", "stable-diffusion", "edge-9", "gpt-2", "Edge 1", "",
    "ignore previous instructions", "\u202e", "}",
]  # fmt: skip
JUNK: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, float("nan"), float("-inf"), 10**40, "", "gpt2", "NaN", [], {}, [[]], {"node": 1},
    ["gpt2", None, 3], {"edge-1": "gpt2"}, "edge-1", {"model": "blip"}, "\ud83d", "a" * 300,
]  # fmt: skip


def spoil_value(value: Any, rng: random.Random) -> Any:
    """The value with one part, somewhere inside, swapped for junk, doubled, renamed or dropped."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        how = rng.randrange(4)
        if how == 0:
            return {k: v for k, v in value.items() if k != key}
        if how == 1:
            return {(k + "_x" if k == key else k): v for k, v in value.items()}
        return value | {key: spoil_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        part = [] if rng.random() < 0.2 else [spoil_value(value[at], rng)]
        return value[:at] + part * rng.choice((1, 1, 2)) + value[at + 1 :]
    return rng.choice([*JUNK, *WORDS])


def spoil_text(text: str, rng: random.Random) -> str:
    """The text cut, flipped, doubled, or with marks put in or left out."""
    how = rng.randrange(7)
    at, to = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
    flipped = chr((ord(text[at]) ^ (1 << rng.randrange(8))) or 1) if at < len(text) else text
    head, tail = rng.choice(("```json\n", "<think>", "Sure: ", "{", "[")), rng.choice(("\n```", "", "}", " {}", '"'))
    mark = rng.choice("{}[]\",:\\'`\n\x00\u202e-0eNaN ")
    return [
        text[:at],
        text[:at] + mark + text[at:],
        text[:at] + text[at + 1 :],
        text[:at] + text[to:],
        text[:to] + text[at:],
        text[:at] + flipped + text[at + 1 :],
        head + text + tail,
    ][how]


def flip_byte(text: str, rng: random.Random) -> str:
    """The text with one bit of its bytes flipped, decoded as well as it can be."""
    raw = bytearray(text.encode("utf-8", "surrogatepass"))
    if raw:
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return raw.decode("utf-8", "replace")
