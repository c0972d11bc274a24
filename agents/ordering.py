"""A deployer's answer within the bounds of `arrange`: it may reorder, delay or veto, never add. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agents.deployer import arrange
from agents.deployer_answer import DeployerAnswer
from edgewise.control.state import NodeBrief, NodeOrder, Veto, Wait
from edgewise.domain.plan import Change, ChangeKind

LEAST_WAIT_S = 0.05


def obeyed(brief: NodeBrief, answer: DeployerAnswer, longest_wait_s: float) -> NodeOrder:
    """What `arrange` says, in the order of the answer, less its vetoes. What `arrange` refuses stays refused; a kind
    that nobody serves yet is neither refused nor delayed, nor is an unload (that is its drain's part)."""
    base = arrange(brief)
    vetoes = _vetoes(brief, base.order, answer)
    gone = {v.change for v in vetoes}
    kept = [c for c in base.order if c not in gone]
    place = {(s.change, s.model): i for i, s in reversed(list(enumerate(answer.order)))}
    wanted = sorted(kept, key=lambda c: place.get((c.kind.value, c.model), len(place)))
    steps = {(s.change, s.model): s.wait_s for s in reversed(answer.order)}
    waits = []
    for c in kept:
        wait_s = min(longest_wait_s, steps.get((c.kind.value, c.model), 0.0))
        if wait_s > LEAST_WAIT_S and c.kind is not ChangeKind.UNLOAD and not _alone(brief, c):
            waits.append(Wait(c, wait_s))
    return replace(base, order=_in_turn(wanted, kept), vetoes=(*base.vetoes, *vetoes), waits=tuple(waits))


def _vetoes(brief: NodeBrief, order: Sequence[Change], answer: DeployerAnswer) -> tuple[Veto, ...]:
    refused = {(v.change, v.model): v.reason or "no reason given" for v in answer.vetoes}
    return tuple(
        Veto(c, f"deployer: {refused[(c.kind.value, c.model)]}")
        for c in order
        if (c.kind.value, c.model) in refused and c.kind is not ChangeKind.UNLOAD and not _alone(brief, c)
    )


def _alone(brief: NodeBrief, change: Change) -> bool:
    return change.kind is ChangeKind.LOAD and change.model in brief.alone


def _in_turn(wanted: Sequence[Change], base: Sequence[Change]) -> tuple[Change, ...]:
    """The changes of one replica stay in the order of `base`, whatever the order of its places."""
    queues: dict[str, list[Change]] = {}
    for c in base:
        queues.setdefault(c.model, []).append(c)
    return tuple(queues[c.model].pop(0) for c in wanted)
