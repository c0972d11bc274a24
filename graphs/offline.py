"""Factories for langgraph.json: the graphs as they are, opened without ports, models or configuration."""

from __future__ import annotations

from typing import Any

from edgewise.settings import load_settings
from graphs import epoch, ladder, slot
from graphs.tools import OfflineTools


def slot_graph() -> Any:
    """The slot graph on tickets that bring their observation; decides, carries nothing out."""
    return slot.build(OfflineTools(load_settings())).compile(name="slot")


def epoch_graph() -> Any:
    """The epoch graph at the optimiser rung."""
    return epoch.build(OfflineTools(load_settings())).compile(name="epoch")


def ladder_graph() -> Any:
    """What an agent's answer goes down."""
    return ladder.build().compile(name="ladder")
