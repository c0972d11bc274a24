"""What a prompt costs besides its service, from the calibration prompts and the gateway's rows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy.stats import trim_mean

from edgewise.domain.errors import RunFailed
from edgewise.domain.records import PromptRow
from evals.fidelity.calibration import Block

TRIM = 0.1  # of the draws at each end: a hiccup of the machine is no constant


@dataclass(frozen=True, slots=True)
class Constants:
    """http_s: latency beyond service of a prompt alone, from the gateway's first byte to its last, s; gap_s: idle
    node time between two prompts though others wait; cores: CPU per second of each node with all of them busy."""

    http_s: dict[str, float]
    gap_s: float
    cores: dict[str, float]


def constants(blocks: Sequence[Block], rows: Sequence[PromptRow], gap_s: float) -> Constants:
    """gap_s: as measured. Raises RunFailed when a prompt has no row, or no end."""
    by_id = {row.id: row for row in rows}
    http: dict[str, list[float]] = {}
    for block in blocks:
        for sent in block.one:
            row = by_id.get(sent.id)
            if row is None or row.finished_s is None:
                raise RunFailed(f"the gateway left no end of prompt {sent.id}")
            http.setdefault(sent.model, []).append(row.finished_s - row.arrived_s - sent.service_s)
    nodes = list(blocks[0].many.cores)
    return Constants(
        http_s={model: max(0.0, float(trim_mean(np.array(draws), TRIM))) for model, draws in http.items()},
        gap_s=gap_s,
        cores={node: fmean(block.many.cores[node] for block in blocks) for node in nodes},
    )
