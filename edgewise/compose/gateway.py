"""The gateway as a child process of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgewise.domain.codec import from_json
from serving.gateway.config import GatewayConfig
from serving.gateway.server import run_gateway


def start_gateway(config: bytes, on_ready: Callable[[dict[str, Any]], None]) -> None:
    """Serve until told to stop. `on_ready` gets the port."""
    run_gateway(from_json(GatewayConfig, config, "gateway configuration"), lambda port: on_ready({"port": port}))
