"""The two trained networks, as arrays: inference needs numpy and nothing else.

A network scores one (node, model) pair from its features; all pairs share it, so it runs on any N×M. A score is a
prior plus what was learned (residual policy learning, Silver et al., arXiv 1812.06298).
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from edgewise.domain.errors import BadInput
from edgewise.twin.demand import Floats
from evals.hdrl.features import PLACE_FEATURES, ROUTE_FEATURES

CHECKPOINT = Path(__file__).with_name("checkpoint.npz")
LAYERS = 3
RETRAIN = "train it again: python -m evals.hdrl.train"


class Network(NamedTuple):
    """A perceptron with tanh between layers. weights: [in, out] each; biases: [out] each."""

    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]

    def score(self, features: Floats) -> Floats:
        """[…, F] → […]."""
        x = features
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ w + b
            if i < len(self.weights) - 1:
                x = np.tanh(x)
        return np.asarray(x[..., 0])


class Networks(NamedTuple):
    """None: nothing learned, the prior alone."""

    place: Network | None
    route: Network | None


PRIOR_ONLY = Networks(None, None)


def save(path: Path, networks: Networks) -> None:
    """Writes an .npz of single-precision arrays named level/layer/kind."""
    arrays: dict[str, NDArray[np.float32]] = {}
    for level, network in zip(Networks._fields, networks, strict=True):
        if network is not None:
            for i, (w, b) in enumerate(zip(network.weights, network.biases, strict=True)):
                arrays |= {f"{level}/{i}/weight": w.astype(np.float32), f"{level}/{i}/bias": b.astype(np.float32)}
    np.savez_compressed(path, allow_pickle=False, **arrays)


@cache
def load(path: Path = CHECKPOINT) -> Networks:
    """Raises BadInput for a file that is missing, broken, or made for other features."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: np.asarray(arrays[name], np.float64) for name in arrays.files}
        return Networks(_network(found, "place", PLACE_FEATURES), _network(found, "route", ROUTE_FEATURES))
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise BadInput(f"not a checkpoint of hdrl: {error}", where=str(path), hint=RETRAIN) from error


def _network(arrays: dict[str, Floats], level: str, features: int) -> Network:
    weights = tuple(arrays[f"{level}/{i}/weight"] for i in range(LAYERS))
    biases = tuple(arrays[f"{level}/{i}/bias"] for i in range(LAYERS))
    if weights[0].shape[0] != features or weights[-1].shape[1] != 1:
        raise ValueError(f"{level} takes {weights[0].shape[0]} features, not {features}")
    if any(a.shape[1] != b.shape[0] for a, b in pairwise(weights)):
        raise ValueError(f"the layers of {level} do not fit each other")
    if any(w.shape[1:] != b.shape for w, b in zip(weights, biases, strict=True)):
        raise ValueError(f"the biases of {level} do not fit its weights")
    return Network(weights, biases)
