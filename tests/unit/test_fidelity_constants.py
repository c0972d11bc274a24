"""What a prompt costs besides its service, from rows whose answer is known."""

from __future__ import annotations

import pytest

from edgewise.domain.errors import RunFailed
from edgewise.domain.model import PromptSize, ServiceProfile
from edgewise.domain.records import PromptRow, PromptStatus
from evals.fidelity.constants import Saturated, Sent, constants


def row(identity: str, arrived_s: float, started_s: float, finished_s: float | None, node: str = "n1") -> PromptRow:
    return PromptRow(
        identity, "gpt2", "n1", node, arrived_s, started_s, finished_s, PromptStatus.COMPLETED, None, 1, 9.0, 0.1
    )


def sent(identity: str, service_s: float) -> Sent:
    return Sent(identity, "gpt2", PromptSize(0, 70), service_s)


def many(*prompts: Sent) -> Saturated:
    return Saturated(prompts, 10.0, 20.0, {"n1": 0.5})


SERVICES = {"gpt2": ServiceProfile(0.0, per_output_token_s=0.01)}
FULL = [sent(f"p{i}", 0.98) for i in range(11)]
FULL_ROWS = [row(f"p{i}", 0.0, 9.5 + i, 10.5 + i) for i in range(11)]


def test_http_is_latency_beyond_service() -> None:
    one = [sent("a", 0.10), sent("b", 0.20)]
    rows = [row("a", 0.0, 0.01, 0.104), row("b", 1.0, 1.01, 1.206), *FULL_ROWS]
    found = constants(one, [many(*FULL)], rows, SERVICES)
    assert found.http_s["gpt2"] == pytest.approx(0.005)
    assert found.cores == {"n1": 0.5}


def test_a_gap_is_node_time_in_which_nobody_computes_though_others_wait() -> None:
    """Back to back through the window's ten seconds, each served 0.98 s of its second; two lie half in it."""
    found = constants([sent("a", 0.1)], [many(*FULL)], [row("a", 0.0, 0.0, 0.1), *FULL_ROWS], SERVICES)
    assert found.gap_s == pytest.approx(0.02)


def test_more_service_than_time_is_no_negative_gap() -> None:
    served = [sent(f"p{i}", 1.01) for i in range(10)]
    rows = [row(f"p{i}", 0.0, 10.0 + i, 11.0 + i) for i in range(10)]
    assert constants([sent("a", 0.1)], [many(*served)], [row("a", 0.0, 0.0, 0.1), *rows], SERVICES).gap_s == 0.0


def test_crowding_is_how_much_longer_services_are_when_all_are_busy() -> None:
    """Larger prompts are not crowding: 0.2 s for 20 tokens alone, 0.98 s for 70 with the rest."""
    one = [Sent("a", "gpt2", PromptSize(0, 20), 0.2)]
    found = constants(one, [many(*FULL)], [row("a", 0.0, 0.0, 0.2), *FULL_ROWS], SERVICES)
    assert found.crowding == pytest.approx(1.4)


def test_a_prompt_alone_without_an_answer_is_said() -> None:
    with pytest.raises(RunFailed, match="prompt a got no answer"):
        constants([sent("a", 0.1)], [many(*FULL)], [row("a", 0.0, 0.0, None), *FULL_ROWS], SERVICES)
