"""Monotone fits, against scikit-learn, by brute force and by properties."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from aiopslab.grading.monotone import (
    RIDGE,
    isotonic_grid,
    isotonic_line,
    nonnegative_logistic,
    pool_adjacent_violators,
)

tenths = st.integers(0, 10).map(lambda i: i / 10)
points = st.lists(st.tuples(tenths, st.floats(0, 1)), min_size=1, max_size=40)


def drawn(seed: int, n: int, weights: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Features and outcomes of a logistic law."""
    chance = np.random.default_rng(seed)
    features = chance.normal(0, 1.5, (n, len(weights)))
    p = 1 / (1 + np.exp(-(features @ np.array(weights) - 0.3)))
    return features, (chance.random(n) < p).astype(float)


@given(points)
@settings(max_examples=60)
def test_the_line_is_scikit_learns(told: list[tuple[float, float]]) -> None:
    x, y = np.array([a for a, _ in told]), np.array([b for _, b in told])
    knots, values = isotonic_line(x, y)
    at = np.linspace(-0.2, 1.2, 57)
    oracle = IsotonicRegression(out_of_bounds="clip").fit(x, y)
    assert np.interp(at, knots, values) == pytest.approx(oracle.predict(at), abs=1e-9)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 9)), min_size=1, max_size=30))
@settings(max_examples=60)
def test_pooling_keeps_the_mean_and_never_falls(told: list[tuple[float, int]]) -> None:
    values, weights = np.array([v for v, _ in told]), np.array([float(w) for _, w in told])
    fitted = pool_adjacent_violators(values, weights)
    assert np.all(np.diff(fitted) >= -1e-12)
    assert fitted @ weights == pytest.approx(values @ weights)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.lists(st.integers(1, 9), min_size=9))
@settings(max_examples=60)
def test_a_grid_of_one_column_is_a_line(told: list[float], masses: list[int]) -> None:
    values = np.array(told)
    weights = np.array(masses[: len(told)], dtype=float)
    line = pool_adjacent_violators(values, weights)
    assert isotonic_grid(values[:, None], weights[:, None])[:, 0] == pytest.approx(line)
    assert isotonic_grid(values[None, :], weights[None, :])[0] == pytest.approx(line)


def test_no_monotone_grid_is_nearer() -> None:
    values = np.array([[0.5, 0.25, 0.75], [0.25, 1.0, 0.0]])
    weights = np.array([[1.0, 2.0, 1.0], [3.0, 1.0, 2.0]])
    fitted = isotonic_grid(values, weights)
    assert np.all(np.diff(fitted, axis=0) >= 0)
    assert np.all(np.diff(fitted, axis=1) >= 0)
    least = np.sum(weights * (fitted - values) ** 2)
    levels = np.linspace(0, 1, 9)
    for cells in product(levels, repeat=6):
        grid = np.array(cells).reshape(2, 3)
        if np.all(np.diff(grid, axis=0) >= 0) and np.all(np.diff(grid, axis=1) >= 0):
            assert np.sum(weights * (grid - values) ** 2) >= least - 1e-12


def test_where_all_weights_are_positive_the_logistic_fit_is_scikit_learns() -> None:
    features, right = drawn(3, 400, [0.8, 0.5])
    intercept, weights = nonnegative_logistic(features, right)
    oracle = LogisticRegression(C=1 / RIDGE, tol=1e-10).fit(features, right)
    assert weights == pytest.approx(oracle.coef_[0], abs=1e-5)
    assert intercept == pytest.approx(oracle.intercept_[0], abs=1e-5)


def test_a_feature_that_speaks_against_being_right_gets_no_weight() -> None:
    features, right = drawn(5, 300, [1.0, -1.0])
    intercept, weights = nonnegative_logistic(features, right)
    assert weights[0] > 0.3
    assert weights[1] == 0.0
    alone = nonnegative_logistic(features[:, :1], right)
    assert (intercept, weights[0]) == pytest.approx((alone[0], alone[1][0]))


def test_nothing_is_certain_where_targets_are_not() -> None:
    intercept, weights = nonnegative_logistic(np.zeros((60, 2)), np.full(60, 61 / 62))
    assert 1 / (1 + np.exp(-intercept)) == pytest.approx(61 / 62, abs=1e-6)
    assert weights == pytest.approx([0.0, 0.0])
