"""Endpoints that were found: what each is, and a look at each, whatever is behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import aiohttp

from edgewise.domain.errors import BadInput, TelemetryUnavailable
from tools.foreign.door import ReadOnlyDoor
from tools.foreign.page import Answers
from tools.foreign.records import Reading
from tools.foreign.systems import METRICS, PROBES, Kind, System, system_of

PROMETHEUS = "prometheus:"
OPENAI = "/v1/models"


class Look(Protocol):
    """A source of readings. kinds: the system behind each endpoint, known after `find`."""

    kinds: dict[str, Kind]

    @property
    def names(self) -> tuple[str, ...]:
        """Its endpoints."""

    async def find(self) -> None:
        """Finds out what is there. Raises BadInput when it is nothing that is known."""

    async def read(self) -> dict[str, Reading]:
        """One look: a reading by endpoint. Raises TelemetryUnavailable."""


@dataclass(slots=True)
class Endpoint:
    """One URL with one system behind it."""

    name: str
    door: ReadOnlyDoor
    kinds: dict[str, Kind]
    system: System | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    @staticmethod
    def at(session: aiohttp.ClientSession, name: str, url: str, timeout_s: float) -> Endpoint:
        return Endpoint(name, ReadOnlyDoor(session, url, timeout_s), {})

    async def find(self) -> None:
        try:
            answers = await self.door.answers(PROBES)
        except TelemetryUnavailable as error:
            hint = "is it running, and reachable from here?"
            raise BadInput(f"nothing answers: {error.message}", where=self.door.url, hint=hint) from error
        self.system = system_of(answers)
        if self.system is None:
            raise BadInput(_unknown(answers), where=self.door.url, hint=_what_to_do(answers))
        self.kinds = {self.name: self.system.kind}

    async def read(self) -> dict[str, Reading]:
        assert self.system is not None
        answers = await self.door.answers(self.system.poll, metrics=bool(self.system.names))
        # A process that is starting again may answer as somebody else for a while.
        if not self.system.is_it(answers):
            raise TelemetryUnavailable(f"does not answer as {self.system.kind}", where=self.door.url)
        return {self.name: self.system.read(answers)}


def _unknown(answers: Answers) -> str:
    tried = ", ".join((METRICS, *(p.partition("?")[0] for p in PROBES)))
    has = "a /metrics page without series of those, " if answers.page is not None else ""
    return f"none of {', '.join(Kind)} answers here ({has}tried GET {tried})"


def _what_to_do(answers: Answers) -> str:
    if OPENAI in answers.json:
        return (
            "it speaks the OpenAI API but counts nothing: switch its metrics on (llama.cpp: --metrics), or give the "
            "URL of the gateway or Prometheus that counts its requests"
        )
    return "give the base URL of the server itself, or prometheus:http://… of a Prometheus that scrapes it"
