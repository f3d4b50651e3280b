"""Coins for noise: a binomial walk, Euler's moments, and no correlation between steps or paths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.tree_util import Partial
from scipy.stats import binom

from diffbook.sde import SDE, brownian, ornstein_uhlenbeck, weak_signs

LAM, MU = -1.0, 0.7
GROWTH = SDE(lambda x, t: LAM * x, lambda x, t: MU * x)


@pytest.mark.parametrize("n", [1, 7, 32, 40])
def test_make_a_binomial_walk(n):
    """W_n / sqrt(dt) is 2 Binomial(n, 1/2) - n: every frequency within 4 standard errors."""
    paths = 40_000
    w = weak_signs(brownian(0.5), jnp.zeros(paths), jnp.arange(n + 1.0), key=jax.random.key(5))
    count = np.bincount(np.round((np.asarray(w) + n) / 2).astype(int), minlength=n + 1)
    p = binom.pmf(np.arange(n + 1), n, 0.5)
    assert (np.abs(count / paths - p) <= 4 * np.sqrt(p * (1 - p) / paths) + 1e-3 * (p < 1e-3)).all()


def coins_of(num_steps, paths, key):
    """Every coin, shape (steps, paths): steps of 1, each weighted with its power of two, so that the end holds all."""
    with jax.enable_x64(True):
        ts, coins = jnp.arange(num_steps + 1.0), []

        def sde(first):  # the coins of 32 steps from here on, and no others
            def weight(first, x, t):
                here = (t >= first) & (t < first + 32)
                return jnp.where(here, 2.0 ** jnp.clip(t - first, 0, 31), 0.0) * jnp.ones_like(x)

            return SDE(lambda x, t: jnp.zeros_like(x), Partial(weight, jnp.float64(first)))

        for first in range(0, num_steps, 32):
            end = np.asarray(weak_signs(sde(first), jnp.zeros(paths), ts, key=key), np.int64)
            steps = min(32, num_steps - first)
            heads = (end + 2**steps - 1) // 2
            coins += [2 * (heads >> k & 1) - 1 for k in range(steps)]
            np.testing.assert_array_equal(end, sum(2**k * coin for k, coin in enumerate(coins[first:])))
    return np.array(coins)


def test_of_steps_and_of_paths_are_uncorrelated():
    paths, key = 4096, jax.random.key(2)
    coins = coins_of(64, paths, key)
    for a, b in ((coins[1:], coins[:-1]), (coins[32:], coins[:-32]), (coins[:, 1:], coins[:, :-1])):
        assert abs((a * b).mean()) < 4 / np.sqrt(a.size)
    for n in (1, 31, 33, 64):  # a shorter walk throws the same
        end = weak_signs(brownian(0.5), jnp.zeros(paths), jnp.arange(n + 1.0), key=key)
        np.testing.assert_array_equal(end, coins[:n].sum(0))


def test_have_the_moments_of_euler_exactly():
    """On a linear equation the mean and the mean square are those of Euler with normal increments."""
    with jax.enable_x64(True):
        n, h, paths = 50, 0.02, 200_000
        x = weak_signs(GROWTH, jnp.ones(paths), jnp.linspace(0, 1, n + 1), key=jax.random.key(3))
        for p, expected in ((1, (1 + LAM * h) ** n), (2, ((1 + LAM * h) ** 2 + MU**2 * h) ** n)):
            sample = np.asarray(x) ** p
            assert abs(sample.mean() - expected) < 4 * sample.std() / np.sqrt(paths)


def test_shapes_dtypes_grids():
    x = weak_signs(
        ornstein_uhlenbeck(1.0, 0.0, 1.0),
        jnp.zeros((3, 5), jnp.float32),
        jnp.array([1.0, 0.5, 0.0]),
        key=jax.random.key(0),
    )
    assert x.shape == (3, 5) and x.dtype == jnp.float32
    assert weak_signs(GROWTH, jnp.ones(()), jnp.array([0.0, 1.0]), key=jax.random.key(0)).shape == ()
    again = weak_signs(
        ornstein_uhlenbeck(1.0, 0.0, 1.0),
        jnp.zeros((3, 5), jnp.float32),
        jnp.array([1.0, 0.5, 0.0]),
        key=jax.random.key(0),
    )
    np.testing.assert_array_equal(x, again)


def test_same_on_eight_devices():
    mesh = jax.make_mesh((8,), ("paths",))
    x0 = jnp.linspace(0, 1, 64)
    spread = jax.device_put(x0, jax.NamedSharding(mesh, jax.P("paths")))
    ts = jnp.linspace(0, 1, 50)
    one, many = (weak_signs(GROWTH, x, ts, key=jax.random.key(1)) for x in (x0, spread))
    np.testing.assert_allclose(one, many, rtol=1e-6)
    assert len(many.sharding.device_set) == 8


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_export(platform):
    f = jax.jit(lambda x, key: weak_signs(GROWTH, x, np.linspace(0, 1, 40), key=key))
    key = jax.eval_shape(lambda: jax.random.key(0))
    export.export(f, platforms=[platform])(jax.ShapeDtypeStruct((8,), jnp.float32), key)


def test_bad_input():
    with pytest.raises(ValueError, match="rise, or fall"):
        weak_signs(GROWTH, jnp.ones(2), jnp.zeros(2), key=jax.random.key(0))
    with pytest.raises(ValueError, match="typed random key"):
        weak_signs(GROWTH, jnp.ones(2), jnp.array([0.0, 1.0]), key=jnp.zeros(2, jnp.uint32))
    with pytest.raises(ValueError, match="floating"):
        weak_signs(GROWTH, jnp.ones(2, int), jnp.array([0.0, 1.0]), key=jax.random.key(0))
