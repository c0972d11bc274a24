"""`edgewise replay RUN --slot N --fork …`: one decision taken another way, and both futures compared in the twin."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from langsmith.run_helpers import tracing_context

from agents.chat import OpenAIChat
from edgewise.compose.recorded import Recorded
from edgewise.control.diff import shares, weights
from edgewise.control.fork import OPERATOR, ForkEdit, edit_of, edit_of_words, edited, words_of
from edgewise.control.futures import Future, Futures, compare
from edgewise.control.state import Job, Ticket
from edgewise.domain.decision import Decision, Score
from edgewise.domain.errors import BadInput
from edgewise.domain.plan import Plan
from graphs.forking import fork
from graphs.proposing import Heard
from graphs.replay import Thread
from graphs.state import read

FEW = 0.05  # differences of weights and shares below it are not counted
FIGURES = ("objective", "mean_latency_s", "jain_normalized")


@dataclass(frozen=True)
class Forked:
    """recorded, forked: the two decisions; plans: what is compared, in this order."""

    slot: int
    edit: ForkEdit
    recorded: Decision
    forked: Decision
    plans: tuple[Plan, Plan]
    futures: Futures
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        one, other = self.futures.plans
        return {
            "slot": self.slot,
            "edit": words_of(self.edit),
            "recorded": _side(self.recorded, self.plans[0], one),
            "forked": _side(self.forked, self.plans[1], other),
            "difference": _future(self.futures.differences),
            "plan_diff": plan_diff(*self.plans),
            "arrivals": self.futures.arrivals,
            "draws": self.futures.draws,
            "prompts": self.futures.prompts,
            "horizon_s": self.futures.horizon_s,
            "notes": list(self.notes),
        }


def read_edit(texts: Sequence[str]) -> ForkEdit:
    """`key=value`, several of them (in one text or in several), or one YAML file. Raises BadInput; a misspelt key
    comes with the nearest name."""
    if len(texts) == 1 and ("=" not in texts[0] or Path(texts[0]).is_file()):
        return edit_of(_yaml(Path(texts[0])), texts[0])
    words = []
    for text in (x for many in texts for x in re.split(r"\s+(?=[\w.-]+=)", many.strip())):
        key, equals, value = text.partition("=")
        if not equals:
            raise BadInput(
                f"not a fork edit: {text!r}", where="--fork", hint="give key=value, or one YAML file alone"
            )
        try:
            words.append((key.strip(), yaml.safe_load(value)))
        except yaml.YAMLError as error:
            raise BadInput(f"not a value: {value!r}", where=f"--fork {key.strip()}") from error
    return edit_of_words(words, "--fork")


def fork_slot(recorded: Recorded, slot: int, edit: ForkEdit, llm_url: str = "") -> Forked:
    """The slot's decision taken with the edit, beside the recorded one. Raises BadInput."""
    return asyncio.run(forked_slot(recorded, slot, edit, llm_url))


async def forked_slot(recorded: Recorded, slot: int, edit: ForkEdit, llm_url: str = "") -> Forked:
    """As `fork_slot`, in a running loop."""
    thread = recorded.decision(slot)
    settings = thread.settings(**edit.settings, **({"llm_url": llm_url} if llm_url else {}))
    ticket, was = read(Ticket, thread.values, "ticket"), decided(thread)
    replan = edit.replan and bool(edit.settings or edit.observes or llm_url)
    async with AsyncExitStack() as stack:
        live = Heard()
        if llm_url:
            chat = OpenAIChat(llm_url, settings.llm_model, settings.llm_api_key)
            stack.push_async_callback(chat.aclose)
            live = Heard(chat)
        stack.enter_context(tracing_context(enabled=False))
        heard = await asyncio.to_thread(recorded.heard)
        state = await fork(thread, settings, lambda job: edited(job, ticket, edit, was), heard, live, replan)
    job, now = read(Job, state, "job"), read(Decision, state, "decision")
    plan, notes = _taken(now, edit)
    rows = () if edit.demand else [r for r in recorded.prompts if r.arrived_s >= job.observation.at_s]
    futures = await asyncio.to_thread(compare, job, (was.plan, plan), rows, settings)
    told = "the planner looked anew" if replan else "the planner's recorded result was taken"
    return Forked(slot, edit, was, now, (was.plan, plan), futures, (told, *notes))


def decided(thread: Thread) -> Decision:
    """What the gate said."""
    return read(Decision, {"decision": thread.decided or thread.values["decision"]}, "decision")


