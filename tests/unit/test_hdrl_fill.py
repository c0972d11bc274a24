"""The greedy fill by score, and weights by softmax, on cases done by hand."""

from __future__ import annotations

import numpy as np

from evals.hdrl.fill import fill, weights

SPEED = np.ones(3)


def test_equal_scores_cover_models_evenly() -> None:
    placed = fill(np.array([2.0, 2.0, 2.0]), np.array([1.0, 1.0, 1.0]), SPEED, np.zeros((3, 3)))
    assert placed.sum(axis=0).tolist() == [2, 2, 2]
    assert placed.sum(axis=1).tolist() == [2, 2, 2]


def test_speed_goes_to_models_as_their_scores_say() -> None:
    """Three times the demand: three of four nodes."""
    scores = np.log(np.array([[3.0, 1.0]] * 4))
    placed = fill(np.ones(4), np.ones(2), np.ones(4), scores)
    assert placed.sum(axis=0).tolist() == [3, 1]


def test_every_model_comes_first_however_low_its_score() -> None:
    scores = np.array([[5.0, -5.0], [5.0, -5.0]])
    placed = fill(np.array([1.0, 1.0]), np.array([1.0, 1.0]), np.ones(2), scores)
    assert placed.any(axis=0).all()


def test_the_largest_model_gets_the_only_node_it_fits_on() -> None:
    scores = np.array([[0.0, 9.0], [0.0, 0.0]])
    placed = fill(np.array([4.0, 1.0]), np.array([4.0, 1.0]), np.ones(2), scores)
    assert placed.tolist() == [[True, False], [False, True]]


def test_a_replica_goes_where_its_score_is_best() -> None:
    placed = fill(np.ones(3), np.array([1.0]), SPEED, np.array([[0.0], [2.0], [1.0]]))
    first = fill(np.array([0.0, 1.0, 0.0]), np.array([1.0]), SPEED, np.array([[0.0], [2.0], [1.0]]))
    assert placed.all()
    assert first.tolist() == [[False], [True], [False]]


def test_a_node_that_a_model_does_not_fit_on_lends_it_no_score() -> None:
    """m-0 scores high on the node that is too small for it; that must not put it before m-1 on the others."""
    scores = np.array([[9.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    placed = fill(np.array([1.0, 2.0, 2.0, 2.0]), np.array([2.0, 1.5]), np.ones(4), scores)
    assert placed.sum(axis=0).tolist() == [1, 2]


def test_nothing_stands_on_a_node_that_is_down() -> None:
    assert not fill(np.zeros(2), np.ones(2), np.ones(2), np.zeros((2, 2))).any()


def test_weights_are_a_softmax_over_the_nodes_with_a_replica() -> None:
    found = weights(np.log(np.array([[1.0], [3.0], [9.0]])), np.array([[True], [True], [False]]))
    np.testing.assert_allclose(found[:, 0], [0.25, 0.75, 0.0])


def test_a_model_without_a_replica_has_no_weights() -> None:
    assert not weights(np.zeros((2, 1)), np.zeros((2, 1), dtype=bool)).any()
