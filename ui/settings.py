"""What the dashboard's process is told by its environment."""

from __future__ import annotations

ENV = "EDGEWISE_API"  # base URL of the control API
DEFAULT_API = "http://127.0.0.1:8801"
REFRESH_S = 2.0  # while anything may still change
