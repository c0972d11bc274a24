"""What the gate asks for follows the twin's measured error at the load that is expected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgewise.compose.control import with_measured_error
from edgewise.control.decide import required_gain
from edgewise.control.forecast import Track
from edgewise.control.outlook import outlook
from edgewise.domain.errors import BadInput
from edgewise.settings import load_settings
from tests.support.control_world import SD_HEAVY, demand, observe, rates, seven

BANDS = ((0.3, 0.05, 0.01), (0.8, -0.20, 0.05))


def ahead_at(load: float):  # type: ignore[no-untyped-def]
    from edgewise.control.forecast import follow

    world, settings = seven(host_cores=None), load_settings(window_s=1000.0)
    rows = demand(world, rates(world, SD_HEAVY, load), 1000.0)
    o = observe(world, at_s=1000.0, slot=5, demand_rows=list(rows), settings=settings)
    return outlook(o, follow(Track(), o), settings)


def test_without_a_measurement_the_margin_is_the_setting() -> None:
    assert required_gain(ahead_at(0.5), load_settings(gate_margin=0.04)) == 0.04


def test_a_measured_error_is_asked_for_where_it_is_more() -> None:
    settings = load_settings(gate_margin=0.03, twin_error=BANDS)
    low, high = required_gain(ahead_at(0.2), settings), required_gain(ahead_at(0.8), settings)
    assert low == pytest.approx(0.06)
    assert high == pytest.approx(0.25, abs=0.02)
    assert required_gain(ahead_at(0.2), load_settings(gate_margin=0.1, twin_error=BANDS)) == 0.1


def test_a_controller_reads_the_measurement_of_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert with_measured_error(load_settings()).twin_error == ()
    file = tmp_path / "edgewise" / "fidelity.json"
    file.parent.mkdir()
    file.write_text('{"format": 1, "bands": [{"load": 0.3, "mean_error": 0.05, "half_width": 0.01}]}')
    assert with_measured_error(load_settings()).twin_error == ((0.3, 0.05, 0.01),)
    said = load_settings(twin_error=BANDS)
    assert with_measured_error(said).twin_error == BANDS
    file.write_text("{")
    with pytest.raises(BadInput):
        with_measured_error(load_settings())


def test_numbers_are_numbers() -> None:
    assert np.isfinite(required_gain(ahead_at(0.95), load_settings(twin_error=BANDS)))
