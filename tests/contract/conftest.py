"""Real node servers for the contract suites: started once, as importing the model libraries takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.contract.node_world import RealNodes


@pytest.fixture(scope="session")
def real_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNodes]:
    if find_spec("torch") is None:
        pytest.skip("node servers need the serving extra (torch)")
    nodes = RealNodes(tmp_path_factory.mktemp("nodes"))
    try:
        nodes.start()
        yield nodes
    finally:
        nodes.close()
