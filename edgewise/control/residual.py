"""Seen service against believed service: which node is slower than it says, which kind takes longer.

Each node reports, per model, ln(seen / expected) over its latest prompts. What is expected is the catalogue's word,
whatever was corrected since, so that a correction never feeds back. With y[n, m] the mean of the logarithms,
    y[n, m] = c[m] + d[n] + noise,
c: the kind as a whole takes e^c times what is believed; d: the node is e^d times slower. Only the sum is seen. It is
split as a sceptic would: most nodes are what they say (c is a weighted median over nodes, with a little weight on 0,
and no node counts for more than MOST_WEIGHT prompts), and what is then left at a node is its own.

Old figures are forgotten exponentially, and a node's at once where a window contradicts them beyond chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgewise.domain.observation import Correction, Observation, ServiceFact
from edgewise.policy.dispatch import Floats, Ints

KEPT_WINDOWS = 10.0  # time constant of forgetting
JUMP_SIGMA, JUMP_LEAST, JUMP_COUNT = 4.0, math.log(1.5), 3.0  # a window that contradicts what was followed
MOST_WEIGHT = 10.0  # prompts one node counts for in the median of a kind
PRIOR_WEIGHT = 3.0  # prompts that say a kind takes what is believed
PRIOR_SIGMA = 0.5  # spread of one logarithm before it was measured; and its least, see _spread
LEAST_SIGMA = 0.1
ROUNDS = 3
Key = tuple[str, str]
# A correction must be beyond chance, worth it, and rest on so many prompts.
SHARED_LEAST = math.log(2.5)  # on a shared machine nodes slow each other down now and then
NODE_SIGMA, NODE_LEAST, NODE_COUNT = 3.5, math.log(1.5), 3.0
# A ratio of sums is less certain than the mean of logarithms whose spread is known, hence the larger multiple.
MODEL_SIGMA, MODEL_LEAST, MODEL_COUNT = 5.0, math.log(1.1), 10.0
MOST_TIMES = 32.0
LOOSE = 0.5  # part of these thresholds below which a correction is given up again
STEP = math.log(1.15)  # a correction is changed when it is off by this much


@dataclass(frozen=True, slots=True)
class Residual:
    """What is followed of one (node, model): prompts it rests on (decayed), mean and spread (standard deviation) of
    ln(seen / expected), and the seconds seen and expected themselves, decayed alike."""

    node: str
    model: str
    weight: float
    mean: float
    spread: float
    seen_s: float
    expected_s: float


@dataclass(frozen=True, slots=True)
class Residuals:
    """The state carried from slot to slot. at_s: of the last figures taken in. told: what is believed wrongly."""

    at_s: float = -1.0
    pairs: tuple[Residual, ...] = ()
    told: tuple[Correction, ...] = ()


def follow_services(before: Residuals, o: Observation) -> Residuals:
    """The residuals with an observation's figures taken in; unchanged by figures that were seen already."""
    at_s = o.telemetry.at_s
    if at_s <= before.at_s:
        return before
    gone_s = at_s - before.at_s if before.at_s >= 0 else math.inf
    known = {(p.node, p.model): p for p in before.pairs}
    facts = {(f.node, f.model): f for f in o.telemetry.services if f.count > 0 and f.expected_s > 0}
    window_s = max((f.window_s for f in facts.values()), default=o.slot_s)
    fade = math.exp(-gone_s / (KEPT_WINDOWS * max(window_s, 1e-9))) if known else 0.0
    fresh = {key: min(1.0, gone_s / max(f.window_s, 1e-9)) for key, f in facts.items()}
    jumped = _jumped(known, facts)
    pairs = []
    for key in sorted({*known, *facts}):
        old, fact = known.get(key), facts.get(key)
        if old is not None and key[0] in jumped:
            old = None  # what its node was like is over
        elif old is not None:
            old = replace(old, weight=old.weight * fade, seen_s=old.seen_s * fade, expected_s=old.expected_s * fade)
        found = old if fact is None else _taken(old, fact, fresh[key])
        if found is not None and found.weight > 0.1:
            pairs.append(found)
    r = Residuals(at_s, tuple(pairs))
    return replace(r, told=_settled(before.told, _estimates(r, o, 1.0), _estimates(r, o, LOOSE)))


