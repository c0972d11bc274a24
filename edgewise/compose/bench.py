"""`edgewise bench`: the benchmarks, each a list of rows with the machine they were made on."""

from __future__ import annotations

import os
import platform
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from edgewise.domain.errors import BadInput

KINDS = ("twin", "planner", "graph", "memory")


def run_bench(kind: str, cases: int | None = None) -> list[dict[str, Any]]:
    """Rows of one benchmark. cases: held by the memory that is measured. Raises BadInput for a benchmark that does
    not exist, or an option that is not its own."""
    if kind not in KINDS:
        raise BadInput(f"no such benchmark: {kind!r}", where="bench", hint=f"there are: {', '.join(KINDS)}")
    if cases is not None and (kind != "memory" or cases < 1):
        raise BadInput(f"--cases {cases}", where=f"bench {kind}", hint="a whole number from 1 on, for bench memory")
    began = time.perf_counter()
    module = import_module(f"evals.bench_{kind}")
    import_s = time.perf_counter() - began
    options = {} if cases is None else {"cases": cases}
    return [row | {"machine": machine(), "import_s": round(import_s, 3)} for row in module.bench(**options)]


def machine() -> str:
    """The machine in a few words."""
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{name}, {os.cpu_count()} cores, {system}"


def print_rows(rows: list[dict[str, Any]]) -> None:
    """For a person: figures under each other."""
    from rich.console import Console

    console = Console(highlight=False)
    for row in rows:
        console.print(f"[bold]{row['name']} {row['size']}[/]  ({row['machine']})")
        for key, value in row.items():
            if key not in ("name", "size", "machine"):
                shown = f"{value:,.0f}" if isinstance(value, float) and value >= 100 else value
                console.print(f"  {key:22} {shown}")
