"""Compiles the optimiser's kernels by an estimate of one replica on one node."""

from __future__ import annotations

import numpy as np

from edgewise.optimise.batch import Ground, predict_all
from edgewise.optimise.filling import fill_all, fill_model
from edgewise.optimise.kernels import Standing, Terms, flows_of, latencies_of, scratch


def precompile() -> None:
    """Have every kernel compiled, or read from the cache."""
    one, none = np.ones(1), np.zeros(1, np.int64)
    ends = np.array([0, 1])
    fill_model(none, np.zeros(1), np.zeros(1), one, 1.0)
    fill_all(ends, none, none.copy(), one, one.copy(), np.zeros(1), np.zeros(1), 1, -1.0)
    st = Standing(none, none.copy(), ends, one, one.copy(), np.zeros(1), np.zeros(1), np.zeros(1))
    terms, rates = Terms(one, one.copy(), one.copy(), 1.0, 1.0), np.full((1, 1), 0.5)
    flows, trips = np.zeros((1, 1)), np.zeros((1, 1))
    flows_of(st, one, rates, np.zeros((1, 1, 1)), flows, trips)
    latencies_of(terms, st, flows, trips, rates, scratch(1, 1, 1), np.empty((1, 1)), np.zeros((1, 1)))
    square = np.ones((1, 1))
    ground = Ground(square, square.copy(), one, one.copy(), one.copy(), none, 0.02, 1e-3, 1)
    predict_all(terms, ground, np.ones((1, 1, 1), np.bool_), rates, np.zeros((1, 1, 1)))
