"""The nodes a dispatch looks at: all of a few, else as many as asked for, none twice, the access node among them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgewise.policy.dispatch import READY, empty_fleet
from edgewise.policy.sample import candidates


@given(st.data())
def test_a_sample_is_ascending_and_has_the_access_node(data: st.DataObject) -> None:
    nodes = data.draw(st.integers(2, 60))
    holders = np.array(sorted(data.draw(st.sets(st.integers(0, nodes - 1), min_size=1))), np.int64)
    access = data.draw(st.integers(0, nodes - 1))
    most = data.draw(st.integers(1, nodes))
    draw = data.draw(st.floats(0.0, 1.0, exclude_max=True))
    fleet = empty_fleet(nodes, 1)
    fleet.state[holders, 0] = READY
    picked = np.full(nodes, -1, np.int64)
    count = candidates(fleet, holders, len(holders), access, 0, draw, most, picked)
    found = picked[:count].tolist()
    assert count == min(most, len(holders))
    assert found == sorted(set(found))
    assert set(found) <= set(holders.tolist())
    if access in holders:
        assert access in found
