"""What leaves a machine in a capsule: text without addresses, host names, paths and keys; node names on request.

The same substitution is made in everything that a decision is made from and in what was recorded of it, so that the
decision made again from the redacted inputs is the redacted decision.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>)\]}]+", re.IGNORECASE)
ADDRESS = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?(?![\w.]*\w)")
ADDRESS6 = re.compile(r"(?<![\w:.])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{1,4}(?![\w:])", re.IGNORECASE)
PATH = re.compile(r"(?<![\w/.<])(?:~|/(?:[\w.@+-]+))(?:/[\w.@+-]+)+/?|(?<!\w)[A-Za-z]:\\[^\s'\"]+")
KEY = re.compile(r"\b(?:sk|pk|hf|ghp|xox[abp])[-_][A-Za-z0-9_-]{8,}\b|\bBearer\s+\S+", re.IGNORECASE)
LOCAL = re.compile(r"\blocalhost(?::\d+)?\b", re.IGNORECASE)
EMPTIED = frozenset({"url", "llm_url", "llm_api_key"})
Scrub = Callable[[str], str]


def scrubber(nodes: Sequence[str] = (), also: Sequence[str] = ()) -> Scrub:
    """A function that redacts a text. nodes: names to be replaced by node-1 …; their order by name is kept, because
    ties are broken by it. also: further words to take out, such as the machine's name (which is always)."""
    width = len(str(len(nodes)))
    names = {n: f"node-{i:0{width}d}" for i, n in enumerate(sorted(nodes), start=1)}
    hosts = sorted({h for h in (*also, platform.node()) if len(h) > 2 and h not in nodes}, key=len, reverse=True)
    host = _words(hosts)
    node = _words(sorted(names, key=len, reverse=True))

    def scrub(text: str) -> str:
        for pattern, word in ((URL, "[url]"), (KEY, "[key]"), (ADDRESS, "[address]"), (ADDRESS6, _address6),
                              (PATH, "[path]"), (LOCAL, "[host]")):  # fmt: skip
            text = pattern.sub(word, text)
        if host is not None:
            text = host.sub("[host]", text)
        return node.sub(lambda m: names[m.group()], text) if node is not None else text

    return scrub


def redacted(value: Any, scrub: Scrub) -> Any:
    """A plain value with every text in it redacted, keys of mappings too; addresses of replicas are emptied."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {scrub(k): "" if k in EMPTIED and isinstance(v, str) else redacted(v, scrub) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(v, scrub) for v in value]
    return value


def _words(names: Sequence[str]) -> re.Pattern[str] | None:
    if not names:
        return None
    return re.compile(r"(?<![\w-])(?:" + "|".join(map(re.escape, names)) + r")(?![\w-])")


def _address6(found: re.Match[str]) -> str:
    """Times (12:30:05) have the same shape, and no letters or empty groups."""
    text = found.group()
    return "[address]" if "::" in text or re.search("[a-f]", text, re.IGNORECASE) else text
