"""Exact transition draws of geometric Brownian motion, CIR and the Goldstein-Kac walk, against their laws."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from diffbook.pde import telegraph
from diffbook.sde import exact

KEY = jax.random.key(11)
COUNT = 40_000


def ks(x, cdf):
    return stats.kstest(np.asarray(x, float), cdf).pvalue


def cir_law(x0, t, *, rate, mean, sigma):
    scale = sigma**2 * (t if rate == 0 else -math.expm1(-rate * t) / rate) / 4
    degrees, lam = 4 * rate * mean / sigma**2, x0 * math.exp(-rate * t) / scale
    return stats.ncx2(degrees, lam, scale=scale)


def test_geometric_brownian_is_lognormal():
    x = exact.geometric_brownian(jnp.full(COUNT, 2.0), 1.5, growth=0.1, volatility=0.4, key=KEY)
    assert ks(x, stats.lognorm(0.4 * math.sqrt(1.5), scale=2 * math.exp((0.1 - 0.08) * 1.5)).cdf) > 1e-3
    still = exact.geometric_brownian(jnp.ones(3), 0.0, growth=0.1, volatility=0.4, key=KEY)
    np.testing.assert_array_equal(still, 1.0)


@pytest.mark.parametrize(
    "parameters",
    [
        {"rate": 2.0, "mean": 0.5, "sigma": 0.5},  # 16 degrees of freedom
        {"rate": 1.0, "mean": 0.5, "sigma": 1.0},  # 2: Feller's border
        {"rate": 1.0, "mean": 0.25, "sigma": 1.0},  # 1: the border of the two ways to draw
        {"rate": 1.0, "mean": 0.05, "sigma": 1.0},  # 0.2: Poisson
    ],
)
@pytest.mark.parametrize("t", [0.05, 1.0, 20.0])
def test_cir_is_noncentral_chi_square(parameters, t):
    x = exact.cir(jnp.full(COUNT, 0.8), t, **parameters, key=KEY)
    assert x.dtype == jnp.float32 and bool((x >= 0).all())
    assert ks(x, cir_law(0.8, t, **parameters).cdf) > 1e-3


def test_cir_with_traced_or_arrays_of_parameters_has_the_same_law():
    parameters = {"rate": 1.0, "mean": 1.0, "sigma": 0.5}
    traced = jax.jit(lambda p: exact.cir(jnp.full(COUNT, 0.8), 1.0, **p, key=KEY))(parameters)
    assert ks(traced, cir_law(0.8, 1.0, **parameters).cdf) > 1e-3
    x = exact.cir(jnp.full((COUNT, 2), 0.8), 1.0, rate=1.0, mean=jnp.array([1.0, 0.05]), sigma=0.5, key=KEY)
    for column, mean in zip(x.T, (1.0, 0.05), strict=True):
        assert ks(column, cir_law(0.8, 1.0, rate=1.0, mean=mean, sigma=0.5).cdf) > 1e-3


def test_cir_is_caught_at_zero_without_an_inward_drift():
    for rate in (0.0, 0.7):
        x = np.asarray(exact.cir(jnp.full(COUNT, 0.5), 1.0, rate=rate, mean=0.0, sigma=1.0, key=KEY))
        scale = (1.0 if rate == 0 else -math.expm1(-rate) / rate) / 4
        p = math.exp(-0.5 * math.exp(-rate) / scale / 2)
        assert abs(np.mean(x == 0) - p) < 4 * math.sqrt(p * (1 - p) / COUNT)
        assert abs(x.mean() - 0.5 * math.exp(-rate)) < 4 * x.std() / math.sqrt(COUNT)


def test_cir_two_leaps_make_one():
    parameters = {"rate": 1.3, "mean": 0.3, "sigma": 0.9}
    k1, k2 = jax.random.split(KEY)
    x = exact.cir(exact.cir(jnp.full(COUNT, 0.2), 0.3, **parameters, key=k1), 0.5, **parameters, key=k2)
    assert ks(x, cir_law(0.2, 0.8, **parameters).cdf) > 1e-3


def test_cir_at_time_zero_and_from_zero():
    for mean in (1.0, 0.1):
        still = exact.cir(jnp.array([0.0, 0.3, 5.0]), 0.0, rate=1.0, mean=mean, sigma=1.0, key=KEY)
        np.testing.assert_allclose(still, [0.0, 0.3, 5.0], rtol=1e-6)
        moved = exact.cir(jnp.zeros(COUNT), 0.7, rate=1.0, mean=mean, sigma=1.0, key=KEY)
        assert ks(moved, stats.gamma(2 * mean, scale=-math.expm1(-0.7) / 2).cdf) > 1e-3


def test_cir_takes_the_dtype_it_is_given():
    with jax.enable_x64(True):
        for dtype in (jnp.float32, jnp.float64):
            for mean in (1.0, 0.01):
                draw = partial(exact.cir, t=1.0, rate=1.0, mean=mean, sigma=1.0, key=KEY)
                assert jax.eval_shape(draw, jnp.ones(4, dtype)).dtype == dtype
            assert exact.cir(jnp.ones(4, dtype), 1.0, rate=1.0, mean=0.01, sigma=1.0, key=KEY).dtype == dtype


@pytest.mark.parametrize("t", [0.3, 2.0, 12.0])
def test_goldstein_kac_is_the_telegraph_pulse(t):
    diffusivity, tau = 2.0, 0.5
    c = math.sqrt(diffusivity / tau)
    x = np.asarray(exact.goldstein_kac(jnp.zeros(COUNT), t, diffusivity=diffusivity, tau=tau, key=KEY), float)
    front = np.abs(np.abs(x) - c * t) < 1e-6 * c * t
    p = 2 * float(telegraph.front_weight(t, tau=tau))
    assert abs(front.mean() - p) < 4 * math.sqrt(p * (1 - p) / COUNT) + 1e-4
    edges = np.linspace(-c * t, c * t, 17)
    fine = np.linspace(-c * t, c * t, 1601)
    density = np.asarray(telegraph.green(jnp.asarray(fine), t, diffusivity=diffusivity, tau=tau), float)
    share = np.add.reduceat((density[1:] + density[:-1]) / 2, np.arange(0, 1600, 100)) * (fine[1] - fine[0])
    seen = np.histogram(x[~front], edges)[0] / COUNT
    assert np.all(np.abs(seen - share) < 4 * np.sqrt(share / COUNT) + 1e-4)
    variance = 2 * diffusivity * (t - tau * (1 - math.exp(-t / tau)))
    assert abs(np.mean(x**2) - variance) < 4 * np.std(x**2) / math.sqrt(COUNT)


def test_goldstein_kac_at_time_zero():
    x = exact.goldstein_kac(jnp.array([1.0, -2.0]), 0.0, diffusivity=1.0, tau=1.0, key=KEY)
    np.testing.assert_array_equal(x, [1.0, -2.0])


CIR = {"rate": 1.0, "mean": 1.0, "sigma": 1.0}


@pytest.mark.parametrize(
    ("draw", "change", "says"),
    [
        (exact.geometric_brownian, {"growth": jnp.nan, "volatility": 1.0}, "growth"),
        (exact.geometric_brownian, {"growth": 0.0, "volatility": -1.0}, "volatility >= 0"),
        (exact.cir, CIR | {"sigma": 0.0}, "sigma > 0"),
        (exact.cir, CIR | {"mean": -1.0}, "mean >= 0"),
        (exact.cir, CIR | {"t": -1.0}, "t >= 0"),
        (exact.cir, CIR | {"key": None}, "typed random key"),
        (exact.cir, CIR | {"x0": jnp.ones(2, int)}, "floating-point"),
        (exact.goldstein_kac, {"diffusivity": 1.0, "tau": 0.0}, "tau > 0"),
        (exact.goldstein_kac, {"diffusivity": -1.0, "tau": 1.0}, "diffusivity > 0"),
    ],
)
def test_bad_input(draw, change, says):
    arguments = {"x0": jnp.ones(2), "t": 1.0, "key": KEY} | change
    with pytest.raises(ValueError, match=says):
        draw(arguments.pop("x0"), arguments.pop("t"), **arguments)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize(
    ("draw", "parameters"),
    [
        (exact.geometric_brownian, {"growth": 0.1, "volatility": 0.2}),
        (exact.cir, CIR),
        (exact.cir, CIR | {"mean": 0.1}),
        (exact.goldstein_kac, {"diffusivity": 1.0, "tau": 1.0}),
    ],
)
def test_exports(draw, parameters, platform):
    f = jax.jit(lambda data, x: draw(x, 0.5, **parameters, key=jax.random.wrap_key_data(data)))
    assert jax.export.export(f, platforms=[platform])(jax.random.key_data(KEY), jnp.ones(5)).platforms == (platform,)
