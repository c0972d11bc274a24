"""The networks without torch, and the file they are kept in."""

from __future__ import annotations

import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edgewise.domain.errors import BadInput
from evals.hdrl.features import PLACE_FEATURES, ROUTE_FEATURES
from evals.hdrl.network import CHECKPOINT, Network, Networks, load, save


def network(features: int, seed: int = 1) -> Network:
    rng = np.random.default_rng(seed)
    sizes = (features, 8, 8, 1)
    return Network(
        tuple(rng.normal(size=(a, b)) for a, b in pairwise(sizes)),
        tuple(rng.normal(size=b) for b in sizes[1:]),
    )


def test_a_score_reckoned_by_hand() -> None:
    small = Network((np.array([[1.0], [2.0]]), np.array([[3.0]])), (np.array([0.5]), np.array([-1.0])))
    assert small.score(np.array([0.1, 0.2])) == pytest.approx(3 * np.tanh(0.1 + 0.4 + 0.5) - 1)


def test_networks_survive_their_file(tmp_path: Path) -> None:
    written = Networks(network(PLACE_FEATURES), network(ROUTE_FEATURES, 2))
    save(tmp_path / "n.npz", written)
    read = load(tmp_path / "n.npz")
    features = np.random.default_rng(3).normal(size=(4, 3, ROUTE_FEATURES))
    assert written.route is not None
    assert read.route is not None
    np.testing.assert_allclose(read.route.score(features), written.route.score(features), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 broken"])
def test_a_broken_file_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "n.npz"
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        load(path)
    assert str(path) in str(caught.value.where)
    assert "evals.hdrl.train" in str(caught.value.hint)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        load(tmp_path / "none.npz")


def test_a_network_for_other_features_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "n.npz", Networks(network(PLACE_FEATURES + 1), network(ROUTE_FEATURES)))
    with pytest.raises(BadInput, match="features"):
        load(tmp_path / "n.npz")


def test_a_file_with_pickles_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "n.npz", "w") as file, file.open("place/0/weight.npy", "w") as member:
        np.lib.format.write_array(member, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadInput):
        load(tmp_path / "n.npz")


def test_the_shipped_checkpoint_is_small_and_loads() -> None:
    assert CHECKPOINT.stat().st_size < 300_000
    found = load()
    assert found.place is not None
    assert found.route is not None
