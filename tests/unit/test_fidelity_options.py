"""What `edgewise fidelity` was asked for, and the world it makes of that."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgewise.compose.fidelity import FidelityOptions, default_folder, parse_bands
from edgewise.domain.errors import BadInput
from evals.fidelity.prompting import LIMITS, band_workload, calibration_prompts
from evals.fidelity.world import PLACEMENTS, make_world, placement_for, quota_for, shares_for
from serving.checkpoints import catalogue

MODELS = catalogue()


def test_bands_are_numbers_in_order() -> None:
    assert parse_bands("0.8, 0.3,0.6,") == (0.3, 0.6, 0.8)
    with pytest.raises(BadInput, match="separated by commas"):
        parse_bands("0.3;0.6")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (FidelityOptions(nodes=4), "2 or 3 nodes"),
        (FidelityOptions(duration_s=0.5), "--duration"),
        (FidelityOptions(bands=()), "at least one load"),
        (FidelityOptions(bands=(0.3, 1.2)), "--bands 1.2"),
        (FidelityOptions(bands=(float("nan"),)), "--bands nan"),
    ],
)
def test_what_cannot_work_is_said_before_anything_starts(options: FidelityOptions, match: str) -> None:
    with pytest.raises(BadInput, match=match):
        options.check()


def test_the_measurement_is_kept_in_the_user_s_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert default_folder() == Path("/somewhere/edgewise")


@pytest.mark.parametrize("nodes", PLACEMENTS)
def test_every_kind_stands_and_some_twice(nodes: int) -> None:
    placement = placement_for(nodes)
    stands = [m for models in placement.values() for m in models]
    assert set(stands) == {m.id for m in MODELS}
    assert len(stands) >= len(MODELS) + 2  # dispatch has something to decide
    world = make_world(placement, MODELS, quota_for(nodes, 2))
    for node in world.nodes:
        assert node.memory_gib == sum(m.memory_gib for m in MODELS if m.id in placement[node.id])


def test_nodes_leave_half_of_the_machine_alone() -> None:
    assert quota_for(2, 2) == 0.5
    assert quota_for(3, 2) == pytest.approx(1 / 3)
    assert quota_for(2, 64) == 1.0


def test_smaller_kinds_get_larger_shares() -> None:
    assert shares_for({"gpt2": 0.1, "blip": 0.4}) == {"gpt2": 2.0, "blip": 1.0}


def test_no_prompt_of_a_band_is_used_to_calibrate() -> None:
    world = make_world(placement_for(2), MODELS, 0.5)
    profiles = {m.id: m.service for m in MODELS if m.service is not None}
    sent = band_workload(world, profiles, None, 40.0, 2.0, 0.6, 1).rows
    asked = calibration_prompts(world, None, 8, 1)
    assert {len(several) for several in asked.values()} == {8}
    bodies = {str(row.request.body) for row in sent}
    assert not any(str(r.body) in bodies for several in asked.values() for r in several)
    assert not any(row.request.streamable for row in sent)
    assert max(row.request.size.output_tokens for row in sent) <= LIMITS.output_tokens


def test_calibration_prompts_stand_for_all_sizes() -> None:
    world = make_world(placement_for(2), MODELS, 0.5)
    for spec in MODELS:
        costs = [spec.expected_service_s(r.size) for r in calibration_prompts(world, None, 8, 1)[spec.id]]
        assert costs == sorted(costs)
        assert costs[-1] > (1.1 if spec.id == "stable-diffusion" else 1.5) * costs[0]
