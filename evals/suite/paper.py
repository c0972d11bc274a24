"""The comparison of arXiv 2602.07215 (agentic scheduling of four models on seven edge VMs), repeated in the twin.

Its methods, and what stands for each here. Its service times, prompts and machines are not ours: ratios between
methods can be compared, absolute seconds cannot. Only figures that the paper states are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from evals.suite.verdict import ratio, seconds

NOT_STATED = "not stated"
NOT_RUN = "not run"


class Method(NamedTuple):
    """name: the paper's method. policies: who stands for it here, the first that was run. Their figures as stated."""

    name: str
    policies: tuple[str, ...]
    mean_latency: str = NOT_STATED
    jain: str = NOT_STATED
    adaptation: str = NOT_STATED


METHODS = (
    Method("multi-agent method", ("edgewise-llm", "edgewise"), "about 74 s", "0.90, up from 0.51"),
    Method("random", ("random", "random-static"), "the method is more than 80 % below naive baselines"),
    Method("drift-plus-penalty (DPP)", ("dpp",)),
    Method("hierarchical DRL", ("hdrl",)),
)
HEADINGS = (
    "paper's method", "mean latency, paper", "normalised Jain, paper", "adaptation, paper", "here",
    "mean latency, here", "ratio to ours", "normalised Jain, here", "adaptation, here (request-seconds)",
)  # fmt: skip
LABEL = (
    "Ratios between methods can be compared with the paper's; absolute seconds cannot: its prompts, service times "
    "and machines are not these. The paper's fairness is over latencies of its own; ours is over slowdowns."
)


def comparison(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows under HEADINGS, one per method of the paper."""
    ran = report["policies"]
    ours = next((p for p in METHODS[0].policies if p in ran), None)
    rows: list[tuple[str, ...]] = []
    for method in METHODS:
        policy = next((p for p in method.policies if p in ran), None)
        theirs = (method.name, method.mean_latency, method.jain, method.adaptation)
        if policy is None:
            rows.append((*theirs, NOT_RUN, "", "", "", ""))
            continue
        mean, jain = ran[policy]["mean_latency_s"]["mean"], ran[policy]["jain_normalized"]["mean"]
        excess = report["adaptation"].get(policy)
        pair = report["paired"].get(f"{policy}/{ours}", {}).get("mean_latency_s") if ours else None
        rows.append((
            *theirs, policy, seconds(mean) if mean is not None else "–",
            "1" if policy == ours else ratio(pair) if pair else "–", f"{jain:.2f}" if jain is not None else "–",
            f"{excess:,.0f}" if excess is not None else "–",
        ))  # fmt: skip
    return rows
