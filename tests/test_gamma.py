"""Gamma variates: their law, at every shape, and what is no shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from diffbook.sde.gamma import standard_gamma

KEY = jax.random.key(3)


@pytest.mark.parametrize("shape", [0.2, 0.5, 1.0, 2.5, 400.0])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_law(shape, dtype):
    with jax.enable_x64(True):
        y = np.asarray(standard_gamma(KEY, jnp.full(50_000, shape, dtype)))
        assert y.dtype == dtype
        assert stats.kstest(y.astype(float), stats.gamma(shape).cdf).pvalue > 1e-3


def test_each_entry_has_its_own_shape():
    shapes = jnp.repeat(jnp.array([0.3, 3.0, 30.0]), 20_000).reshape(3, 20_000)
    y = np.asarray(standard_gamma(KEY, shapes), float)
    wanted = np.array([0.3, 3.0, 30.0])
    assert np.all(np.abs(y.mean(axis=1) - wanted) < 4 * np.sqrt(wanted / 20_000))
    assert np.all(np.abs(y.var(axis=1) / wanted - 1) < 4 * np.sqrt((2 + 6 / wanted) / 20_000))


def test_zero_and_what_is_no_shape():
    y = standard_gamma(KEY, jnp.array([0.0, -1.0, jnp.nan, 2.0]))
    assert y[0] == 0 and jnp.isnan(y[1]) and jnp.isnan(y[2]) and y[3] > 0
    assert standard_gamma(KEY, jnp.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_exports(platform):
    f = jax.jit(lambda data, a: standard_gamma(jax.random.wrap_key_data(data), a))
    assert jax.export.export(f, platforms=[platform])(jax.random.key_data(KEY), jnp.ones(5)).platforms == (platform,)
