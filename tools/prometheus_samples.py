"""From the answer of a Prometheus range selector to scrapes: what one target showed at one moment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tools.metrics_text import NAMES, Labels, Series

UP = "up"  # written by the server for every scrape, also for one that found nothing of ours or failed
QUERY_NAMES = tuple(sorted(NAMES | {UP}))
_OF_SERVER = frozenset({"__name__", "instance", "job"})


class Samples(NamedTuple):
    """All series of one scrape; `stamp_s` is the server's time of it, seconds since the epoch."""

    stamp_s: float
    values: Mapping[Series, float]


def scrapes_by_source(matrix: Sequence[Mapping[str, Any]]) -> dict[str, list[Samples]]:
    """The scrapes of each target (job and instance), in order of time, from a result of type matrix. All samples
    of one scrape bear the same stamp; a scrape that failed (`up` is 0 or missing) shows nothing. Values that are
    no finite numbers are left out. Raises ValueError, TypeError or KeyError when this is no matrix."""
    up: dict[tuple[str, float], bool] = {}
    found: dict[tuple[str, float], dict[Series, float]] = {}
    for entry in matrix:
        metric = entry["metric"]
        source = f"{metric.get('job', '')}/{metric.get('instance', '')}"
        name = str(metric["__name__"])
        labels = _labels(metric)
        for stamp, text in entry["values"]:
            at, value = (source, float(stamp)), float(text)
            if name == UP:
                up[at] = value == 1.0
            elif math.isfinite(value):
                found.setdefault(at, {})[(name, labels)] = value
    scrapes: dict[str, list[Samples]] = {}
    for (source, stamp_s), answered in sorted(up.items()):
        if answered:
            scrapes.setdefault(source, []).append(Samples(stamp_s, found.get((source, stamp_s), {})))
    return scrapes


def _labels(metric: Mapping[str, str]) -> Labels:
    """The exporter's own labels: where the target has one of the same name (`node`), the server keeps the
    exporter's under `exported_…`."""
    own = {k: v for k, v in metric.items() if k not in _OF_SERVER and not k.startswith("exported_")}
    own.update({k.removeprefix("exported_"): v for k, v in metric.items() if k.startswith("exported_")})
    return tuple(sorted(own.items()))
