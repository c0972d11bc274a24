"""Bands pooled from runs, the table, the page, the file that the gate reads."""

from __future__ import annotations

import re

import numpy as np
import pytest

from edgewise.control.twin_error import margin_for, read_twin_error
from edgewise.domain.codec import from_json, to_json
from evals.fidelity.compare import BandRun, band_of
from evals.fidelity.constants import Constants
from evals.fidelity.page import page
from evals.fidelity.report import Band, Fidelity, Held, aim_for, table
from evals.profiles.record import Machine
from evals.scenario import SizedService

MODELS = ("gpt2", "blip")


def run(factor: float, prompts: int = 200, seed: int = 1, load: float = 0.6) -> BandRun:
    """The twin is `factor` times the real latency for the first model, right for the second."""
    random = np.random.default_rng(seed)
    real = random.lognormal(-1.0, 0.4, prompts)
    model = np.arange(prompts, dtype=np.int64) % 2
    twin = np.stack([np.where(model == 0, real * factor, real)] * 4)
    service = {"gpt2": (0.11, 0.10), "blip": (0.2, 0.2)}
    doubted = twin * np.array([[0.8], [0.9], [1.1], [1.2]])
    return BandRun(
        load, 70.0, real, twin, doubted, model, load + 0.01, load - 0.02, service, {"gpt2": 1.0, "blip": 1.1}, 0.05
    )


def fidelity(*bands: Band) -> Fidelity:
    return Fidelity(
        1,
        Machine("a <cpu>", 2, 4.0, "Linux", "3.11", {}),
        Held("turnstile", 0.5, "cgroup: Permission denied"),
        {"edge-1": MODELS},
        {"gpt2": 1.0, "blip": 1.0},
        {"gpt2": SizedService(0.01)},
        {"gpt2": 0.02},
        1.03,
        Constants({}, 0.0, {}),
        bands,
        4,
        300.0,
        ("other work ran here",),
    )


def test_errors_are_per_model_and_over_all() -> None:
    band = band_of([run(1.2)], MODELS)
    assert band.models["gpt2"].mean.error.value == pytest.approx(0.2)
    assert band.models["blip"].mean.error.value == pytest.approx(0.0)
    assert 0.05 < band.mean_error < 0.15
    assert band.models["gpt2"].service == pytest.approx(1.1)
    assert (band.load, band.cpu_load, band.asked_load) == pytest.approx((0.61, 0.58, 0.6))
    assert (band.prompts, band.models["gpt2"].prompts) == (200, 100)
    assert not band.met or band.mean_error <= 0.1
    assert band.doubted.low < band.all.mean.error.low
    assert band.doubted.half_width > 2 * band.half_width


def test_runs_of_one_band_are_pooled() -> None:
    once, twice = band_of([run(1.1)], MODELS), band_of([run(1.1), run(1.1, seed=2)], MODELS)
    assert (twice.runs, twice.prompts, twice.duration_s) == (2, 400, 140.0)
    assert twice.all.mean.real.half_width < once.all.mean.real.half_width


def test_a_model_without_prompts_is_left_out() -> None:
    assert set(band_of([run(1.0)], (*MODELS, "gpt2-large")[:2]).models) == set(MODELS)


def test_aims_are_those_of_the_lower_and_the_upper_bands() -> None:
    assert [aim_for(x) for x in (0.3, 0.6, 0.8, 1.5)] == [0.10, 0.10, 0.20, 0.20]


def test_the_table_says_all_of_it() -> None:
    text = table(fidelity(band_of([run(1.5)], MODELS)))
    assert "turnstile (no cgroup: cgroup: Permission denied)" in text
    assert "NOT met" in text
    assert "+50.0%" in text
    assert "other work ran here" in text
    assert "met" in table(fidelity(band_of([run(1.0)], MODELS))).replace("NOT met", "")


def test_the_page_is_self_contained_and_escaped() -> None:
    text = page(fidelity(band_of([run(1.2)], MODELS), band_of([run(9.0, load=0.8)], MODELS)))
    assert "a &lt;cpu&gt;" in text
    assert not re.search(r"(src|href)=|<script", text)
    assert text.count("<circle") == 6  # two bands, two models and all


def test_the_gate_reads_the_file() -> None:
    found = fidelity(band_of([run(1.2)], MODELS), band_of([run(1.4, load=0.8)], MODELS))
    text = to_json(found)
    assert from_json(Fidelity, text) == found
    error = read_twin_error(text)
    first = found.bands[0]
    assert margin_for(first.load, error) == pytest.approx(abs(first.mean_error) + first.half_width)
