"""What a controller is made of: the ports, in one bundle."""

from __future__ import annotations

from dataclasses import dataclass

from agents.tool_recordings import ToolsDoor
from edgewise.control.ports import ChatModel, Clock, Cluster, History, Journal, Memory, Router, Telemetry


@dataclass(frozen=True, slots=True)
class Ports:
    """chat: None when no language model is configured. history: None where prompts are not recorded; then decisions
    are judged by what was measured alone. tools: wraps a planner's tools to record or replay their calls."""

    cluster: Cluster
    telemetry: Telemetry
    router: Router
    journal: Journal
    memory: Memory
    clock: Clock
    chat: ChatModel | None = None
    history: History | None = None
    tools: ToolsDoor | None = None
