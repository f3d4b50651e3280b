"""Exact transition draws: moments, composition, limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from diffbook.sde import exact

NUM = 50_000
LAW = dict(rate=1.5, mean=-0.5, sigma=0.9)


def moments(x0, t, rate, mean, sigma):
    return mean + (x0 - mean) * np.exp(-rate * t), sigma**2 * -np.expm1(-2 * rate * t) / (2 * rate)


@pytest.mark.parametrize("t", [1e-3, 0.4, 30.0])
def test_law_of_a_leap(t):
    x = exact.ornstein_uhlenbeck(jnp.full(NUM, 2.0), t, **LAW, key=jax.random.key(0))
    mean, var = moments(2.0, t, **LAW)
    assert abs(x.mean() - mean) < 4 * np.sqrt(var / NUM)
    assert abs(x.var() - var) < 4 * var * np.sqrt(2 / NUM)
    assert stats.kstest((np.asarray(x, float) - mean) / np.sqrt(var), "norm").pvalue > 1e-3


def test_two_leaps_make_one():
    first, second = jax.random.split(jax.random.key(1))
    x = exact.ornstein_uhlenbeck(jnp.full(NUM, 2.0), 0.3, **LAW, key=first)
    x = exact.ornstein_uhlenbeck(x, 0.5, **LAW, key=second)
    mean, var = moments(2.0, 0.8, **LAW)
    assert abs(x.mean() - mean) < 4 * np.sqrt(var / NUM)
    assert abs(x.var() - var) < 4 * var * np.sqrt(2 / NUM)


@settings(deadline=None, derandomize=True, max_examples=20)
@given(rate=st.floats(-2, 5), mean=st.floats(-3, 3), sigma=st.floats(0, 2), t=st.floats(0, 3))
def test_same_key_means_the_same_normal_number(rate, mean, sigma, t):
    with jax.enable_x64(True):
        x0, key = jnp.array([[0.3, -1.0]]), jax.random.key(2)
        x = exact.ornstein_uhlenbeck(x0, t, rate=rate, mean=mean, sigma=sigma, key=key)
        var = sigma**2 * t if abs(rate) < 1e-12 else sigma**2 * -np.expm1(-2 * rate * t) / (2 * rate)
        expected = mean + (x0 - mean) * np.exp(-rate * t) + np.sqrt(var) * jax.random.normal(key, (1, 2), x0.dtype)
        np.testing.assert_allclose(x, expected, rtol=1e-9, atol=1e-9)


def test_limits_and_their_gradients():
    x0, key = jnp.ones(3), jax.random.key(3)
    np.testing.assert_array_equal(exact.ornstein_uhlenbeck(x0, 0.0, **LAW, key=key), x0)
    free = exact.ornstein_uhlenbeck(x0, 4.0, rate=0.0, mean=9.0, sigma=0.5, key=key)
    np.testing.assert_allclose(free, x0 + jax.random.normal(key, (3,)), rtol=1e-6)

    def at(rate):
        return exact.ornstein_uhlenbeck(x0, 1.0, rate=rate, mean=0.0, sigma=1.0, key=key).sum()

    np.testing.assert_allclose(jax.grad(at)(1e-3), (at(2e-3) - at(0.0)) / 2e-3, rtol=2e-2)


def test_a_time_for_each_sample_under_jit_and_vmap():
    x0, ts, key = jnp.linspace(0.0, 1.0, 6).reshape(3, 2), jnp.array([0.0, 0.5, 1.0]), jax.random.key(4)

    def leap(t):
        return exact.ornstein_uhlenbeck(x0, t, **LAW, key=key)

    all_at_once = leap(ts[:, None])
    one_by_one = jax.jit(jax.vmap(leap))(ts)
    np.testing.assert_allclose(all_at_once, jnp.stack([one_by_one[i, i] for i in range(3)]), rtol=1e-5)


def test_dtype_and_shape():
    with jax.enable_x64(True):
        for dtype, shape in ((jnp.bfloat16, ()), (jnp.float32, (3,)), (jnp.float64, (2, 3, 4))):
            x = exact.ornstein_uhlenbeck(jnp.zeros(shape, dtype), 1.0, **LAW, key=jax.random.key(5))
            assert x.dtype == dtype and x.shape == shape


@pytest.mark.parametrize(
    "changed, message",
    [
        (dict(t=-1.0), r"exact.ornstein_uhlenbeck needs t >= 0, got t=-1.0; pass"),
        (dict(sigma=-2.0), r"exact.ornstein_uhlenbeck needs sigma >= 0, got sigma=-2.0; pass"),
        (dict(rate=np.nan), r"exact.ornstein_uhlenbeck needs finite numbers, got rate"),
        (dict(key=3), r"exact.ornstein_uhlenbeck needs a typed random key, got key=3; pass key=jax.random.key"),
        (dict(x0=jnp.arange(3)), r"exact.ornstein_uhlenbeck needs real floating-point numbers, got x0 of dtype int32"),
    ],
)
def test_bad_input(changed, message):
    given = dict(x0=jnp.ones(3), t=1.0, key=jax.random.key(0), **LAW) | changed
    with pytest.raises(ValueError, match=message):
        exact.ornstein_uhlenbeck(given.pop("x0"), given.pop("t"), **given)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_export(platform):
    def leap(x0, seed):
        return exact.ornstein_uhlenbeck(x0, 1.0, **LAW, key=jax.random.key(seed))

    assert jax.export.export(jax.jit(leap), platforms=[platform])(jnp.ones(8), 0).platforms == (platform,)
