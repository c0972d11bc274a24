"""How much memory models take and nodes have: as given, as said, as it follows from totals, else as was held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from edgewise.twin.demand import Bools, Floats
from evals.shadow.given import Given
from evals.shadow.recorder import Poll
from tools.foreign.systems import BY_KIND, Kind

DEFAULT_GIB = 1.0
LEAST_GIB = 1e-3
EVENLY = 1e-3


@dataclass(frozen=True, slots=True)
class Memories:
    """need [M], budget [N], GiB."""

    need: Floats
    budget: Floats
    guessed: tuple[str, ...]


def memories(
    polls: Sequence[Poll],
    kinds: Mapping[str, Kind],
    node_of: Mapping[str, int],
    model_of: Mapping[str, int],
    placement: Bools,
    given: Given,
    node_ids: Sequence[str],
    swapping: bool,
) -> Memories:
    """A node that does not say what it has has what was held there at most: so nothing is promised on memory that
    may not be there."""
    guessed: list[str] = []
    need = np.full(len(model_of), np.nan)
    stated = np.full(len(node_ids), np.nan)
    held_most = np.zeros(len(node_ids))
    rows, totals = [], []
    held: list[tuple[int, Bools]] = []
    for poll in polls:
        r = poll.reading
        if r is None or BY_KIND[kinds[poll.endpoint]].front:
            continue
        for x in r.resident:
            if x.memory_gib is not None and x.model in model_of:
                j = model_of[x.model]
                need[j] = np.fmax(need[j], x.memory_gib)
        here: dict[int, Bools] = {}
        for x in r.resident:
            n = node_of.get(x.node or poll.endpoint)
            if n is not None and x.model in model_of:
                here.setdefault(n, np.zeros(len(model_of), bool))[model_of[x.model]] = True
        held += list(here.items())
        for m in r.memory:
            n = node_of.get(m.node or poll.endpoint)
            if n is not None:
                stated[n] = m.memory_gib
                if m.used_gib is not None:
                    rows.append(here.get(n, np.zeros(len(model_of), bool)))
                    totals.append(m.used_gib)
    if rows and np.isnan(need).any():
        need, said = _from_totals(np.array(rows, float), np.array(totals), need)
        guessed += said
    for name, j in model_of.items():
        one = given.models.get(name)
        if one is not None and one.memory_gib is not None:
            need[j] = one.memory_gib
    if np.isnan(need).any():
        lacking = ", ".join(n for n, j in model_of.items() if np.isnan(need[j]))
        guessed.append(f"memory of {lacking} is not said: {DEFAULT_GIB:g} GiB each (--models says better)")
        need = np.where(np.isnan(need), DEFAULT_GIB, need)
    need = np.maximum(need, LEAST_GIB)
    for n, what in held:
        held_most[n] = max(held_most[n], float(need[what].sum()))
    if not swapping:
        held_most = np.maximum(held_most, (placement * need).sum(axis=1))
    budget = np.where(np.isnan(stated), np.maximum(held_most, need.min()), stated)
    by_id = {n.id: n.memory_gib for n in given.nodes}
    for n, node in enumerate(node_ids):
        if by_id.get(node):
            budget[n] = by_id[node]
    silent = [node for n, node in enumerate(node_ids) if np.isnan(stated[n]) and not by_id.get(node)]
    if silent:
        guessed.append(f"memory of {', '.join(silent)} is not said: what was held there at most (--nodes FILE says)")
    if budget.max() < need.max():
        budget[int(budget.argmax())] = float(need.max())  # it stood somewhere
    return Memories(need, np.asarray(budget, np.float64), tuple(guessed))


def _from_totals(held: Floats, totals: Floats, known: Floats) -> tuple[Floats, list[str]]:
    """Needs [M] that explain what nodes had given out; held [K, M], totals [K]. Those known stay."""
    open_ = np.isnan(known) & (held.sum(axis=0) > 0)
    if not open_.any():
        return known, []
    rest = totals - held[:, ~open_] @ np.nan_to_num(known[~open_])
    # What totals leave open is divided evenly, and not given to one model whole.
    count, even = int(open_.sum()), float(np.maximum(0.0, rest).sum() / max(1.0, held[:, open_].sum()))
    rows = np.vstack([held[:, open_], EVENLY * np.eye(count)])
    solved, _ = nnls(rows, np.concatenate([np.maximum(0.0, rest), np.full(count, EVENLY * even)]))
    found = known.copy()
    found[open_] = solved
    if np.linalg.matrix_rank(held[:, open_]) < open_.sum():
        return found, ["memory of models follows from totals of nodes, which do not tell all of them apart"]
    return found, []
