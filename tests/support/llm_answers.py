"""What the test language model answers: honest placements from the figures in the prompt, and spoilt ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

_DATA = re.compile(r"<data>\s*(\{.*?\})\s*</data>", re.DOTALL)


@dataclass(frozen=True)
class Answer:
    """calls: (id, tool, arguments), with which a model asks for tools."""

    content: str | None
    finish_reason: str = "stop"
    refusal: str | None = None
    calls: tuple[tuple[str | None, str, str], ...] = ()


def state_in(user: str) -> dict[str, Any]:
    """The JSON document between <data> and </data>; empty when there is none."""
    found = _DATA.search(user)
    return json.loads(found.group(1)) if found else {}


def placement(state: Mapping[str, Any], rng: Random) -> dict[str, list[str]]:
    """A feasible placement made from the prompt's tables: the largest models first, each on as many nodes as have
    the memory left. Imperfect on purpose: it looks at no load, and draws the order of the nodes."""
    if not state:
        return {}
    free = {n: float(m) for n, m in _columns(state["nodes"], "node", "memory_gib")}
    nodes = [n for n in state["allowed"]["nodes"] if n in free]
    rng.shuffle(nodes)
    needs = sorted(_columns(state["models"], "model", "memory_gib"), key=lambda row: (-float(row[1]), row[0]))
    wanted: dict[str, list[str]] = {n: [] for n in state["allowed"]["nodes"]}
    for turn in range(len(nodes)):
        for offset, (model, gib) in enumerate(needs):
            node = nodes[(turn + offset) % len(nodes)]
            if float(gib) <= free[node] and model not in wanted[node]:
                wanted[node].append(model)
                free[node] -= float(gib)
    return wanted


def _columns(table: Mapping[str, Any], *names: str) -> list[tuple[Any, ...]]:
    at = [table["columns"].index(n) for n in names]
    return [tuple(row[i] for i in at) for row in table["rows"]]


def plan_object(state: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    wanted = placement(state, rng)
    return {
        "replicas": [{"node": n, "models": m} for n, m in wanted.items()],
        "roles": [{"node": n, "role": "mixed" if len(m) > 1 else (m or ["spare"])[0]} for n, m in wanted.items()],
        "alpha": None,
        "expires_slots": None,
        "floors": [],
        "pins": [],
        "reason": "spread by memory",
    }


def reweighting_object(state: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    """A scheduler's correction of a few of the routes and shares in the prompt."""
    routes, shares = state["routes"]["rows"], state["shares"]["rows"]
    at = state["routes"]["columns"].index
    some = rng.sample(routes, min(3, len(routes)))
    return {
        "routes": [
            {"access_node": "*", "model": r[at("model")], "node": r[at("node")], "times": rng.choice([0.5, 2.0])}
            for r in some
        ],
        "shares": [{"node": s[0], "model": s[1], "times": 1.5} for s in rng.sample(shares, min(2, len(shares)))],
        "reason": "a little less there",
    }


