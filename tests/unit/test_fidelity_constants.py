"""What a prompt costs besides its service, from rows whose answer is known."""

from __future__ import annotations

import pytest

from edgewise.domain.errors import RunFailed
from edgewise.domain.records import PromptRow, PromptStatus
from evals.fidelity.constants import Alone, Saturated, Sent, constants


def row(identity: str, arrived_s: float, started_s: float, finished_s: float | None, node: str = "n1") -> PromptRow:
    return PromptRow(
        identity, "gpt2", "n1", node, arrived_s, started_s, finished_s, PromptStatus.COMPLETED, None, 1, 9.0, 0.1
    )


def many(*sent: Sent) -> Saturated:
    return Saturated(sent, 10.0, 20.0, {"n1": 0.5})


def test_http_is_latency_beyond_service() -> None:
    one = Alone((Sent("a", "gpt2", 0.10), Sent("b", "gpt2", 0.20)), {"gpt2": 1e-3}, 0.002)
    rows = [row("a", 0.0, 0.01, 0.104), row("b", 1.0, 1.01, 1.206)]
    found = constants(one, many(), rows)
    assert found.http_s["gpt2"] == pytest.approx(0.005)
    assert (found.loop_s, found.poll_cores, found.cores) == ({"gpt2": 1e-3}, 0.002, {"n1": 0.5})


def test_a_gap_is_node_time_in_which_nobody_computes_though_others_wait() -> None:
    """Ten prompts back to back in ten seconds, each served 0.98 s of its second; two more lie half in the window."""
    sent = [Sent(f"p{i}", "gpt2", 0.98) for i in range(11)]
    rows = [row(f"p{i}", 0.0, 9.5 + i, 10.5 + i) for i in range(11)]
    found = constants(Alone((), {}, 0.0), many(*sent), rows)
    assert found.gap_s == pytest.approx(0.02)


def test_more_service_than_time_is_no_negative_gap() -> None:
    sent = [Sent(f"p{i}", "gpt2", 1.01) for i in range(10)]
    rows = [row(f"p{i}", 0.0, 10.0 + i, 11.0 + i) for i in range(10)]
    assert constants(Alone((), {}, 0.0), many(*sent), rows).gap_s == 0.0


def test_a_prompt_alone_without_an_answer_is_said() -> None:
    with pytest.raises(RunFailed, match="prompt a got no answer"):
        constants(Alone((Sent("a", "gpt2", 0.1),), {}, 0.0), many(), [row("a", 0.0, 0.0, None)])
