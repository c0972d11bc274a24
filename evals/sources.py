"""Where the prompts of a scenario's traces come from: the file as written, the folder of traces, or a stand-in."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from edgewise.domain.errors import BadInput
from evals.scenario import Scenario, TraceEntry
from evals.traces import GENERATED, trace_folder

SHIPPED_TRACES = frozenset(
    f"{name}.csv.gz"
    for name in (
        "azure2023-code", "azure2023-conv", "servegen-m-small", "servegen-m-large", "servegen-mm-image",
        "alibaba-genai-lora", "azure-lmm2024-recon", "mooncake-conversation",
    )
)  # fmt: skip


class TraceSource(NamedTuple):
    """Rows in [start_s, until_s) of a file. note: what a reader of results must know; "" when there is nothing."""

    file: Path
    start_s: float
    note: str
    until_s: float = math.inf


def trace_source(entry: TraceEntry) -> TraceSource:
    """The file of a trace: as written, else in the folder of traces. The recorded traces that shipped scenarios name
    have a generated stand-in, and the note says so.

    Raises BadInput when there is no such file.
    """
    until_s = math.inf if entry.until_s is None else entry.until_s
    written = Path(entry.file)
    if written.is_absolute() and written.is_file():
        return TraceSource(written, entry.start_s, "", until_s)
    folder = trace_folder()
    if folder is not None and (folder / entry.file).is_file():
        return TraceSource(folder / entry.file, entry.start_s, "", until_s)
    if entry.file in SHIPPED_TRACES and entry.model_class is not None:
        note = f"{entry.file} is not here: generated {entry.model_class} prompts stand in for it"
        return TraceSource(GENERATED, 0.0, note)
    raise BadInput(
        f"no such trace file: {entry.file}",
        hint="paths are relative to the scenario, or to the folder that EDGEWISE_TRACES names",
    )


def notes(scenario: Scenario) -> tuple[str, ...]:
    """What a reader of results must know of where the prompts came from."""
    found = [trace_source(entry).note for entry in scenario.workload.traces]
    return tuple(dict.fromkeys(note for note in found if note))
