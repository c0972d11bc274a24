"""The whole measurement, short: a real cluster and the twin serve the same prompts."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from edgewise.compose.fidelity import FidelityOptions, run_fidelity
from edgewise.compose.fidelity_cluster import TURNSTILE
from edgewise.control.twin_error import margin_for, read_twin_error
from evals.scenario_file import load_scenario
from evals.simulate import simulate


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twin_and_cluster_agree_roughly(tmp_path: Path) -> None:
    """Roughly, since a test machine is never quiet: a twin that counted half of the work, or the quota twice, would
    be found out."""
    options = FidelityOptions(duration_s=25.0, bands=(0.3,), out=tmp_path, by=TURNSTILE)
    found = run_fidelity(options, lambda _text: None)
    (band,) = found.bands
    assert band.prompts == sum(kind.prompts for kind in band.models.values())
    assert 0.15 < band.load < 0.5
    assert abs(band.mean_error) < 0.4
    error = read_twin_error((tmp_path / "fidelity.json").read_bytes())
    assert margin_for(band.load, error) == pytest.approx(min(0.5, abs(band.mean_error) + band.half_width))
    assert orjson.loads((tmp_path / "fidelity.json").read_bytes())["held"]["by"] == TURNSTILE
    assert "<svg" in (tmp_path / "fidelity.html").read_text()
    # Its world and prompts are a scenario like any other; where in a trace a run starts is drawn, so fewer may come.
    scenario = load_scenario(next(tmp_path.glob("band-1-*.yaml")))
    again = simulate(scenario, "round-robin")
    assert 0.2 * band.prompts < again.figures["prompts_completed"] < 2 * band.prompts
