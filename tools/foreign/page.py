"""A Prometheus page of any maker as named series: what the readers share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.foreign.records import Count, What
from tools.metrics_text import Page, parse_page

GIB = float(1 << 30)


@dataclass(frozen=True, slots=True)
class Answers:
    """What an endpoint answered: its metrics page (None: it has none), the names that page declares, and the JSON
    of other paths."""

    page: Page | None = None
    declared: frozenset[str] = frozenset()
    json: Mapping[str, Any] = field(default_factory=dict)


def declared(text: str) -> frozenset[str]:
    """Names that a page gives a type: a labelled counter that has counted nothing yet shows only there."""
    return frozenset(
        parts[2] for line in text.splitlines() if line.startswith("# TYPE ") and len(parts := line.split()) >= 4
    )


def read_page(text: str, names: frozenset[str]) -> Page:
    return parse_page(text, names)


def histogram(name: str) -> frozenset[str]:
    """The series of a histogram."""
    return frozenset({f"{name}_bucket", f"{name}_sum", f"{name}_count"})


def series(page: Page, name: str) -> Iterator[tuple[dict[str, str], float]]:
    """(labels, value) of all series of a name."""
    for (found, labels), value in page.values.items():
        if found == name:
            yield dict(labels), value


def counted(
    page: Page, name: str, what: What, model: str = "model_name", node: str = "", scale: float = 1.0
) -> list[Count]:
    """A counter by model (and node), summed over its other labels. model, node: names of the labels that say so."""
    sums: dict[tuple[str, str], float] = {}
    for labels, value in series(page, name):
        at = (labels.get(node, "") if node else "", labels.get(model, ""))
        sums[at] = sums.get(at, 0.0) + value
    return [Count(n, m, what, value * scale) for (n, m), value in sorted(sums.items())]


def timed(
    page: Page,
    name: str,
    whats: tuple[What, What, What | None],
    model: str = "model_name",
    node: str = "",
    scale: float = 1.0,
) -> list[Count]:
    """A histogram of times by model (and node): sum, count, and its buckets where `whats` has a third."""
    total, count, bucket = whats
    found = counted(page, f"{name}_sum", total, model, node, scale)
    found += counted(page, f"{name}_count", count, model, node)
    if bucket is not None:
        found += _buckets(page, f"{name}_bucket", bucket, model, node, scale)
    return found


def _buckets(page: Page, name: str, what: What, model: str, node: str, scale: float) -> Iterable[Count]:
    sums: dict[tuple[str, str, float], float] = {}
    for labels, value in series(page, name):
        try:
            le = float(labels.get("le", "nan")) * scale
        except ValueError:
            continue
        if not math.isfinite(le):  # the last bucket is the count
            continue
        at = (labels.get(node, "") if node else "", labels.get(model, ""), le)
        sums[at] = sums.get(at, 0.0) + value
    return [Count(n, m, what, value, le) for (n, m, le), value in sorted(sums.items())]


def gauge(page: Page, name: str, model: str = "model_name", node: str = "") -> dict[tuple[str, str], float]:
    """A gauge by (node, model), summed over its other labels."""
    sums: dict[tuple[str, str], float] = {}
    for labels, value in series(page, name):
        at = (labels.get(node, "") if node else "", labels.get(model, ""))
        sums[at] = sums.get(at, 0.0) + value
    return sums


LATENCY = (What.LATENCY_S, What.LATENCY_COUNT, What.LATENCY_BUCKET)
SERVICE = (What.SERVICE_S, What.SERVICE_COUNT, What.SERVICE_BUCKET)
LOAD = (What.LOAD_S, What.LOAD_COUNT, None)
