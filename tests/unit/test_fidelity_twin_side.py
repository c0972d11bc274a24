"""The twin of a small real cluster, solved by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from edgewise.domain.cluster import NodeSpec
from edgewise.domain.model import ModelSpec, PromptSize, ServiceProfile, Task
from edgewise.domain.world import World
from evals.fidelity.calibration import Doubt
from evals.fidelity.constants import Constants
from evals.fidelity.twin_side import Costs, SentPrompts, scenario_for, twin_latencies, write_prompts
from evals.fidelity.world import FidelityWorld
from evals.scenario import Scenario, SizedService
from evals.scenario_file import load_scenario, to_yaml
from evals.traces import read_trace

SMALL = ModelSpec("gpt2", Task.TEXT_GENERATION, 1.0, 0.1, service=ServiceProfile(0.2, per_output_token_s=0.1))
LARGE = ModelSpec("gpt2-large", Task.TEXT_GENERATION, 2.0, 0.1, service=ServiceProfile(1.0))
NOTHING = Constants({"gpt2": 0.0, "gpt2-large": 0.0}, 0.0, {"edge-1": 0.5})
LEVEL = {"gpt2": 1.0, "gpt2-large": 1.0}
SURE = Doubt({"gpt2": 0.0, "gpt2-large": 0.0}, {"gpt2": 0.0, "gpt2-large": 0.0})


def fidelity_world(nodes: int = 1, shares: dict[str, float] | None = None) -> FidelityWorld:
    specs = tuple(NodeSpec(f"edge-{i + 1}", 3.0, speed=0.5) for i in range(nodes))
    placement = {n.id: ("gpt2", "gpt2-large") for n in specs}
    return FidelityWorld(World(specs, (SMALL, LARGE)), placement, shares or {"gpt2": 1.0, "gpt2-large": 1.0})


def prompts(*rows: tuple[float, int, int]) -> SentPrompts:
    """(at_s, model, output tokens); node seconds are 0.2 + 0.1·tokens for model 0 and 1 for model 1."""
    sizes = tuple(PromptSize(0, tokens) for _, _, tokens in rows)
    at_s, model = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], np.int64)
    return SentPrompts(at_s, model, np.zeros(len(rows), np.int64), sizes, np.full(len(rows), 0.1))


def costs(constants: Constants = NOTHING, **more: object) -> Costs:
    made = Costs((SMALL, LARGE), LEVEL, constants, quota=0.5, host_cores=2.0, doubt=SURE)
    return replace(made, **more)  # type: ignore[arg-type]


def written(folder: Path, world: FidelityWorld, sent: SentPrompts, told: Costs) -> Scenario:
    write_prompts(folder / "sent.csv", world, sent)
    return scenario_for(world, told, "hand", 60.0, 1, folder / "sent.csv")


def latencies(
    world: FidelityWorld, sent: SentPrompts, told: Costs, seeds: int = 1, doubted: bool = False
) -> np.ndarray:
    with TemporaryDirectory() as folder:
        scenario = written(Path(folder), world, sent, told)
        return twin_latencies(world, sent, told, scenario, range(1, seeds + 1), doubted)


def test_alone_it_takes_what_was_measured_on_the_node() -> None:
    found = latencies(fidelity_world(), prompts((0.0, 0, 8), (10.0, 1, 0)), costs())
    assert found[0] == pytest.approx([1.0, 1.0], abs=1e-3)


def test_fifo_within_a_model_and_equal_shares_between() -> None:
    """Two of a kind follow each other; the other kind takes half while it runs: 1 and 1 and beside them 1."""
    found = latencies(fidelity_world(), prompts((0.0, 0, 8), (0.0, 0, 8), (0.0, 1, 0)), costs())
    assert found[0] == pytest.approx([2.0, 3.0, 2.0])


def test_shares_are_those_that_were_set() -> None:
    found = latencies(
        fidelity_world(shares={"gpt2": 3.0, "gpt2-large": 1.0}), prompts((0.0, 0, 8), (0.0, 1, 0)), costs()
    )
    assert found[0] == pytest.approx([4 / 3, 2.0])


def test_a_second_node_takes_the_second_prompt() -> None:
    found = latencies(fidelity_world(nodes=2), prompts((0.0, 1, 0), (0.1, 1, 0)), costs())
    assert found[0] == pytest.approx([1.0, 1.0], abs=1e-3)


def test_what_a_prompt_costs_besides_its_service() -> None:
    """HTTP elsewhere delays it alone; a gap occupies its node, so the second waits for two."""
    measured = replace(NOTHING, http_s={"gpt2": 0.3, "gpt2-large": 0.3}, gap_s=0.1)
    found = latencies(fidelity_world(), prompts((0.0, 1, 0), (0.0, 1, 0)), costs(measured))
    assert found[0] == pytest.approx([1.1 + 0.3, 2.2 + 0.3])


def test_a_machine_that_was_slower_during_the_band() -> None:
    found = latencies(fidelity_world(), prompts((0.0, 0, 8)), costs(level={"gpt2": 1.5, "gpt2-large": 1.0}))
    assert found[0] == pytest.approx([1.5])


def test_nodes_that_share_too_few_cores() -> None:
    found = latencies(fidelity_world(nodes=2), prompts((0.0, 1, 0), (0.0, 1, 0)), costs(host_cores=0.5))
    assert found[0] == pytest.approx([2.0, 2.0], abs=1e-3)


def test_seeds_draw_what_size_does_not_explain() -> None:
    unsure = replace(LARGE, service=ServiceProfile(1.0, cv=0.3), service_cv=0.3)
    sent = prompts(*[(100.0 * i, 1, 0) for i in range(200)])
    found = latencies(fidelity_world(), sent, costs(models=(SMALL, unsure)), seeds=3)
    assert found.shape == (3, 200)
    assert found.mean() == pytest.approx(1.0, rel=0.05)
    assert found.std() == pytest.approx(0.3, rel=0.1)
    assert not np.allclose(found[0], found[1])
    assert np.array_equal(found, latencies(fidelity_world(), sent, costs(models=(SMALL, unsure)), seeds=3))


def test_a_level_that_is_doubted_is_another_under_each_seed() -> None:
    doubt = Doubt({"gpt2": 0.0, "gpt2-large": 0.2}, {"gpt2": 0.0, "gpt2-large": 0.0})
    found = latencies(
        fidelity_world(), prompts((0.0, 1, 0), (100.0, 1, 0)), costs(doubt=doubt), seeds=20, doubted=True
    )
    assert found[:, 0] == pytest.approx(found[:, 1])  # all prompts of a run alike
    assert 0.05 < found[:, 0].std() < 0.2
    sure = latencies(fidelity_world(), prompts((0.0, 1, 0)), costs(doubt=doubt), seeds=20)
    assert sure == pytest.approx(1.0)
    assert (np.abs(found - 1.0) <= 0.2 + 1e-9).all()


def test_the_scenario_and_its_prompts_can_be_read_again(tmp_path: Path) -> None:
    sent = prompts((0.0, 0, 8), (1.5, 1, 3), (2.5, 0, 4))
    scenario = written(tmp_path, fidelity_world(), sent, costs())
    (tmp_path / "hand.yaml").write_text(to_yaml(scenario))
    read = load_scenario(tmp_path / "hand.yaml")
    assert read == scenario
    assert [n.speed for n in read.nodes] == [0.5]
    assert read.initial == {"edge-1": ("gpt2", "gpt2-large")}
    assert isinstance(read.models[1].service_s, SizedService)
    assert read.models[1].service_s.base == pytest.approx(0.5)  # core seconds
    rows = read_trace(tmp_path / "sent.csv")
    assert [(r.timestamp_s, r.model, r.output_tokens) for r in rows] == [
        (0.0, "gpt2", 8), (1.5, "gpt2-large", 3), (2.5, "gpt2", 4),
    ]  # fmt: skip
