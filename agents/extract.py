"""JSON out of prose: the top-level objects and arrays in a text, whole or cut off. Pure; never raises."""

from __future__ import annotations

import re
from dataclasses import dataclass

_THINKING = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_OPENER = {"}": "{", "]": "["}
MAX_DEPTH = 40  # deeper nesting is garbage, and parsers recurse (or go quadratic) on it
MAX_UNCLOSED = 16  # each costs one more scan of the rest


@dataclass(frozen=True, slots=True)
class Fragment:
    """`closed` is False when the text ended before the value did."""

    text: str
    closed: bool


def strip_thinking(text: str) -> str:
    """The text without the reasoning some models print before they answer."""
    return _THINKING.sub(" ", text).lstrip("\ufeff")


def too_deep(text: str) -> bool:
    """Whether braces or brackets nest deeper than MAX_DEPTH, be those in strings counted or not (a parser that
    repairs may see a string's end elsewhere than we do)."""
    return _depth(text) > MAX_DEPTH or _depth(_STRING.sub("", text)) > MAX_DEPTH


def _depth(text: str) -> int:
    """The deepest nesting of one kind of bracket."""
    depth, deepest = {"{": 0, "[": 0}, 0
    for char in text:
        if char in depth:
            depth[char] += 1
            deepest = max(deepest, depth[char])
        elif char in _OPENER:
            depth[_OPENER[char]] = max(0, depth[_OPENER[char]] - 1)
    return deepest


def fragments(text: str) -> list[Fragment]:
    """Top-level JSON values in order. A value that never closes ends the list, as not closed, and is followed
    by the closed ones inside it (a stray brace in prose must not hide the answer behind it)."""
    found: list[Fragment] = []
    at = _next_open(text, 0)
    unclosed = 0
    while at is not None and unclosed < MAX_UNCLOSED:
        end = _close_of(text, at)
        if end is not None:
            found.append(Fragment(text[at:end], True))
            at = _next_open(text, end)
        else:
            if unclosed == 0:
                found.append(Fragment(text[at:], False))
            unclosed += 1
            at = _next_open(text, at + 1)
    return found


def _next_open(text: str, start: int) -> int | None:
    places = [i for i in (text.find("{", start), text.find("[", start)) if i >= 0]
    return min(places) if places else None


def _close_of(text: str, start: int) -> int | None:
    """Index behind the value that opens at `start`. A closer of the wrong kind closes the nearest opener of its
    own kind: a forgotten bracket inside does not lose the object."""
    stack: list[str] = []
    quoted = escaped = False
    for i in range(start, len(text)):
        char = text[i]
        if quoted:
            quoted = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            quoted = True
        elif char in "{[":
            stack.append(char)
            if len(stack) > MAX_DEPTH:
                return None
        elif char in "}]" and _OPENER[char] in stack:
            while stack.pop() != _OPENER[char]:
                pass
            if not stack:
                return i + 1
    return None
