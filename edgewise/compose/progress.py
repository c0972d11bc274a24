"""What a person sees while a demo runs, and at its end. Pure tables; the caller prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

_STATE = {"ready": ("●", "green"), "loading": ("◔", "yellow"), "draining": ("◌", "magenta"), "failed": ("✗", "red")}


def seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"


def ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def models_table(state: Mapping[str, Any], counts: Mapping[str, Mapping[str, Any]]) -> Table:
    """Per model: arrivals and answers so far (gateway), waiting and latency of late (controller)."""
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "arrived", "served", "waiting", "queued", "running", "latency", "p95", "x = 1/slowdown"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    x = state.get("fairness", {}).get("x", {})
    for model in state.get("models", []):
        name = model["model"]
        so_far = counts.get(name, {})
        table.add_row(
            name,
            str(so_far.get("arrived", model["arrivals"])),
            str(so_far.get("completed", model["completed"])),
            str(model["waiting"]),
            str(model["queued"]),
            str(model["in_flight"]),
            seconds(model.get("mean_latency_s")),
            seconds(model.get("p95_latency_s")),
            ratio(x.get(name)),
        )
    return table


def nodes_table(state: Mapping[str, Any]) -> Table:
    """Per node: memory and the state of each replica."""
    table = Table(box=None, pad_edge=False)
    for heading in ("node", "memory", "replicas"):
        table.add_column(heading)
    for node in state.get("nodes", []):
        cell = Text()
        for replica in node["replicas"]:
            mark, colour = _STATE.get(replica["state"], ("?", "white"))
            work = replica["queued"] + replica["in_flight"]
            cell.append(f"{mark} {replica['model']}", style=colour)
            cell.append(f" {work}  " if work else "  ", style="dim")
        used, budget = node.get("memory_used_gib"), node.get("memory_gib")
        memory = "" if used is None or budget is None else f"{used:.1f}/{budget:.1f} GiB"
        table.add_row(Text(node["node"], style="" if node["alive"] else "red strike"), memory, cell)
    return table


def headline(state: Mapping[str, Any], now_s: float, window: tuple[float, float], answered: int, sent: int) -> Text:
    start, end = window
    fairness = state.get("fairness", {}).get("jain_normalized")
    return Text.assemble(
        ("edgewise demo", "bold"),
        f"  {max(0.0, min(now_s, end) - start):.0f}/{end - start:.0f} s",
        f"  slot {state.get('slot', 0)}  epoch {state.get('epoch', 0)}  mode {state.get('mode', '–')}",
        f"  answered {answered}/{sent}",
        f"  fairness J {ratio(fairness)}",
    )


def live_view(
    state: Mapping[str, Any],
    counts: Mapping[str, Mapping[str, Any]],
    now_s: float,
    window: tuple[float, float],
    answered: int,
    sent: int,
    last: str,
) -> Group:
    gap = Text("")
    head = headline(state, now_s, window, answered, sent)
    return Group(head, gap, models_table(state, counts), gap, nodes_table(state), gap, Text(last, style="dim"))


def summary_table(summary: Mapping[str, Any]) -> Table:
    """The end of a run: one row per model and one for all. Latencies in seconds."""
    table = Table(
        title="What happened (latency in s; slow: mean latency / ideal)",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    headings = ("", "sent", "done", "shed", "fail", "lost", "mean", "p50", "p95", "slow", "in time")
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    rows: Sequence[tuple[str, Mapping[str, Any]]] = [*summary["per_model"].items(), ("all", summary)]
    for number, (name, figures) in enumerate(rows):
        table.add_row(
            name,
            *(str(figures[f"prompts_{k}"]) for k in ("accepted", "completed", "shed", "failed", "lost")),
            *(ratio(figures[k]) for k in ("mean_latency_s", "p50_latency_s", "p95_latency_s")),
            ratio(figures["mean_slowdown"]),
            f"{figures['service_ratio']:.0%}",
            end_section=number == len(rows) - 2,
        )
    return table


def closing_lines(summary: Mapping[str, Any], run: str) -> list[str]:
    """The figures a table has no column for."""
    lines = [
        f"fairness between kinds: J {summary['jain']:.3f}, normalised {summary['jain_normalized']:.3f}",
        f"decisions: {summary['decisions']} in {summary['slots']} slots; "
        f"{summary['activations']} activations and {summary['drains']} drains after the first slot; "
        f"churn {summary['churn']:.1f} per node-hour",
        f"memory at its peak: {summary['peak_pss_mib']:.0f} MiB (PSS of all processes)",
    ]
    llm = summary["llm"]
    if llm["calls"]:
        lines.append(
            f"language model: {llm['calls']} calls, {llm['tokens']} tokens, {llm['repairs']} repaired, "
            f"{llm['fallbacks']} fell back to the optimiser"
        )
        if llm["error"]:
            lines.append(f"  the last time because: {llm['error']}")
    lines.append(f"run directory: {run}   (edgewise ui --run {run})")
    return lines
