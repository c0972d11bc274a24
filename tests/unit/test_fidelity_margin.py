"""The gate's margin from the twin's measured error."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.control.twin_error import MOST_MARGIN, UNMEASURED, ErrorBand, TwinError, margin_for, read_twin_error
from edgewise.domain.errors import BadInput

MEASURED = TwinError((ErrorBand(0.3, 0.02, 0.03), ErrorBand(0.6, -0.06, 0.04), ErrorBand(0.8, 0.10, 0.05)))


def test_a_band_s_margin_is_its_error_and_its_doubt() -> None:
    assert margin_for(0.3, MEASURED) == pytest.approx(0.05)
    assert margin_for(0.6, MEASURED) == pytest.approx(0.10)  # too fast is as wrong as too slow
    assert margin_for(0.8, MEASURED) == pytest.approx(0.15)


def test_between_bands_it_is_linear_and_below_them_level() -> None:
    assert margin_for(0.45, MEASURED) == pytest.approx(0.075)
    assert margin_for(0.7, MEASURED) == pytest.approx(0.125)
    assert margin_for(0.0, MEASURED) == margin_for(0.3, MEASURED)


def test_above_the_bands_it_grows_as_a_queue_does() -> None:
    assert margin_for(0.9, MEASURED) == pytest.approx(0.30)
    assert margin_for(5.0, MEASURED) == margin_for(0.95, MEASURED) == MOST_MARGIN


@pytest.mark.parametrize("nothing", [None, TwinError(())])
def test_nothing_measured_is_no_trust(nothing: TwinError | None) -> None:
    assert margin_for(0.3, nothing) == pytest.approx(0.10)
    assert margin_for(0.7, nothing) == pytest.approx(0.15)
    assert margin_for(0.8, nothing) == pytest.approx(0.20)
    assert margin_for(math.nan, nothing) == MOST_MARGIN
    assert margin_for(0.5, nothing) == margin_for(0.5, UNMEASURED)


bands = st.builds(ErrorBand, st.floats(0.0, 1.2), st.floats(-2, 2), st.floats(0, 2))


@given(st.lists(bands, max_size=5), st.floats(-1, 3))
def test_it_is_always_a_usable_number(found: list[ErrorBand], load: float) -> None:
    margin = margin_for(load, TwinError(tuple(found)))
    assert 0.0 <= margin <= MOST_MARGIN
    assert margin == margin_for(load, TwinError(tuple(reversed(found)))) or len({b.load for b in found}) < len(found)


def test_the_file_is_read_whatever_else_is_in_it() -> None:
    text = (
        '{"format": 1, "machine": {}, "bands": [{"load": 0.3, "mean_error": 0.02, "half_width": 0.03, "aim": 0.1}]}'
    )
    assert read_twin_error(text).bands == (ErrorBand(0.3, 0.02, 0.03),)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{}", "bands"),
        ('{"format": 9, "bands": []}', "format 9"),
        ('{"bands": [{"load": 0.3, "mean_error": "x", "half_width": 0}]}', "mean_error"),
        ('{"bands": [{"load": -1, "mean_error": 0, "half_width": 0}]}', "not a measured band"),
    ],
)
def test_a_file_that_is_none_is_said(text: str, match: str) -> None:
    with pytest.raises(BadInput, match=match) as caught:
        read_twin_error(text, "fidelity.json")
    assert caught.value.where == "fidelity.json"
