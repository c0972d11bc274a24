"""What `edgewise demo` was asked for, checked before anything starts."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from edgewise.domain.decision import Mode
from edgewise.domain.errors import BadInput
from tools.process import require_free

HOST = "127.0.0.1"
_MOST = 10_000_000  # of seconds and factors; whoever asks for more has mistyped
# GiB per node, repeated for more nodes. The four models need 11.5 together and the largest 5, so that no node holds
# them all, few hold the largest, and what stands where has to change when demand does. Below three nodes there must
# still be room for every kind.
_BUDGETS_GIB = {1: (12.0,), 2: (7.0, 5.0)}
_USUAL_BUDGETS_GIB = (6.0, 4.0, 5.0, 4.0, 6.0, 4.0, 4.0)


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
    approve: bool = False
    port: int | None = None
    ui: bool = False
    out: Path | None = None
    seed: int = 1
    json: bool = False
    intents: Path | None = None

    def budget_gib(self, index: int) -> float:
        budgets = _BUDGETS_GIB.get(self.nodes, _USUAL_BUDGETS_GIB)
        return budgets[index % len(budgets)]


def run_folder(out: Path | None, now: datetime | None = None) -> Path:
    """The run directory: `out` itself, else runs/<utc>-<id>."""
    if out is not None:
        return out
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    return Path("runs") / f"{stamp}-{secrets.token_hex(3)}"


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in text
    except ValueError:  # an unfinished [IPv6] address, a port that is none
        return False


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
        if seconds is not None and not 0 < seconds < _MOST:
            raise BadInput(f"{name} {seconds:g}: must be a number above 0 and below {_MOST:,}")
    if options.nodes > 200:
        raise BadInput(f"--nodes {options.nodes}: at most 200 processes on one machine")
    if options.llm_url and not _is_url(options.llm_url):
        raise BadInput(f"--llm {options.llm_url!r} is not a URL", hint="it looks like http://127.0.0.1:11434/v1")
    if options.trace is not None and not options.trace.is_file():
        raise BadInput("no such trace file", where=str(options.trace), hint="--trace takes a CSV or CSV.GZ file")
    if options.port is not None:
        if not 0 < options.port < 65535:
            raise BadInput(f"--port {options.port}: ports are 1 to 65534 (the control API takes the next one)")
        require_free(HOST, options.port)
        require_free(HOST, options.port + 1)
