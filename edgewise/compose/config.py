"""Configuration of the controller process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgewise.domain.decision import Mode
from edgewise.domain.world import World


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node's server answers. `pid` 0: not a process of this machine."""

    id: str
    url: str
    pid: int = 0


@dataclass(frozen=True, slots=True)
class ControlConfig:
    """All a controller needs to start.

    gateways: base URLs of the routers; each must acknowledge a plan. settings: overrides of `edgewise.settings`.
    store_url: MongoDB URL, empty for none. prometheus_url: read telemetry there instead of scraping nodes and
    gateway. launcher: the parent restarts node processes when asked over the pipe. origin: `time.monotonic()` of
    the run clock's zero; None starts it now. intents: a YAML file of the operator's intents, empty for none.
    """

    world: World
    run_dir: str
    nodes: tuple[NodeAddress, ...] = ()
    gateways: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    mode: Mode = Mode.ACTIVE
    store_url: str = ""
    prometheus_url: str = ""
    launcher: bool = False
    origin: float | None = None
    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 1
    intents: str = ""
