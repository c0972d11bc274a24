"""What a prompt costs besides its service, from rows whose answer is known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edgewise.domain.errors import RunFailed
from edgewise.domain.model import PromptSize
from edgewise.domain.records import PromptRow, PromptStatus
from evals.fidelity.back_to_back import Served, gaps_s
from evals.fidelity.calibration import Block
from evals.fidelity.constants import constants
from evals.fidelity.gateway_door import Saturated, Sent


def row(identity: str, arrived_s: float, started_s: float, finished_s: float | None, node: str = "n1") -> PromptRow:
    return PromptRow(
        identity, "gpt2", "n1", node, arrived_s, started_s, finished_s, PromptStatus.COMPLETED, None, 1, 9.0, 0.1
    )


def sent(identity: str, service_s: float) -> Sent:
    return Sent(identity, "gpt2", PromptSize(0, 70), service_s)


def block(one: Sequence[Sent], many: Sequence[Sent]) -> Block:
    return Block(tuple(one), Saturated(tuple(many), {"n1": 0.5}))


FULL = [sent(f"p{i}", 0.98) for i in range(11)]
FULL_ROWS = [row(f"p{i}", 0.0, 9.5 + i, 10.5 + i) for i in range(11)]


def test_http_is_latency_beyond_service() -> None:
    one = [sent("a", 0.10), sent("b", 0.20)]
    rows = [row("a", 0.0, 0.01, 0.104), row("b", 1.0, 1.01, 1.206), *FULL_ROWS]
    found = constants([block(one, FULL)], rows, 0.001)
    assert found.gap_s == 0.001
    assert found.http_s["gpt2"] == pytest.approx(0.005)
    assert found.cores == {"n1": 0.5}


def test_a_hiccup_is_no_constant() -> None:
    one = [sent(f"a{i}", 0.1) for i in range(20)]
    rows = [row(f"a{i}", 0.0, 0.0, 0.104 if i else 5.0) for i in range(20)]
    assert constants([block(one, FULL)], rows + FULL_ROWS, 0.0).http_s["gpt2"] == pytest.approx(0.004)


def test_a_gap_lies_between_two_prompts_of_a_queue() -> None:
    served = [Served(1.5, 0.4), Served(1.0, 0.499), Served(1.902, 0.1)]  # answers come in any order
    assert gaps_s(served) == pytest.approx([0.001, 0.002])
    assert gaps_s(served[:1]) == []


@pytest.mark.parametrize("rows", [FULL_ROWS, [row("a", 0.0, 0.0, None), *FULL_ROWS]])
def test_a_prompt_without_an_end_is_said(rows: list[PromptRow]) -> None:
    with pytest.raises(RunFailed, match="no end of prompt a"):
        constants([block([sent("a", 0.1)], FULL)], rows, 0.0)
