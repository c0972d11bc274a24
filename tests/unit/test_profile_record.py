"""The profile file, and what a scenario takes from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from edgewise.domain.codec import to_json, to_plain
from edgewise.domain.errors import BadInput
from edgewise.domain.model import ServiceProfile, Task
from evals.profiles.record import (
    Memory,
    ModelProfile,
    Profile,
    Together,
    batch_curve,
    entry_of,
    read_profile,
    sized,
    this_machine,
)
from evals.scenario import LoadTime, SizedService
from serving.checkpoints import catalogue

SPEC = catalogue()[0]
TOGETHER = (Together(1, 1.0), Together(2, 1.5), Together(4, 1.9))
MODEL = ModelProfile(
    "gpt2", Task.TEXT_GENERATION, 1.0, LoadTime(0.4, 0.1), 5, 0.01, SizedService(0.01, per_output_token=1e-3, cv=0.1),
    16, 0.05, 0.02, 0.002, TOGETHER, batch_curve(TOGETHER), Memory(100.0, 120.0, 130.0, 300.0, 330.0, 340.0),
)  # fmt: skip
PROFILE = Profile(1, this_machine(), (MODEL,), ("quiet",))


def test_a_file_comes_back_as_it_went(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(to_json(PROFILE))
    assert read_profile(tmp_path / "p.json") == PROFILE
    assert PROFILE.machine.cores >= 1
    assert PROFILE.model("gpt2") is MODEL
    with pytest.raises(BadInput, match="says nothing of 'blip'"):
        PROFILE.model("blip")


def test_what_is_no_profile_is_said(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    with pytest.raises(BadInput, match="cannot read") as caught:
        read_profile(file)
    assert caught.value.where == str(file)
    file.write_bytes(to_json(replace(PROFILE, format=7)))
    with pytest.raises(BadInput, match="format 7"):
        read_profile(file)
    file.write_text('{"format": 1}')
    with pytest.raises(BadInput, match="machine"):
        read_profile(file)


def test_the_curve_is_linear_between_what_was_measured() -> None:
    assert batch_curve(TOGETHER) == pytest.approx((1.0, 1.5, 1.7, 1.9))
    assert batch_curve((Together(1, 1.0),)) == (1.0,)


def test_a_scenario_takes_it() -> None:
    alone = entry_of(MODEL, SPEC)
    assert (alone.load_s, alone.service_s, alone.batch_curve) == (MODEL.load_s, MODEL.service_s, ())
    assert entry_of(MODEL, replace(SPEC, max_concurrency=2)).batch_curve == pytest.approx((1.0, 1.5))


def test_its_words_are_the_scenario_s() -> None:
    plain = to_plain(PROFILE)["models"][0]
    text = yaml.safe_dump({k: plain[k] for k in ("load_s", "service_s", "batch_curve")})
    assert {"mean", "cv"} == set(yaml.safe_load(text)["load_s"])
    assert {"base", "per_input_token", "per_output_token", "per_image", "per_step", "cv", "distribution"} == set(
        yaml.safe_load(text)["service_s"]
    )


def test_a_service_profile_in_the_scenario_s_words() -> None:
    found = sized(ServiceProfile(1.0, 2.0, 3.0, 4.0, 5.0, 0.6))
    assert found == SizedService(1.0, 2.0, 3.0, 4.0, 5.0, 0.6)