def order_object(state: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    """A deployer's order of the changes in the prompt: as they come, the first one a second later."""
    rows = state["changes"]["rows"]
    return {
        "order": [{"change": c, "model": m, "wait_s": float(not i)} for i, (c, m) in enumerate(rows)],
        "vetoes": [],
        "reason": "in turn",
    }


def answer_object(state: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    """The honest answer to the prompt of whichever agent it is."""
    if "changes" in state:
        return order_object(state, rng)
    return reweighting_object(state, rng) if "routes" in state else plan_object(state, rng)


# What the tools' side of a conversation can go wrong with. Each calls so for as long as it is offered tools; but for
# `same-call`, which never has enough, two turns.
TOOL_FAULTS: dict[str, tuple[tuple[str | None, str, str], ...]] = {
    "unknown-tool": (("a", "format_disk", "{}"),),
    "bad-arguments": (("a", "simulate_plan", '{"replicas": [{"node":'), ("b", "query_telemetry", "[1]")),
    "same-call": (("a", "forecast", "{}"),),
    "many-calls": tuple((f"c{i}", "list_replicas", "{}") for i in range(40)),
    "spoken-call": ((None, "", '<tool_call>\n{"name": "forecast", "arguments": {}}\n</tool_call>'),),
    "no-call-id": ((None, "forecast", "{}"), (None, "list_replicas", "{}")),
}


def honest_calls(plan: Mapping[str, Any], turn: int) -> tuple[tuple[str | None, str, str], ...]:
    """What a sensible model asks for in this turn of a conversation: figures, then its own plan tried out."""
    tried = json.dumps({"replicas": plan.get("replicas", [])})
    return [(("t0", "forecast", "{}"),), (("t1", "simulate_plan", tried),)][turn] if turn < 2 else ()


Maker = Callable[[dict[str, Any], Mapping[str, Any]], Answer]


def _spoilt(change: Callable[[dict[str, Any], Mapping[str, Any]], Any]) -> Maker:
    return lambda plan, state: Answer(json.dumps(change(plan, state)))


def _text(change: Callable[[str], str], finish_reason: str = "stop") -> Maker:
    return lambda plan, _state: Answer(change(json.dumps(plan)), finish_reason)


def _each(value: Any, change: Callable[[str, Any], Any], key: str = "") -> Any:
    """The value with each of its leaves changed, given the key it stands under."""
    if isinstance(value, dict):
        return {k: _each(v, change, k) for k, v in value.items()}
    return [_each(v, change, key) for v in value] if isinstance(value, list) else change(key, value)


def _everywhere(plan: dict[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    models = state.get("allowed", {}).get("models", [])
    return plan | ({"replicas": [e | {"models": models} for e in plan["replicas"]]} if "replicas" in plan else {})


def _floors(state: Mapping[str, Any], share: float) -> list[dict[str, Any]]:
    return [{"model": m, "share": share} for m in state.get("allowed", {}).get("models", [])]


def _weights(weight: float, **more: Any) -> Callable[[dict[str, Any], Mapping[str, Any]], Any]:
    """Every weight of the answer (a factor, a wait) set to this; of a plan its floors."""

    def change(plan: dict[str, Any], state: Mapping[str, Any]) -> Any:
        if "replicas" in plan:
            return plan | more | {"floors": _floors(state, weight)}
        return _each(plan, lambda k, v: weight if k in ("times", "wait_s") else v)

    return change


def _misspelt(plan: dict[str, Any], _state: Mapping[str, Any]) -> dict[str, Any]:
    found = _each(plan, lambda k, v: v.upper().replace("-", "_") if k == "node" else v)
    return found if "replicas" in plan else _each(found, lambda k, v: v.upper() if k == "model" else v)


def _strangers(plan: dict[str, Any], _state: Mapping[str, Any]) -> dict[str, Any]:
    if "replicas" in plan:
        return plan | {"replicas": [{"node": "the-moon", "models": ["gpt-99", "skynet"]}]}
    return _each(plan, lambda k, v: "skynet" if k == "model" else v)


def _wrong_types(plan: dict[str, Any], _state: Mapping[str, Any]) -> dict[str, Any]:
    if "replicas" not in plan:
        return _each(plan, lambda k, v: str(v) if k in ("times", "wait_s") else v) | {"reason": ["a", 1]}
    replicas = {e["node"]: ", ".join(e["models"]) for e in plan["replicas"]}
    return plan | {"replicas": replicas, "alpha": "0.5", "expires_slots": "six", "reason": ["a", 1]}


def _duplicate_keys(text: str) -> str:
    first = next(iter(json.loads(text)))
    return f'{{"{first}": [], {text[1:]}'


# Content faults by name: an answer with status 200 in the right envelope, whose text is wrong in one way.
ANSWERS: dict[str, Maker] = {
    "valid": _text(lambda t: t),
    "prose": _text(lambda t: f"Sure! Looking at {{the load}}, I suggest:\n\n{t}\n\nLet me know [if] that helps."),
    "fences": _text(lambda t: f"```json\n{t}\n```"),
    "thinking": _text(lambda t: f'<think>maybe {{"replicas": []}}?</think>{t}'),
    "trailing-comma": _text(lambda t: t.replace("]}]", "],},]").replace('"}', '",}')),
    "single-quotes": _text(lambda t: t.replace('"', "'").replace("null", "None")),
    "truncated-early": _text(lambda t: t[: t.index('"roles"') - 8 if '"roles"' in t else 20], "length"),
    "truncated-late": _text(lambda t: t[: t.index('"reason"') + 15], "length"),
    "wrong-types": _spoilt(_wrong_types),
    "nan": _text(lambda t: t.replace('"alpha": null', '"alpha": NaN').replace("1.5", "NaN")),
    "nan-weight": _spoilt(_weights(float("nan"))),
    "negative": _spoilt(_weights(-0.5, alpha=-1, expires_slots=-3)),
    "too-large": _spoilt(_weights(1e300, alpha=1e300, expires_slots=10**30)),
    "misspelt": _spoilt(_misspelt),
    "unknown-names": _spoilt(_strangers),
    "infeasible": _spoilt(_everywhere),
    "refusal": lambda _p, _s: Answer(None, "stop", "I can't help with that."),
    "refusal-text": lambda _p, _s: Answer("I'm sorry, but as a language model I cannot manage servers."),
    "empty": lambda _p, _s: Answer(""),
    "null": lambda _p, _s: Answer(None),
    "duplicate-keys": _text(_duplicate_keys),
    "two-objects": _text(lambda t: f'{{"note": "first thoughts"}}\n{t}'),
    "two-plans": _text(
        lambda t: f'{{"replicas": [{{"node": "the-moon", "models": ["gpt-99"]}}], "routes": 7, "order": 7}}\n{t}'
    ),
    "surrogates": _text(lambda t: t.replace('"reason": "', '"reason": "\ud83d')),
    "wrapped": _spoilt(lambda p, _: {"plan": p}),
    "deep": lambda _p, _s: Answer("[" * 5000),
    "garbage": lambda _p, _s: Answer("".join(chr(33 + i * 7 % 900) for i in range(3000))),
}