def _taken(now: Decision, edit: ForkEdit) -> tuple[Plan, list[str]]:
    """The plan whose future is compared: what the gate chose, or the plan as edited, whatever the gate says."""
    if not edit.plans:
        return now.plan, []
    mine = next((c for c in now.candidates if c.source == OPERATOR), None)
    if mine is None:
        return now.plan, ["the edited plan is one that was compared anyway, or nothing was compared in this slot"]
    chosen = "would take it" if now.chosen == mine.plan.id else f"would not take it: {now.verdict.reason}"
    note = f"; it was changed to fit: {mine.note}" if mine.note != "as edited" else ""
    return mine.plan, [f"compared is the plan as edited; the gate {chosen}{note}"]


def plan_diff(one: Plan, other: Plan) -> dict[str, Any]:
    """Replicas that only one of two plans has, and how many weights and shares are clearly not the same."""
    gone, new = sorted(set(one.replicas) - set(other.replicas)), sorted(set(other.replicas) - set(one.replicas))
    return {
        "only_recorded": [{"node": r.node, "model": r.model} for r in gone],
        "only_forked": [{"node": r.node, "model": r.model} for r in new],
        "weights": _moved(weights(one), weights(other)),
        "shares": _moved(shares(one), shares(other)),
    }


def _moved(a: Mapping[tuple[str, str], float], b: Mapping[tuple[str, str], float]) -> list[dict[str, Any]]:
    return [
        {"node": n, "model": m, "recorded": round(a.get((n, m), 0.0), 4), "forked": round(b.get((n, m), 0.0), 4)}
        for n, m in sorted({*a, *b})
        if abs(a.get((n, m), 0.0) - b.get((n, m), 0.0)) > FEW
    ]


def _side(decision: Decision, plan: Plan, future: Future) -> dict[str, Any]:
    return {
        "plan": plan.id,
        "chosen": decision.chosen,
        "rung": decision.rung.value,
        "trigger": decision.trigger,
        "reason": decision.verdict.reason,
        "replicas": [{"node": r.node, "model": r.model} for r in plan.replicas],
        **_future(future),
    }


def _future(f: Future) -> dict[str, Any]:
    figures = {name: _interval(getattr(f, name)) for name in FIGURES}
    return {**figures, "attainment": {m: _interval(s) for m, s in f.attainment}}


def _interval(s: Score) -> dict[str, float]:
    return {"mean": s.mean, "low": s.low, "high": s.high}


def print_fork(f: Forked) -> None:
    """For a person."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"[bold]slot {f.slot}[/], forked with {words_of(f.edit)}", soft_wrap=True)
    console.print(f"  recorded  {f.recorded.chosen}: {f.recorded.verdict.reason}", markup=False, soft_wrap=True)
    console.print(f"  forked    {f.forked.chosen}: {f.forked.verdict.reason}", markup=False, soft_wrap=True)
    different = plan_diff(*f.plans)
    for key, words in (("only_recorded", "only recorded"), ("only_forked", "only forked")):
        for r in different[key]:
            console.print(f"  {words}: {r['model']} on {r['node']}", markup=False)
    if not different["only_recorded"] and not different["only_forked"]:
        console.print("  the same replicas")
    console.print(f"  routing weights that moved: {len(different['weights'])}, shares: {len(different['shares'])}")
    table = Table(box=None)
    for heading in ("", "recorded", "forked", "difference"):
        table.add_column(heading, no_wrap=True)
    one, other, apart = *f.futures.plans, f.futures.differences
    for name in FIGURES:
        table.add_row(name, *(_shown(getattr(x, name)) for x in (one, other)), _shown(getattr(apart, name), "+"))
    for (m, a), (_, b), (_, d) in zip(one.attainment, other.attainment, apart.attainment, strict=True):
        table.add_row(f"attainment {m}", _shown(a), _shown(b), _shown(d, "+"))
    console.print(table)
    console.print(
        f"  in the twin, {f.futures.horizon_s:.0f} s from the observation on, {f.futures.draws} draws of "
        f"{f.futures.arrivals} arrivals ({f.futures.prompts:.0f} prompts), the same for both; ± is "
        f"half a 95 % interval; objective with the fork's settings",
        soft_wrap=True,
    )
    for note in f.notes:
        console.print(f"  note: {note}", markup=False, soft_wrap=True)


def _shown(s: Score, sign: str = "") -> str:
    return f"{s.mean:{sign}.3f} ± {(s.high - s.low) / 2:.3f}"


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise BadInput(f"cannot read the fork edit: {error.strerror}", where=str(path),
                       hint="give key=value or a YAML file") from error  # fmt: skip
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"not valid YAML: {str(error).splitlines()[0]}", where=str(path)) from error
