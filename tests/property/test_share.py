"""On-node sharing: in proportion, nobody starves, never idle while there is work, no credit for idleness."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.policy.share import MIN_SHARE, NOBODY, charge, next_model, wake

shares_of = st.lists(st.floats(0.05, 20.0), min_size=1, max_size=6)
steps_s = st.floats(0.001, 0.1)


def run(shares: list[float], steps: list[float], until_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Service seconds and virtual times after `until_s` seconds in which every model always has work."""
    weights, virtual, served = np.array(shares), np.zeros(len(shares)), np.zeros(len(shares))
    busy = np.ones(len(shares), dtype=np.bool_)
    while served.sum() < until_s:
        m = next_model(virtual, busy)
        charge(virtual, weights, m, steps[m])
        served[m] += steps[m]
    return served, virtual


@settings(deadline=None, max_examples=60)
@given(st.data(), shares_of)
def test_service_is_in_proportion_to_shares(data: st.DataObject, shares: list[float]) -> None:
    steps = data.draw(st.lists(steps_s, min_size=len(shares), max_size=len(shares)))
    served, _ = run(shares, steps, until_s=20.0)
    normalised = served / np.array(shares)
    # Start-time fair queueing: two models with work never differ by more than one step of each.
    slack = np.array(steps) / np.array(shares)
    for a in range(len(shares)):
        for b in range(len(shares)):
            assert abs(normalised[a] - normalised[b]) <= slack[a] + slack[b] + 1e-9


@settings(deadline=None, max_examples=60)
@given(st.data(), shares_of)
def test_nobody_starves(data: st.DataObject, shares: list[float]) -> None:
    steps = data.draw(st.lists(steps_s, min_size=len(shares), max_size=len(shares)))
    weights = np.array(shares)
    # A model is served at least once while the others advance by one of its steps, in virtual time.
    bound = sum(weights) * max(s / w for s, w in zip(steps, shares, strict=True)) + sum(steps)
    served, _ = run(shares, steps, until_s=bound + 0.01)
    assert (served > 0).all()


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), min_size=1, max_size=8))
def test_a_node_is_never_idle_while_there_is_work(models: list[tuple[float, bool]]) -> None:
    virtual = np.array([v for v, _ in models])
    busy = np.array([b for _, b in models])
    chosen = next_model(virtual, busy)
    if not busy.any():
        assert chosen == NOBODY
    else:
        assert busy[chosen]
        assert virtual[chosen] == virtual[busy].min()


@settings(deadline=None)
@given(st.floats(0.1, 100.0), st.floats(0.001, 0.05))
def test_idleness_earns_no_credit(alone_s: float, step_s: float) -> None:
    virtual, weights = np.zeros(2), np.ones(2)
    clock_s = 0.0
    for _ in range(int(min(alone_s / step_s, 500))):
        clock_s = virtual[0]
        charge(virtual, weights, 0, step_s)
    wake(virtual, 1, clock_s)
    served = [0, 0]
    for _ in range(40):
        m = next_model(virtual, np.ones(2, dtype=np.bool_))
        charge(virtual, weights, m, step_s)
        served[m] += 1
    assert abs(served[0] - served[1]) <= 2


@settings(deadline=None)
@given(st.floats(0.0, 1e-9), st.floats(0.5, 2.0))
def test_a_vanishing_share_still_moves(tiny: float, other: float) -> None:
    virtual, weights = np.zeros(2), np.array([tiny, other])
    charge(virtual, weights, 0, 1.0)
    assert np.isfinite(virtual[0])
    assert virtual[0] <= 1.0 / (MIN_SHARE * other) + 1e-6
