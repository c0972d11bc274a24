"""From a /metrics page to the few series the observation needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]  # sorted by name
Series = tuple[str, Labels]

ARRIVED = "edgewise_prompts_arrived_total"
FINISHED = "edgewise_prompts_finished_total"
WAITING = "edgewise_prompts_waiting"
LATENCY = "gen_ai_server_request_duration_seconds"
QUEUED = "edgewise_replica_queued"
IN_FLIGHT = "edgewise_replica_in_flight"
WORK = "edgewise_replica_work_seconds"
SERVICE = "edgewise_service_seconds"
EXPECTED = "edgewise_service_expected_seconds_total"
SLOWER = "edgewise_service_slower_log_total"
FASTER = "edgewise_service_faster_log_total"
SQUARE = "edgewise_service_square_log_total"

# Of the histogram of service times only the mean is used, so its buckets are not read.
NAMES = frozenset(
    {
        ARRIVED, FINISHED, WAITING, QUEUED, IN_FLIGHT, WORK,
        f"{LATENCY}_bucket", f"{LATENCY}_sum", f"{LATENCY}_count", f"{SERVICE}_sum", f"{SERVICE}_count",
        EXPECTED, SLOWER, FASTER, SQUARE,
    }
)  # fmt: skip


class Page(NamedTuple):
    """The series of one page that we know, and how many lines of those names could not be read."""

    values: Mapping[Series, float]
    bad_lines: int


def parse_page(text: str, names: frozenset[str] = NAMES) -> Page:
    """The series of these names. A line that cannot be read, and a value that is no finite number, is left out
    and counted: one bad line must not hide a node.

    prometheus_client's parser takes about 30 µs a line, so other lines never reach it, and the name and labels
    of a series, which stay the same from page to page, are read by it once.
    """
    values: dict[Series, float] = {}
    bad_lines = 0
    for line in text.splitlines():
        if line.partition("{")[0].partition(" ")[0] not in names:
            continue
        # Only labels can hold spaces or braces; what follows the last brace is the value and perhaps a time.
        head, brace, tail = line.rpartition("}")
        if not brace:
            head, _, tail = line.partition(" ")
        try:
            series, value = _series(head + brace), float(tail.split()[0])
        except (ValueError, IndexError):
            bad_lines += 1
            continue
        if math.isfinite(value):
            values[series] = value
        else:
            bad_lines += 1
    return Page(values, bad_lines)


@lru_cache(maxsize=65536)
def _series(head: str) -> Series:
    """Name and labels of `name{label="value",…}`. Raises ValueError."""
    samples = [s for family in text_string_to_metric_families(head + " 0\n") for s in family.samples]
    if len(samples) != 1:
        raise ValueError(f"not one series: {head}")
    return samples[0].name, tuple(sorted(samples[0].labels.items()))