def corrections(r: Residuals, o: Observation) -> tuple[Correction, ...]:
    """What is believed wrongly, beyond chance, of the observation's nodes and models."""
    known = {n.id for n in o.node_specs} | {m.id for m in o.model_specs}
    return tuple(x for x in r.told if (x.node or x.model) in known)


def _settled(
    told: Sequence[Correction], strict: Sequence[Correction], loose: Sequence[Correction]
) -> tuple[Correction, ...]:
    """Beliefs that jitter move models about: one stays as it was told until it is off by STEP, and until there is
    clearly nothing to it any more."""
    before, sure = {(x.node, x.model): x for x in told}, {(x.node, x.model) for x in strict}
    found = []
    for x in loose:
        old = before.get((x.node, x.model))
        if old is not None:
            found.append(old if abs(math.log(x.times / old.times)) < STEP else x)
        elif (x.node, x.model) in sure:
            found.append(x)
    return tuple(found)


def _estimates(r: Residuals, o: Observation, strict: float) -> tuple[Correction, ...]:
    """Factors of nodes and models beyond chance; strict: part of the usual thresholds. Models are left alone where
    nodes share a machine: there all take longer together, which the shared cores account for."""
    if not r.pairs:
        return ()
    nodes, models = sorted({p.node for p in r.pairs}), sorted({p.model for p in r.pairs})
    row = _index(nodes, [p.node for p in r.pairs])
    col = _index(models, [p.model for p in r.pairs])
    y, w = np.array([p.mean for p in r.pairs]), np.array([p.weight for p in r.pairs])
    d, least = np.zeros(len(nodes)), strict * (NODE_LEAST if o.host_cores is None else SHARED_LEAST)
    # A kind that stands on one node alone says little of that node: it may itself be what takes longer.
    trust = w * (1 - 1 / (np.bincount(col, minlength=len(models))[col] + 0.5))
    c = np.zeros(len(models))
    for _ in range(ROUNDS):
        for m in range(len(models)):
            mine = col == m
            c[m] = _median(
                np.append(y[mine] - d[row[mine]], 0.0), np.append(np.minimum(w[mine], MOST_WEIGHT), PRIOR_WEIGHT)
            )
        rest = np.bincount(row, trust * (y - c[col]), len(nodes)) / np.maximum(np.bincount(row, trust), 1e-9)
        d = np.where(np.abs(rest) > least, rest, 0.0)
    found = [*_nodes(r, nodes, row, trust, d, strict)]
    if o.host_cores is None:
        slow = {x.node: math.log(x.times) for x in found}
        found += _models(r, slow, strict)
    return tuple(found)


def corrected(o: Observation, found: Sequence[Correction]) -> Observation:
    """The observation with its specs as they are believed now. One that was corrected already stays as it is."""
    if o.corrections or not found:
        return o
    slower = {x.node: x.times for x in found if x.node}
    longer = {x.model: x.times for x in found if x.model}
    return replace(
        o,
        node_specs=tuple(replace(n, speed=n.speed / slower.get(n.id, 1.0)) for n in o.node_specs),
        model_specs=tuple(m.taking(longer[m.id]) if m.id in longer else m for m in o.model_specs),
        corrections=tuple(found),
    )


def news(before: Sequence[Correction], now: Sequence[Correction]) -> str:
    """What has changed about nodes, in words; empty when nothing has. Kinds change slowly and are no news."""
    was, are = {x.node: x for x in before if x.node}, {x.node: x for x in now if x.node}
    lines = [words(x) for x in are.values() if x.node not in was or _far(x.times, was[x.node].times)]
    lines += [f"{node} is as fast as believed again" for node in was if node not in are]
    return "; ".join(lines)


def words(x: Correction) -> str:
    if x.node:
        side = f"{x.times:.1f}× slower" if x.times >= 1 else f"{1 / x.times:.1f}× faster"
        return f"{'slow' if x.times >= 1 else 'fast'} node {x.node}: {side} than believed"
    return f"{x.model} takes {x.times:.2f}× what is believed"


