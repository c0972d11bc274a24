"""The planner as a controller asks it, without a controller: for decisions that are made again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, cast

from agents.proposal import Proposal
from agents.tool_recordings import ToolsDoor
from edgewise.control.actuator import Actuator
from edgewise.control.ports import ChatModel
from edgewise.control.state import EpochResult, Job
from edgewise.domain.errors import Unavailable
from edgewise.domain.world import World
from edgewise.settings import Settings
from graphs.doors import Doors
from graphs.ports import Ports

Propose = Callable[[Job, EpochResult], Awaitable[Proposal]]


def proposer(chat: ChatModel | None, settings: Settings, tools: ToolsDoor | None = None) -> Propose:
    """`Doors.propose` with every door shut but the language model's, so that there is one way to ask it. tools: what
    its tools answered then."""
    shut = cast(Any, Shut())
    world = World((), ())
    ports = Ports(shut, shut, shut, shut, shut, shut, chat, tools=tools)
    actuator = Actuator(shut, shut, shut, shut, shut, world, settings)
    return Doors(ports, actuator, world, settings, "replay").propose


class Shut:
    """A port behind which there is nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        async def refuse(*_: Any, **__: Any) -> NoReturn:
            raise Unavailable(f"{name}: a replayed decision touches nothing")

        return refuse
