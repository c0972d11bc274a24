"""State as table rows, and the nodes × models map as HTML."""

from __future__ import annotations

from html import escape

from edgewise.domain.cluster import ReplicaState
from serving.control_api.schema import NodeView, ReplicaView, RunState
from ui.palette import STATES, model_colours
from ui.words import NONE, figure, seconds

STALE_S = 15.0  # the controller's own default limit, edgewise.settings.Settings.stale_after_s
_STYLE = """<style>
.ew-map{border-collapse:separate;border-spacing:4px;width:100%;font-size:.875rem;font-variant-numeric:tabular-nums}
.ew-map th{font-weight:600;text-align:left;padding:4px 8px;white-space:nowrap;opacity:.75}
.ew-map td{padding:6px 8px;border-radius:6px;white-space:nowrap;border:none}
.ew-map td.cell{text-align:center;min-width:7.5rem;line-height:1.25}
.ew-map td.absent{background:rgba(128,128,128,.10);opacity:.55}
.ew-map td.down{background:repeating-linear-gradient(45deg,rgba(128,128,128,.10) 0 6px,
rgba(128,128,128,.28) 6px 12px)}
.ew-map small{display:block;font-size:.75rem;opacity:.9}
.ew-map .bar{display:inline-block;width:72px;height:8px;border-radius:4px;background:rgba(128,128,128,.25);
margin-right:8px;overflow:hidden;vertical-align:middle}
.ew-map .bar i{display:block;height:100%;background:#2180C4}
.ew-key{font-size:.8rem;margin-top:6px}.ew-key b{display:inline-block;min-width:1.5em;text-align:center;
border-radius:4px;padding:0 4px;margin:0 4px 0 14px;font-weight:600}
</style>"""


def model_rows(state: RunState) -> list[dict[str, str | float | int | None]]:
    """One row per model; names say the unit."""
    x = state.fairness.x
    return [
        {
            "Model": m.model,
            "Task": m.task.value if m.task else NONE,
            "p50 (s)": m.p50_latency_s,
            "Mean (s)": m.mean_latency_s,
            "p95 (s)": m.p95_latency_s,
            "Deadline (s)": m.deadline_s,
            "Slowdown ×": m.slowdown,
            "x (fairness)": x.get(m.model),
            "Arrived": m.arrivals,
            "Completed": m.completed,
            "Waiting": m.waiting,
            "Queued": m.queued,
            "In flight": m.in_flight,
            "Failed, shed": m.failed + m.shed,
            "Replicas": m.replicas,
            "Data age (s)": m.age_s,
        }
        for m in state.models
    ]


def totals(state: RunState) -> dict[str, str]:
    """The headline figures, label to text."""
    models = state.models
    arrived, completed = (sum(getattr(m, k) for m in models) for k in ("arrivals", "completed"))
    waiting = sum(m.waiting + m.queued for m in models)
    alive = sum(n.alive for n in state.nodes)
    ages = [a for a in [n.age_s for n in state.nodes] + [m.age_s for m in models] if a is not None]
    texts = {
        "Completed": f"{completed} / {arrived}",
        "Waiting + queued": str(waiting),
        "In flight": str(sum(m.in_flight for m in models)),
        "Jain, normalised": figure(state.fairness.jain_normalized, 3),
        "Jain, raw": figure(state.fairness.jain, 3),
        "Nodes alive": f"{alive} / {len(state.nodes)}",
    }
    return texts | ({"Oldest figure": age(max(ages))} if ages else {})


def replica_map(state: RunState) -> str:
    """The nodes × models map as HTML: a cell's colour and symbol say the replica's state."""
    models = [m.model for m in state.models]
    colours = model_colours(models)
    heads = "".join(f'<th style="border-bottom:3px solid {colours[m]}">{escape(m)}</th>' for m in models)
    head = f"<tr><th>Node</th>{heads}<th>Memory (GiB)</th>{_aged(state, 'th', 'Data age')}</tr>"
    body = "".join(_node_row(n, state) for n in state.nodes)
    key = "".join(
        f'<b style="background:{mark.fill};color:{mark.ink}">{mark.symbol}</b>{kind.value}'
        for kind, mark in STATES.items()
    )
    note = "second line: prompts in flight + queued, and how long the state lasts"
    return f'{_STYLE}<table class="ew-map">{head}{body}</table><div class="ew-key">{key} &nbsp;·&nbsp; {note}</div>'


def _aged(state: RunState, tag: str, text: str) -> str:
    """A cell of the age column, which a stored run does not have."""
    return f"<{tag}>{text}</{tag}>" if state.source == "live" else ""


def _node_row(node: NodeView, state: RunState) -> str:
    here = {r.model: r for r in node.replicas}
    cells = "".join(_cell(node, here.get(m.model), state.at_s) for m in state.models)
    name = escape(node.node) + ("" if node.alive else " ✕ down")
    return f"<tr><td><b>{name}</b></td>{cells}<td>{_memory(node)}</td>{_aged(state, 'td', age(node.age_s))}</tr>"


def _cell(node: NodeView, replica: ReplicaView | None, at_s: float) -> str:
    state = replica.state if replica else ReplicaState.ABSENT
    mark = STATES[state]
    if replica is None or state is ReplicaState.ABSENT:
        kind = "absent" if node.alive else "down"
        return f'<td class="cell {kind}" title="{escape(node.node)}: absent">{mark.symbol}</td>'
    lasts = seconds(max(0.0, at_s - replica.since_s))
    title = f"{escape(node.node)} · {escape(replica.model)}: {state.value} since {seconds(replica.since_s)}"
    return (
        f'<td class="cell" style="background:{mark.fill};color:{mark.ink}" title="{title}">{mark.symbol} '
        f"{state.value}<small>{replica.in_flight} + {replica.queued} · {lasts}</small></td>"
    )


def _memory(node: NodeView) -> str:
    used, budget = node.memory_used_gib, node.memory_gib
    if budget is None:
        return f"{figure(used, 1)} / {NONE}"
    part = min(100.0, 100 * (used or 0.0) / budget) if budget > 0 else 0.0
    return f'<span class="bar"><i style="width:{part:.0f}%"></i></span>{figure(used, 1)} / {budget:.1f}'


def age(value: float | None) -> str:
    """An age in words; marked when the figure is too old to act on."""
    if value is None:
        return "stored"
    return f"⚠ {seconds(value)}" if value > STALE_S else seconds(value)
