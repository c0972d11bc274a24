"""Prompts from what was counted: each batch's spread over its stretch, as columns, and the trace they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from edgewise.control.seeds import generator
from edgewise.twin.demand import Floats, Ints
from evals.record import class_of
from evals.shadow.stage import Stage
from evals.shadow.traffic import Batch, Traffic
from evals.traces import TraceRow


@dataclass(frozen=True, slots=True)
class Prompts:
    """P prompts in order of arrival. at_s: run seconds; access, model: indices; input_tokens, output_tokens: −1 where
    not known."""

    at_s: Floats
    access: Ints
    model: Ints
    input_tokens: Ints
    output_tokens: Ints

    def __len__(self) -> int:
        return len(self.at_s)

    def until(self, end_s: float) -> Prompts:
        """Those that came before."""
        n = int(np.searchsorted(self.at_s, end_s))
        return Prompts(self.at_s[:n], self.access[:n], self.model[:n], self.input_tokens[:n], self.output_tokens[:n])

    def taken(self, rows: Ints, at_s: Floats) -> Prompts:
        """These rows, at other times, in order of those."""
        order = np.argsort(at_s, kind="stable")
        rows = rows[order]
        return Prompts(
            at_s[order], self.access[rows], self.model[rows], self.input_tokens[rows], self.output_tokens[rows]
        )


def prompts(seen: Traffic, stage: Stage, seed: int, before: bool = False) -> Prompts:
    """Times within a stretch are not known: they are drawn uniformly, which is what a Poisson stream looks like in
    it. Tokens of a batch are divided evenly. The same for the same seed. before: with those that were there at the
    first look, as if they came then; they are no arrivals of the recording."""
    rng = generator("shadow", "arrivals", str(seed))
    known = [b for b in seen.before if b.access in stage.node_of and b.model in stage.model_of] if before else []
    parts = [_part(batch, stage, seen.duration_s, rng) for batch in (*seen.batches, *known)]
    columns = [np.concatenate(c) for c in zip(*parts, strict=True)] if parts else [np.zeros(0)] * 5
    at_s = columns[0].astype(np.float64)
    ints = [c.astype(np.int64) for c in columns[1:]]
    return Prompts(at_s, ints[0], ints[1], ints[2], ints[3]).taken(np.arange(at_s.size), at_s)


def _part(batch: Batch, stage: Stage, duration_s: float, rng: np.random.Generator) -> tuple[Floats, ...]:
    last_s = np.nextafter(duration_s, 0.0)
    if batch.exact is not None:
        at = np.array([p.ended_s - (p.took_s or 0.0) for p in batch.exact])
        tokens = [np.array([-1 if t is None else t for t in several]) for several in (
            [p.input_tokens for p in batch.exact], [p.output_tokens for p in batch.exact]
        )]  # fmt: skip
    else:
        at = rng.uniform(batch.begin_s, batch.end_s, batch.count)
        tokens = [_divided(total, batch.count) for total in (batch.input_tokens, batch.output_tokens)]
    n = at.size
    return (
        np.clip(at, 0.0, last_s),
        np.full(n, stage.node_of[batch.access]),
        np.full(n, stage.model_of[batch.model]),
        *tokens,
    )


def _divided(total: float | None, count: int) -> Ints:
    if total is None or total <= 0 or count == 0:
        return np.full(count, -1)
    each, more = divmod(round(total), count)
    return np.array([each + (i < more) for i in range(count)])


def resampled(p: Prompts, duration_s: float, block_s: float, rng: np.random.Generator) -> Prompts:
    """A recording as it might have been: blocks of this one, drawn with replacement, one after another (block
    bootstrap; bursts within a block, and what comes together, stay together)."""
    blocks = max(1, int(np.ceil(duration_s / block_s)))
    drawn = rng.integers(0, blocks, blocks)
    first = np.searchsorted(p.at_s, np.arange(blocks + 1) * block_s)
    first[-1] = len(p)
    rows = [np.arange(first[b], first[b + 1]) for b in drawn]
    shift = np.repeat((np.arange(blocks) - drawn) * block_s, [r.size for r in rows])
    taken = np.concatenate(rows).astype(np.int64)
    at_s = p.at_s[taken] + shift
    keep = at_s < duration_s
    return p.taken(taken[keep], at_s[keep])


def trace_rows(p: Prompts, stage: Stage, systems: Mapping[str, str]) -> Iterable[TraceRow]:
    """Rows of the standard trace. systems: what served a model, by its name."""
    for at_s, a, m, i, o in zip(
        p.at_s.tolist(), p.access.tolist(), p.model.tolist(), p.input_tokens.tolist(), p.output_tokens.tolist(),
        strict=True,
    ):  # fmt: skip
        facts = stage.models[m]
        yield TraceRow(
            round(at_s, 6),
            class_of(facts.id, facts.task),
            f"edgewise-shadow:{systems.get(facts.name, 'unknown')}",
            None if i < 0 else i,
            None if o < 0 else o,
            None,
            "{}",
            facts.id,
            stage.nodes[a].id,
        )
