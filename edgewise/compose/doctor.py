"""`edgewise doctor`: what is missing here and how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked for. `needed`: nothing works without it; else only what `for_what` says is missing."""

    name: str
    found: bool
    needed: bool
    detail: str
    for_what: str
    how: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _package(name: str, needed: bool, for_what: str, how: str) -> Finding:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, False, needed, "not installed", for_what, how)
    return Finding(name, True, needed, version, for_what, how)


def _program(name: str, for_what: str, how: str) -> Finding:
    path = shutil.which(name)
    return Finding(name, path is not None, False, path or "not on the path", for_what, how)


def _traces() -> Finding:
    from evals.traces import trace_folder

    folder = trace_folder()
    how = "set EDGEWISE_TRACES to a folder with them; else the shipped generated trace is used"
    return Finding("public traces", folder is not None, False, str(folder or "none"), "real arrivals in demo", how)


def _cluster() -> Finding:
    config = os.environ.get("KUBECONFIG", "")
    found = bool(config) and Path(config).is_file()
    how = "export KUBECONFIG=… of any cluster with nodes labelled edgewise.io/node"
    return Finding("KUBECONFIG", found, False, config or "not set", "Kubernetes instead of local processes", how)


def _machine() -> list[Finding]:
    memory_gib = psutil.virtual_memory().total / 2**30
    disk_gib = shutil.disk_usage(Path.cwd()).free / 2**30
    version = ".".join(map(str, sys.version_info[:3]))
    return [
        Finding("python", sys.version_info >= (3, 11), True, version, "everything", "install Python 3.11"),
        Finding("memory", memory_gib >= 6, False, f"{memory_gib:.1f} GiB", "demo with 7 nodes: 6 GiB", "--nodes 3"),
        Finding("disk", disk_gib >= 1, False, f"{disk_gib:.0f} GiB free", "runs and checkpoints: 1 GiB", "--out DIR"),
    ]


def examine() -> list[Finding]:
    """Look at this machine; opens no connection."""
    serving = "make demo (or pip install 'edgewise[serving]')"
    return [
        *_machine(),
        _package("langgraph", True, "control graphs", "make demo"),
        _package("pymongo", True, "store", "make demo"),
        _package("nx-27017", False, "the embedded store", "make demo, or give a MongoDB URL"),
        _package("chromadb", True, "case memory", "make demo"),
        _package("streamlit", False, "edgewise ui", "make demo"),
        _package("torch", False, "serving models", serving),
        _package("transformers", False, "text and caption models", serving),
        _package("diffusers", False, "image models", serving),
        _program("chromium", "browser test of the dashboard", "apt-get install chromium"),
        _program("prometheus", "telemetry contract on a real server", "apt-get install prometheus"),
        _program("debootstrap", "the replica image of the cluster tests", "apt-get install debootstrap"),
        _traces(),
        _cluster(),
    ]


def report(findings: list[Finding]) -> None:
    table = Table(title="edgewise doctor", title_justify="left")
    for heading in ("", "what", "here", "needed for", "how to get it"):
        table.add_column(heading, overflow="fold")
    for f in findings:
        mark = "[green]ok[/]" if f.found else ("[red]missing[/]" if f.needed else "[yellow]absent[/]")
        table.add_row(mark, f.name, f.detail, f.for_what, "" if f.found else f.how)
    Console().print(table)
