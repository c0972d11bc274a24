"""What `edgewise demo` was asked for, checked before anything starts."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edgewise.domain.decision import Mode
from edgewise.domain.errors import BadInput
from tools.process import require_free

HOST = "127.0.0.1"
# GiB per node, repeated for more nodes. The four models need 11.5 together, so no node holds them all.
_BUDGETS_GIB = (6.0, 6.0, 8.0, 6.0, 6.0, 6.0, 5.0)
_WHOLE_CATALOGUE_GIB = 12.0  # a single node must be able to serve every kind


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Durations in wall seconds. `speedup` None: the load is measured to fit the machine."""

    nodes: int = 7
    trace: Path | None = None
    duration_s: float = 90.0
    speedup: float | None = None
    slot_s: float = 4.0
    epoch_slots: int = 5
    models: str = "tiny"
    mode: Mode = Mode.ACTIVE
    llm_url: str = ""
    llm_timeout_s: float = 10.0
    port: int | None = None
    ui: bool = False
    out: Path | None = None
    seed: int = 1
    json: bool = False

    def budget_gib(self, index: int) -> float:
        return _WHOLE_CATALOGUE_GIB if self.nodes == 1 else _BUDGETS_GIB[index % len(_BUDGETS_GIB)]


def run_folder(out: Path | None, now: datetime | None = None) -> Path:
    """The run directory: `out` itself, else runs/<utc>-<id>."""
    if out is not None:
        return out
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    return Path("runs") / f"{stamp}-{secrets.token_hex(3)}"


def check(options: DemoOptions) -> None:
    """Raise BadInput for what cannot work, before anything is started."""
    for name, value, least in (
        ("--nodes", options.nodes, 1),
        ("--epoch-slots", options.epoch_slots, 1),
    ):
        if value < least:
            raise BadInput(f"{name} {value}: at least {least}")
    for name, seconds in (
        ("--duration", options.duration_s),
        ("--slot-s", options.slot_s),
        ("--llm-timeout", options.llm_timeout_s),
        ("--speedup", options.speedup),
    ):
        if seconds is not None and not 0 < seconds < 1e7:
            raise BadInput(f"{name} {seconds}: must be a number above 0")
    if options.nodes > 200:
        raise BadInput(f"--nodes {options.nodes}: at most 200 processes on one machine")
    if options.llm_url and not options.llm_url.startswith(("http://", "https://")):
        raise BadInput(f"--llm {options.llm_url!r} is not a URL", hint="it looks like http://127.0.0.1:11434/v1")
    if options.trace is not None and not options.trace.is_file():
        raise BadInput("no such trace file", where=str(options.trace), hint="--trace takes a CSV or CSV.GZ file")
    if options.port is not None:
        if not 0 < options.port < 65535:
            raise BadInput(f"--port {options.port}: ports are 1 to 65534 (the control API takes the next one)")
        require_free(HOST, options.port)
        require_free(HOST, options.port + 1)
