"""Makes evals/data/generated.csv.gz, the small trace that stands in where no recorded ones are at hand.

    python -m evals.generate [PATH]

Nothing in it was recorded: arrivals are Gamma renewal processes whose rate switches between calm and busy, sizes are
log-normal, both with round parameters. The same call gives the same bytes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import orjson

from evals.traces import GENERATED, ModelClass, TraceRow, write_trace

SOURCE = "generated"
SEED = 20260207
DURATION_S = 900.0
BUSY_FACTOR = 4.0  # arrivals in a busy stretch come this much faster than in a calm one
SHAPE = 0.6  # of the Gamma gaps: below 1 is burstier than Poisson


@dataclass(frozen=True, slots=True)
class Kind:
    """One class of prompts: calm arrivals per second, medians of its sizes, number of clients."""

    model_class: ModelClass
    rate_per_s: float
    input_tokens: float | None
    output_tokens: float | None
    clients: int


KINDS = (
    Kind(ModelClass.TEXT_SMALL, 0.55, 220.0, 24.0, 12),
    Kind(ModelClass.TEXT_LARGE, 0.35, 260.0, 70.0, 12),
    Kind(ModelClass.IMAGE_CAPTION, 0.40, 20.0, 24.0, 8),
    Kind(ModelClass.IMAGE_GENERATION, 0.20, None, None, 10),
)


def generate(seed: int = SEED, duration_s: float = DURATION_S) -> tuple[TraceRow, ...]:
    """All rows, sorted by time; classes draw from streams of their own, so that one can change alone."""
    rows = [row for kind in KINDS for row in _rows(kind, Random(f"{seed}/{kind.model_class}"), duration_s)]
    return tuple(sorted(rows, key=lambda r: r.timestamp_s))


def _rows(kind: Kind, random: Random, duration_s: float) -> Iterator[TraceRow]:
    at_s, busy_until_s, calm_until_s = 0.0, 0.0, random.expovariate(1 / 60)
    while True:
        if at_s > calm_until_s:
            busy_until_s = at_s + random.expovariate(1 / 15)
            calm_until_s = busy_until_s + random.expovariate(1 / 60)
        rate = kind.rate_per_s * (BUSY_FACTOR if at_s < busy_until_s else 1.0)
        at_s += random.gammavariate(SHAPE, 1 / (SHAPE * rate))
        if at_s >= duration_s:
            return
        yield TraceRow(
            round(at_s, 3),
            kind.model_class,
            SOURCE,
            _size(kind.input_tokens, random),
            _size(kind.output_tokens, random),
            _images(kind.model_class, random),
            orjson.dumps(_extra(kind, random)).decode(),
        )


def _size(median: float | None, random: Random) -> int | None:
    return None if median is None else max(1, round(random.lognormvariate(math.log(median), 0.8)))


def _images(model_class: ModelClass, random: Random) -> int:
    if model_class is ModelClass.IMAGE_CAPTION:
        return 1
    return random.choice((1, 1, 2, 4)) if model_class is ModelClass.IMAGE_GENERATION else 0


def _extra(kind: Kind, random: Random) -> dict[str, int]:
    # A few clients send most prompts, as in every recorded trace.
    extra = {"client": 1 + int(kind.clients * random.random() ** 2)}
    if kind.model_class is ModelClass.IMAGE_GENERATION:
        extra |= {
            "steps": random.choice((20, 25, 30, 30, 40)),
            "prompt_chars": round(random.lognormvariate(4.4, 0.6)),
        }
    return extra


def main(arguments: list[str]) -> int:
    """Write the trace to the path given, else to where it is shipped."""
    write_trace(Path(arguments[0]) if arguments else GENERATED, generate())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
