"""The fit of service profiles: exact where the cost is linear, never negative, honest about spread."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest

from edgewise.domain.errors import BadInput
from edgewise.domain.model import ModelSpec, PromptSize, ServiceProfile, Task
from evals.calibrate import Calibration, Point, design, fit, with_calibration
from evals.prompts import DEMO_LIMITS, size_of

TRUE = {
    Task.TEXT_GENERATION: ServiceProfile(0.02, per_input_token_s=3e-5, per_output_token_s=2e-3),
    Task.IMAGE_TO_TEXT: ServiceProfile(0.08, per_output_token_s=1.5e-3),
    Task.TEXT_TO_IMAGE: ServiceProfile(0.01, per_image_s=0.02, per_step_s=0.012),
}


@pytest.mark.parametrize("task", list(Task))
def test_a_linear_cost_is_found_again_for_every_size(task: Task) -> None:
    sizes = [size_of(row, task, DEMO_LIMITS)[0] for row in design(task, DEMO_LIMITS)]
    assert len(set(sizes)) == len(sizes) >= 2
    found = fit([Point(s, TRUE[task].expected_s(s)) for s in sizes])
    for tokens, images, steps in ((3, 1, 1), (40, 3, 5), (96, 4, 8)):
        other = PromptSize(
            input_tokens=tokens * 5 if task is Task.TEXT_GENERATION else sizes[0].input_tokens,
            output_tokens=0 if task is Task.TEXT_TO_IMAGE else tokens,
            images={Task.TEXT_GENERATION: 0, Task.IMAGE_TO_TEXT: 1, Task.TEXT_TO_IMAGE: images}[task],
            steps=steps if task is Task.TEXT_TO_IMAGE else 0,
        )
        assert found.expected_s(other) == pytest.approx(TRUE[task].expected_s(other), rel=1e-6)
    assert found.cv == pytest.approx(0.0, abs=1e-6)


def test_no_part_is_negative_and_the_spread_is_told() -> None:
    random = Random(3)
    true = TRUE[Task.TEXT_GENERATION]
    sizes = [PromptSize(i, o) for i in (8, 512) for o in (2, 48)] * 20
    found = fit([Point(s, true.expected_s(s) * random.lognormvariate(0, 0.1)) for s in sizes])
    parts = dataclasses.asdict(found)
    assert all(v >= 0 for v in parts.values())
    assert found.cv == pytest.approx(0.1, rel=0.3)
    assert found.expected_s(PromptSize(300, 20)) == pytest.approx(true.expected_s(PromptSize(300, 20)), rel=0.1)


def test_a_cost_that_falls_with_size_is_taken_as_flat() -> None:
    found = fit([Point(PromptSize(output_tokens=o), s) for o, s in ((1, 0.4), (1, 0.4), (50, 0.2), (50, 0.2))])
    assert found.per_output_token_s == 0.0
    assert 0.2 < found.base_s < 0.4


def test_what_was_not_varied_is_left_to_the_base() -> None:
    found = fit([Point(PromptSize(images=1, output_tokens=o), 0.1 + 0.01 * o) for o in (2, 20)])
    assert found.per_image_s == 0.0
    assert found.base_s == pytest.approx(0.1)


def test_no_points_are_no_profile() -> None:
    with pytest.raises(BadInput):
        fit([])


def test_a_catalogue_entry_takes_what_was_measured() -> None:
    spec = ModelSpec("gpt2", Task.TEXT_GENERATION, 1.0, 9.0, load_s=10.0)
    profile = dataclasses.replace(TRUE[Task.TEXT_GENERATION], cv=0.2)
    mean = PromptSize(100, 10)
    measured = with_calibration(spec, Calibration("gpt2", profile, 0.7, ()), mean)
    assert (measured.load_s, measured.service_cv, measured.service) == (0.7, 0.2, profile)
    assert measured.mean_service_s == pytest.approx(profile.expected_s(mean))
    assert with_calibration(spec, Calibration("gpt2", profile, None, ()), mean).load_s == 10.0
