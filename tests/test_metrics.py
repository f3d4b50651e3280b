"""Metrics against closed forms, and against data made to be good or bad in one way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from diffbook import data, metrics


def with_moments(mean, cov, n=50, seed=0):
    """Samples whose mean and covariance (divisor n - 1) are exactly the ones asked for."""
    d = len(mean)
    z = np.random.default_rng(seed).normal(size=(n, d))
    z = z - z.mean(0)
    z = z @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(z, rowvar=False)))).T
    return z @ np.linalg.cholesky(cov).T + mean


def covariance(rng, d):
    a = rng.normal(size=(d, d + 2))
    return a @ a.T / d


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.integers(1, 12), st.integers(0, 10**6))
def test_frechet_distance_is_the_formula_with_scipys_root(d, seed):
    rng = np.random.default_rng(seed)
    (m1, m2), (c1, c2) = rng.normal(size=(2, d)), (covariance(rng, d), covariance(rng, d))
    expected = ((m1 - m2) ** 2).sum() + np.trace(c1 + c2 - 2 * sqrtm(c1 @ c2).real)
    x, y = with_moments(m1, c1, seed=seed), with_moments(m2, c2, n=80, seed=seed + 1)
    assert metrics.frechet_distance(x, y) == pytest.approx(expected, rel=1e-8, abs=1e-8)
    assert metrics.frechet_distance(y, x) == pytest.approx(expected, rel=1e-8, abs=1e-8)


def test_frechet_distance_of_commuting_covariances():
    x = with_moments(np.zeros(2), np.diag([1.0, 4.0]))
    y = with_moments(np.array([3.0, 0.0]), np.diag([9.0, 0.25]), seed=1)
    assert metrics.frechet_distance(x, y) == pytest.approx(9 + (1 - 3) ** 2 + (2 - 0.5) ** 2, rel=1e-10)


def test_frechet_distance_is_zero_for_the_same_samples_and_bears_singular_covariances():
    x = np.random.default_rng(0).normal(size=(100, 6))
    x[:, 2] = 0  # a dead pixel
    x[:, 3] = x[:, 4]
    assert metrics.frechet_distance(x, x) < 1e-6  # root of rounding error in the dead directions
    assert metrics.frechet_distance(x.reshape(100, 2, 3), x.reshape(100, 3, 2)) < 1e-6


@pytest.mark.parametrize("n", [50, 200])
def test_floor_shrinks_as_one_over_n_and_matches_the_mean_term(n):
    """In one dimension, between two samples of n from N(0, 1): 2/n from the means, 1/n from the standard deviations
    (each has variance 1/(2n)), to first order."""
    rng = np.random.default_rng(n)
    draws = [metrics.frechet_distance(rng.normal(size=(n, 1)), rng.normal(size=(n, 1))) for _ in range(400)]
    error = np.std(draws) / np.sqrt(len(draws))
    assert abs(np.mean(draws) - 3 / n) < 4 * error + 3 / n**1.5


def test_floor_takes_equal_counts_class_by_class(monkeypatch):
    seen = []
    monkeypatch.setattr(metrics, "frechet_distance", lambda x, y: seen.append((x, y)) or 0.0)
    train_labels, test_labels = np.repeat([0, 1], [30, 50]), np.repeat([0, 1], [10, 5])
    train, test = train_labels[:, None] + np.zeros((80, 2)), test_labels[:, None] + np.zeros((15, 2))
    assert metrics.frechet_floor(train, test, train_labels=train_labels, test_labels=test_labels) == (0.0, 0.0)
    assert len(seen) == 20
    for x, y in seen:
        assert x.shape == y.shape == (15, 2)
        assert np.bincount(x[:, 0].astype(int)).tolist() == [10, 5]


def test_nearest_neighbours_by_brute_force():
    rng = np.random.default_rng(0)
    x, train = rng.normal(size=(20, 2, 3)), rng.normal(size=(30, 2, 3))
    everything = np.sqrt(((x[:, None] - train[None]) ** 2).sum((2, 3)))
    distances, indices = metrics.nearest_neighbours(x, train)
    assert np.array_equal(indices, everything.argmin(1))
    np.testing.assert_allclose(distances, everything.min(1), rtol=1e-12)


def test_ratio_tells_copies_from_news():
    rng = np.random.default_rng(0)
    train, heldout, new = (rng.normal(size=(n, 16)) for n in (500, 300, 300))
    assert metrics.nearest_neighbour_ratio(train[:100], train, heldout) == 0
    assert metrics.nearest_neighbour_ratio(heldout, train, heldout) == 1
    assert metrics.nearest_neighbour_ratio(new, train, heldout) == pytest.approx(1, abs=0.05)
    assert metrics.nearest_neighbour_ratio(new + 5, train, heldout) > 2


def test_class_agreement_on_real_digits():
    train, train_labels = data.digits("train")
    test, test_labels = data.digits("test")
    accuracy = metrics.class_agreement(test, test_labels, train, train_labels)
    assert 0.98 <= accuracy < 1
    assert metrics.class_agreement(test, (test_labels + 1) % 10, train, train_labels) <= 1 - accuracy


def test_real_digits_meet_their_floor_and_constant_ones_do_not():
    train, train_labels = data.digits("train")
    test, test_labels = data.digits("test")
    mean, spread = metrics.frechet_floor(train, test, train_labels=train_labels, test_labels=test_labels)
    assert 0 < spread < 0.2 * mean
    means = np.stack([train[train_labels == digit].mean(0) for digit in test_labels])
    assert metrics.frechet_distance(means, test) > 10 * mean
    assert mean == metrics.frechet_floor(train, test, train_labels=train_labels, test_labels=test_labels)[0]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: metrics.frechet_distance(np.zeros((3, 2)), np.zeros((3, 4))), "one size, got 2 and 4"),
        (lambda: metrics.frechet_distance(np.zeros((1, 2)), np.zeros((3, 2))), "n >= 2"),
        (lambda: metrics.frechet_distance(np.full((3, 2), np.nan), np.zeros((3, 2))), "finite"),
        (lambda: metrics.class_agreement(np.zeros((3, 2)), [0, 1], np.eye(2), [0, 1]), "one label per sample"),
        (
            lambda: metrics.frechet_floor(np.eye(3), np.eye(3), train_labels=[0, 1, 1], test_labels=[0, 0, 1]),
            "got 1 < 2 of class 0",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
