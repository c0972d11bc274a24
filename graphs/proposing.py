"""The language-model parts of the controller's doors, without a controller: for decisions that are made again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn, cast

from agents.tool_recordings import ToolsDoor
from edgewise.control.actuator import Actuator
from edgewise.control.ports import ChatModel
from edgewise.domain.errors import Unavailable
from edgewise.domain.world import World
from edgewise.settings import Settings
from graphs.doors import Doors
from graphs.ports import Ports


@dataclass(frozen=True, slots=True)
class Heard:
    """What agents hear when a decision is made again. chat: from recordings, or live in a fork. tools: answers of
    their tools, from recordings, where there are any. promql: whether they had a Prometheus to query then, which
    shows in what they were asked."""

    chat: ChatModel | None = None
    tools: ToolsDoor | None = None
    promql: bool = False


NOTHING = Heard()


def doors(heard: Heard, settings: Settings) -> Doors:
    """The controller's doors with every port shut but the language model's, so that there is one way to ask it."""
    shut = cast(Any, _Shut())
    world = World((), ())
    telemetry = cast(Any, _NoPrometheus()) if heard.promql else shut
    ports = Ports(shut, telemetry, shut, shut, shut, shut, heard.chat, tools=heard.tools)
    return Doors(ports, Actuator(shut, shut, shut, shut, shut, world, settings), world, settings, "replay")


class _Shut:
    """A port behind which there is nothing; nobody calls it."""


class _NoPrometheus:
    """Implements ports.MetricQuery: a query that was not recorded gets no answer."""

    async def query(self, promql: str) -> NoReturn:
        raise Unavailable("a replayed decision touches nothing")
