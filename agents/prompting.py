"""Prompt templates: versioned text files in parts, with the hash that is recorded with each call."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Prompt:
    """A version's parts. user holds {data}; final asks for the answer (empty where there is but one question); reask
    holds {problem} and {answer}. hash: SHA-256 of the file."""

    version: str
    hash: str
    system: str
    user: str
    final: str
    reask: str

    @property
    def note(self) -> str:
        """In words for a decision's notes."""
        return f"prompt {self.version} sha256:{self.hash[:16]}"


@cache
def prompt(version: str) -> Prompt:
    """The prompt in agents/prompts/<version>.md. Its parts are separated by lines ---user---, ---final--- (may be
    missing), ---reask---."""
    raw = files("agents").joinpath("prompts", f"{version}.md").read_bytes()
    system, rest = raw.decode("utf-8").split("\n---user---\n")
    rest, reask = rest.split("\n---reask---\n")
    user, _, final = rest.partition("\n---final---\n")
    return Prompt(version, hashlib.sha256(raw).hexdigest(), system, user, final, reask)