def _jumped(known: dict[Key, Residual], facts: dict[Key, ServiceFact]) -> set[str]:
    """Nodes of which all that they finished in the window contradicts what was followed of them, beyond chance."""
    sums: dict[str, tuple[float, float, float]] = {}
    for key, f in facts.items():
        old = known.get(key)
        if old is not None:
            apart, variance, many = sums.get(key[0], (0.0, 0.0, 0.0))
            error = f.count**2 * max(_spread(f), old.spread) ** 2 * (1 / f.count + 1 / old.weight)
            sums[key[0]] = (apart + f.count * (f.mean_log - old.mean), variance + error, many + f.count)
    return {
        node
        for node, (apart, variance, many) in sums.items()
        if many >= JUMP_COUNT and abs(apart) > max(JUMP_LEAST * many, JUMP_SIGMA * math.sqrt(variance))
    }


def _taken(old: Residual | None, f: ServiceFact, fresh: float) -> Residual:
    """fresh: part of the fact's window that was not in an earlier one."""
    spread = _spread(f)
    alone = Residual(f.node, f.model, float(f.count), f.mean_log, spread, f.seen_s, f.expected_s)
    if old is None or old.weight <= 0:
        return alone
    new = f.count * fresh
    part = new / (old.weight + new)
    variance = (1 - part) * old.spread**2 + part * spread**2
    return replace(
        old,
        weight=old.weight + new,
        mean=(1 - part) * old.mean + part * f.mean_log,
        spread=math.sqrt(variance),
        seen_s=old.seen_s + fresh * f.seen_s,
        expected_s=old.expected_s + fresh * f.expected_s,
    )


def _spread(f: ServiceFact) -> float:
    """The spread of one logarithm; few prompts say little about it."""
    prior = 2.0
    return max(LEAST_SIGMA, math.sqrt((f.count * f.sd_log**2 + prior * PRIOR_SIGMA**2) / (f.count + prior)))


def _nodes(
    r: Residuals, nodes: Sequence[str], row: Ints, trust: Floats, d: Floats, strict: float
) -> Sequence[Correction]:
    total = np.bincount(row, trust, len(nodes))
    spread = np.array([p.spread for p in r.pairs])
    variance = np.bincount(row, trust * spread**2, len(nodes)) / np.maximum(total, 1e-9) ** 2
    found = []
    for n in np.nonzero((np.abs(d) > strict * NODE_SIGMA * np.sqrt(variance)) & (total >= NODE_COUNT) & (d != 0.0))[
        0
    ]:
        times = math.exp(float(np.clip(d[n], -math.log(MOST_TIMES), math.log(MOST_TIMES))))
        found.append(Correction(nodes[int(n)], "", round(times, 3), round(float(math.sqrt(variance[n])), 4)))
    return found


def _models(r: Residuals, slow: dict[str, float], strict: float) -> Sequence[Correction]:
    """A kind's factor is that of the seconds, not of the logarithms: the mean work is what plans count with."""
    found = []
    for model in sorted({p.model for p in r.pairs}):
        mine = [p for p in r.pairs if p.model == model]
        weight = sum(p.weight for p in mine)
        seen = sum(p.seen_s * math.exp(-slow.get(p.node, 0.0)) for p in mine)
        expected = sum(p.expected_s for p in mine)
        error = math.sqrt(sum(p.weight * p.spread**2 for p in mine)) / max(weight, 1e-9)
        if weight < MODEL_COUNT or seen <= 0 or expected <= 0:
            continue
        c = math.log(seen / expected)
        if abs(c) > strict * max(MODEL_LEAST, MODEL_SIGMA * error):
            times = math.exp(float(np.clip(c, -math.log(MOST_TIMES), math.log(MOST_TIMES))))
            found.append(Correction("", model, round(times, 3), round(error, 4)))
    return found


def _index(names: Sequence[str], which: Sequence[str]) -> Ints:
    at = {name: i for i, name in enumerate(names)}
    return np.array([at[name] for name in which], np.int64)


def _median(values: Floats, weights: Floats) -> float:
    """Weighted median; between two values that halve the weight exactly, the one nearer to 0."""
    order = np.argsort(values, kind="stable")
    values, reached = values[order], np.cumsum(weights[order])
    half = reached[-1] / 2
    i = int(np.searchsorted(reached, half - 1e-12))
    if abs(reached[i] - half) < 1e-9 and i + 1 < len(values):
        return float(min(values[i], values[i + 1], key=abs))
    return float(values[i])


def _far(a: float, b: float) -> bool:
    return abs(math.log(a / b)) > JUMP_LEAST
