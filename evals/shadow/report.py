"""The document of a shadow run, and what it says in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgewise.domain.codec import to_plain
from evals.shadow.calibrate import Calibration
from evals.shadow.judge import Gain, TwinCheck, Windows
from evals.shadow.measured import Mean, mean_of, quantile, within
from evals.shadow.recorder import Poll
from evals.shadow.stage import Stage
from evals.shadow.traffic import Batch, Timed, Traffic
from tools.foreign.systems import BY_KIND, Kind

PROMISE, NO_GAIN, REFUSED = "promise", "no-gain", "refused"
QUANTILES = (0.5, 0.95, 0.99)
DRIFT = 0.1  # of service, worth a word


def verdict(gain: Gain | None, why: Sequence[str]) -> tuple[str, str]:
    """(word, sentence)."""
    if why or gain is None:
        reasons = "; ".join(why) if why else "the twin was not run"
        return REFUSED, f"edgewise promises nothing here: {reasons}"
    low, high = gain.gain - gain.half, gain.gain + gain.half
    j = f"J from {gain.jain[0]:.2f} to {gain.jain[1]:.2f}"
    if low > 0:
        return PROMISE, (
            f"with edgewise mean latency would have been {-gain.gain:+.0%} ± {gain.half:.0%} "
            f"({gain.mean_latency_s[0]:.3g} s to {gain.mean_latency_s[1]:.3g} s in the twin), {j}"
        ).replace("-", "−", 1)
    side = "worse" if high < 0 else "no better that could be told from chance"
    return NO_GAIN, f"with edgewise mean latency would have been {side}: {-gain.gain:+.0%} ± {gain.half:.0%}, {j}"


def measured_figures(seen: Traffic) -> dict[str, Any]:
    """Means exact (sum over count), quantiles interpolated within the buckets of what was counted."""
    models = sorted({t.model for t in seen.latencies} | {b.model for b in seen.batches})
    return {
        "all": _one(seen.latencies, seen.batches, seen.services),
        "per_model": {
            m: _one(
                [t for t in seen.latencies if t.model == m],
                [b for b in seen.batches if b.model == m],
                [t for t in seen.services if t.model == m],
            )
            for m in models
        },
        "quantiles_are": "interpolated within histogram buckets",
    }


def _one(times: Sequence[Timed], batches: Sequence[Batch], services: Sequence[Timed]) -> dict[str, Any]:
    found, service = mean_of(times), mean_of(services)
    return {
        "arrived": sum(b.count for b in batches),
        "ended": found.count if found else 0.0,
        "mean_latency_s": found.mean_s if found else None,
        "mean_latency_error": finite(found.error) if found else None,
        **{f"p{round(q * 100)}_latency_s": quantile(times, q) for q in QUANTILES},
        "mean_service_s": service.mean_s if service else None,
    }


def endpoint_rows(
    polls: Sequence[Poll], kinds: Mapping[str, Kind], urls: Mapping[str, str], seen: Traffic
) -> list[dict[str, Any]]:
    rows = []
    for name, kind in sorted(kinds.items()):
        mine = [p for p in polls if p.endpoint == name]
        failed = [p for p in mine if p.reading is None]
        rows.append({
            "endpoint": name, "url": urls.get(name, ""), "system": kind.value, "polls": len(mine),
            "failed_polls": len(failed), "notes": sorted({p.note for p in failed}),
            "restarts": seen.restarts.get(name, 0), "known": list(BY_KIND[kind].known),
            "unknown": [x for x in BY_KIND[kind].unknown if not _covered(x, kinds)],
        })  # fmt: skip
    return rows


def _covered(gap: str, kinds: Mapping[str, Kind]) -> bool:
    """Whether another endpoint says what one cannot."""
    found = set(kinds.values())
    return ("nodes' URLs" in gap and Kind.EDGEWISE_NODE in found) or (
        "gateway's URL" in gap and Kind.EDGEWISE_GATEWAY in found
    )


def calibration_rows(stage: Stage, found: Calibration | None) -> dict[str, Any]:
    """Nodes and models as the twin has them."""
    nodes = [to_plain(n) for n in stage.nodes]
    models = []
    for m in stage.models:
        row: dict[str, Any] = to_plain(m)
        if found is not None:
            j = stage.model_of[m.name]
            target: Mean | None = found.targets[j]
            row |= {
                "service_s": float(found.service_s[j]),
                "service_cv": float(found.cv[j]),
                "from": found.how[j],
                "error": finite(target.error) if target else None,
            }
        models.append(row)
    if found is not None:
        for row, speed in zip(nodes, found.speed.tolist(), strict=True):
            row["speed"] = speed
    stands = {
        stage.nodes[n].id: [m.id for j, m in enumerate(stage.models) if stage.placement[n, j]]
        for n in range(len(stage.nodes))
    }
    return {"nodes": nodes, "models": models, "stood": stands, "dispatch": stage.dispatch.value}


def series_rows(seen: Traffic) -> list[dict[str, Any]]:
    """What was seen, stretch by stretch, for observed.json."""
    rows: list[dict[str, Any]] = [
        {"kind": "arrivals", "node": b.access, "model": b.model, "begin_s": b.begin_s, "end_s": b.end_s,
         "count": b.count, "input_tokens": b.input_tokens, "output_tokens": b.output_tokens}
        for b in seen.batches
    ]  # fmt: skip
    for kind, several in (("latency", seen.latencies), ("service", seen.services)):
        rows += [
            {"kind": kind, "node": t.node, "model": t.model, "begin_s": t.begin_s, "end_s": t.end_s,
             "count": t.count, "mean_s": t.sum_s / t.count if t.count else None}
            for t in several
        ]  # fmt: skip
    return sorted(rows, key=lambda r: (r["begin_s"], r["kind"], r["node"], r["model"]))


def twin_rows(checked: TwinCheck | None) -> dict[str, Any] | None:
    return None if checked is None else to_plain(checked) | {"error": checked.error}


def remarks(seen: Traffic) -> Iterable[str]:
    """What a reader must know of the figures."""
    if seen.little:
        yield f"latency of {', '.join(seen.little)} follows from how many prompts were there (Little's law)"
    for model, n in sorted(seen.at_least.items()):
        yield f"{model} was used between two looks {n} times: at least as many prompts came"
    for model, n in sorted(seen.failed.items()):
        if n:
            yield f"{n} prompts of {model} failed or were refused; they are in the arrivals, not in the latencies"
    for name, n in sorted(seen.restarts.items()):
        yield f"{name} started again {n} times; its counters were taken up from zero"


def drift(seen: Traffic, windows: Windows) -> str | None:
    """Whether prompts took longer in the checked part than in the one that was calibrated on, by the systems' own
    service times: then the machines changed, and the twin could not know. The mix is held as in the second."""
    then, now = within(seen.services, *windows.fit), within(seen.services, *windows.check)
    expected = total = 0.0
    for model in sorted({t.model for t in now}):
        first, last = (mean_of([t for t in several if t.model == model]) for several in (then, now))
        if first is not None and last is not None:
            expected += last.count * first.mean_s
            total += last.count * last.mean_s
    if expected <= 0 or abs(total / expected - 1.0) < DRIFT:
        return None
    return f"service itself took {total / expected - 1.0:+.0%} in the part that checks the twin, for the same models"


def finite(x: float) -> float | None:
    return x if abs(x) != float("inf") and x == x else None
