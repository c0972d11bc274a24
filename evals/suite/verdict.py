"""The report in words: who is best and by how much, how far from the limit, how fair, and where the product loses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from evals.suite.grid import BASELINE_OF_ALL
from evals.suite.variants import PRODUCT, is_variant

UNREAL = frozenset({BASELINE_OF_ALL})  # knows the future: a yardstick, not a choice
# Comparisons named beforehand, so that few enough are made for an interval to mean what it says.
RIVALS = ("lew-lru", "static-optimised", "marginal", "dpp")
LOOKED_AT = (  # metric, its name, 1 when less is better
    ("mean_latency_s", "mean latency", 1), ("p99_latency_s", "p99 latency", 1), ("jain_normalized", "fairness", -1),
    ("worst_attainment", "worst attainment", -1), ("churn", "churn", 1), ("energy_j_per_prompt", "energy", 1),
)  # fmt: skip


def verdict(report: Mapping[str, Any]) -> list[str]:
    """Sentences, the most important first. Figures are means over seeds; intervals 95 %, paired by seed."""
    policies = report["policies"]
    said = {p: m["mean_latency_s"]["mean"] for p, m in policies.items() if m["mean_latency_s"]["mean"] is not None}
    if not said:
        return ["No prompt arrived, so there is nothing to compare."]
    real = {p: v for p, v in said.items() if _is_choice(p)} or said
    best = min(real, key=lambda p: real[p])
    sentences = [*_invalid(report), _best(report, real, best), *_limit(report, best), *_fairness(report, best)]
    if PRODUCT in real:
        sentences += [*_product(report), *_losses(report)]
    return [*sentences, *_adaptation(report)]


def _is_choice(policy: str) -> bool:
    return policy not in UNREAL and not is_variant(policy)


def _invalid(report: Mapping[str, Any]) -> Iterator[str]:
    if not report["valid"]:
        yield f"This run is not valid: {'; '.join(report['invalid_because'])}."


def _best(report: Mapping[str, Any], real: Mapping[str, float], best: str) -> str:
    head = f"{best} has the lowest mean latency, {seconds(real[best])}{_around(report, best)}"
    others = sorted((p for p in real if p != best), key=lambda p: real[p])
    if not others:
        return head + "."
    second = others[0]
    pair = report["paired"][f"{best}/{second}"]["mean_latency_s"]
    tie = pair["ci95"] is not None and pair["ci95"][1] >= 1
    also = "but is not told apart from" if tie else "ahead of"
    return f"{head}, {also} {second} ({ratio(pair)} times its latency)."


def _limit(report: Mapping[str, Any], best: str) -> Iterator[str]:
    least = report["bounds"]["lower_bound_mean_latency_s"]
    mean = report["policies"][best]["mean_latency_s"]["mean"]
    if least:
        yield (
            f"No policy can get below {seconds(least)} on these prompts (a proven bound, not one that can be "
            f"reached): {best} is at {mean / least:.2f} times that."
        )
    pair = report["paired"].get(f"{best}/{BASELINE_OF_ALL}", {}).get("mean_latency_s")
    if pair:
        yield f"Against {BASELINE_OF_ALL}, the product's own planner given the true future, it is at {ratio(pair)}."


def _fairness(report: Mapping[str, Any], best: str) -> Iterator[str]:
    j = {p: m["jain_normalized"]["mean"] for p, m in report["policies"].items() if _is_choice(p)}
    j = {p: v for p, v in j.items() if v is not None}
    if not j or best not in j:
        return
    fairest = max(j, key=lambda p: j[p])
    worst = report["policies"][best]["worst_attainment"]["mean"]
    tail = f"; of its worst-served kind {part(worst)} of prompts are in time." if worst is not None else "."
    if fairest == best:
        yield f"It is also the fairest (normalised Jain {j[best]:.3f}){tail}"
    else:
        tail = tail.replace("its worst-served", f"{best}'s worst-served")
        yield f"The fairest is {fairest} (normalised Jain {j[fairest]:.3f}); {best} has {j[best]:.3f}{tail}"


def _product(report: Mapping[str, Any]) -> Iterator[str]:
    words = []
    for rival in RIVALS:
        pair = report["paired"].get(f"{PRODUCT}/{rival}", {}).get("mean_latency_s")
        if pair:
            words.append(f"{ratio(pair)} against {rival}")
    if words:
        yield f"Mean latency of {PRODUCT} as a ratio: {', '.join(words)}."


def _losses(report: Mapping[str, Any]) -> Iterator[str]:
    """Where some real policy is better than the product beyond its interval."""
    words = []
    others = [p for p in report["policies"] if p != PRODUCT and _is_choice(p)]
    for metric, name, sign in LOOKED_AT:
        ahead = [p for p in others if _is_better(report, p, metric, sign)]
        if ahead:
            words.append(f"{name} ({', '.join(ahead)})")
    if words:
        count = len(others) * len(LOOKED_AT)
        yield f"Beyond its interval, others beat {PRODUCT} in {'; '.join(words)} (of {count} comparisons)."
    elif others and len(report["seeds"]) > 1:
        yield f"In none of {len(LOOKED_AT)} measures is another policy better than {PRODUCT} beyond its interval."


def _is_better(report: Mapping[str, Any], other: str, metric: str, sign: int) -> bool:
    pair = report["paired"][f"{PRODUCT}/{other}"].get(metric)
    if not pair:
        return False
    if pair["ci95"]:
        low, high = pair["ci95"]
        return bool(low > 1 if sign > 0 else high < 1)
    gap = pair.get("difference", {}).get("ci95")
    return bool(gap and (gap[0] > 0 if sign > 0 else gap[1] < 0))


def _adaptation(report: Mapping[str, Any]) -> Iterator[str]:
    found = {p: v for p, v in report["adaptation"].items() if _is_choice(p) and v is not None}
    if found:
        best = min(found, key=lambda p: found[p])
        tail = f", {PRODUCT} {found[PRODUCT]:,.0f}" if PRODUCT in found and best != PRODUCT else ""
        yield (
            f"After shifts, {best} loses least to {BASELINE_OF_ALL}: {found[best]:,.0f} more request-seconds in the "
            f"system{tail}."
        )


def _around(report: Mapping[str, Any], policy: str) -> str:
    interval = report["policies"][policy]["mean_latency_s"]["ci95"]
    return f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else ""


def part(value: float) -> str:
    """As per cent; never 100 % when it is not all."""
    return f"{value:.0%}" if value == 1 or value < 0.99 else f"{min(value, 0.9999):.2%}"


def seconds(value: float) -> str:
    return f"{value:.3g} s" if value < 100 else f"{value:,.0f} s"


def ratio(pair: Mapping[str, Any]) -> str:
    """A paired ratio with its interval, for people."""
    if pair["ratio"] is None:
        return f"no ratio ({pair['why']})"
    interval = pair["ci95"]
    return f"{pair['ratio']:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")
