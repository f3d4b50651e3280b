"""Geometric Brownian motion, CIR and bounded mixing: their equations, their equilibria and their ends."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffbook.sde import bounded_mixing, cir, exact, geometric_brownian, reverse, simulate

KEY = jax.random.key(5)


def flux(sde, log_density, x):
    """f p - (1/2) d(g**2 p)/dx, which vanishes in equilibrium, relative to p."""

    def spread(y):
        return sde.diffusion(y, 0.0) ** 2 * jnp.exp(log_density(y))

    slope = jax.jvp(spread, (x,), (jnp.ones_like(x),))[1]
    return sde.drift(x, 0.0) - slope / 2 / jnp.exp(log_density(x))


def test_equilibria():
    with jax.enable_x64(True):
        x = jnp.linspace(0.05, 0.95, 19)
        for rate, mean, sigma in ((1.0, 0.5, 0.7), (2.0, 0.1, 1.0)):
            a, b = 2 * rate * mean / sigma**2, 2 * rate / sigma**2
            gamma = flux(cir(rate, mean, sigma), lambda y, a=a, b=b: (a - 1) * jnp.log(y) - b * y, x)
            np.testing.assert_allclose(gamma, 0, atol=1e-13)
        for rate, mean, kappa in ((2.0, 0.5, 0.3), (1.0, 0.2, 1.0)):
            a, b = rate * mean / kappa, rate * (1 - mean) / kappa
            beta = flux(
                bounded_mixing(rate, mean, kappa),
                lambda y, a=a, b=b: (a - 1) * jnp.log(y) + (b - 1) * jnp.log1p(-y),
                x,
            )
            np.testing.assert_allclose(beta, 0, atol=1e-13)


def test_beyond_the_ends_only_the_drift_is_left_and_no_slope_is_nan():
    x = jnp.array([-0.1, 0.0, 1.0, 1.2])
    mixing, rates = bounded_mixing(2.0, 0.5, 0.4), cir(1.0, 0.5, 0.3)
    np.testing.assert_array_equal(mixing.diffusion(x, 0.0), 0.0)
    np.testing.assert_array_equal(np.asarray(rates.diffusion(x, 0.0))[:2], 0.0)
    assert np.all(np.asarray(mixing.drift(x, 0.0)) * (0.5 - np.asarray(x)) > 0)
    for sde in (mixing, rates):
        back = reverse(sde, lambda y, t: jnp.zeros_like(y))
        assert bool(jnp.isfinite(back.drift(x, 0.0)).all())


def test_short_steps_approach_the_exact_moments():
    ts, count = jnp.linspace(0.0, 1.0, 401), 40_000
    cases = [
        (geometric_brownian(0.3, 0.4), jnp.full(count, 1.0), math.exp(0.3), math.exp(0.6) * math.expm1(0.16)),
        (cir(1.0, 0.5, 0.4), jnp.full(count, 1.0), 0.5 + 0.5 * math.exp(-1), None),
    ]
    for sde, x0, mean, variance in cases:
        x = np.asarray(simulate(sde, x0, ts, key=KEY, save="last"), float)
        if variance is None:
            e = math.exp(-1)
            variance = 0.16 * (e - e**2) + 0.5 * 0.08 * (1 - e) ** 2
        bias = 0.01  # one part in 400, and something
        assert abs(x.mean() - mean) < 4 * x.std() / math.sqrt(count) + bias * mean
        assert abs(x.var() / variance - 1) < 4 * math.sqrt(5 / count) + bias


def test_mixing_from_a_double_delta_reaches_the_beta_law():
    y0 = jnp.where(jnp.arange(20_000) % 4 == 0, 1.0, 0.0)  # a quarter at 1
    y = np.asarray(
        simulate(bounded_mixing(2.0, 0.25, 0.5), y0, jnp.linspace(0.0, 8.0, 1601), key=KEY, save="last"), float
    )
    assert abs(y.mean() - 0.25) < 4 * y.std() / math.sqrt(y.size)
    variance = 0.25 * 0.75 / (1 + 2.0 / 0.5)
    assert abs(y.var() / variance - 1) < 4 * math.sqrt(2 / y.size) + 0.01


def test_parameters_broadcast_and_may_be_traced():
    sde = bounded_mixing(2.0, jnp.array([0.2, 0.8]), 0.4)
    np.testing.assert_allclose(sde.drift(jnp.full((3, 2), 0.5), 0.0)[0], [-0.3, 0.3], rtol=1e-6)
    slope = jax.grad(lambda sigma: cir(1.0, 0.5, sigma).diffusion(jnp.array(4.0), 0.0))(0.3)
    assert float(slope) == pytest.approx(2.0)


def test_exact_and_stepped_agree_from_the_same_start():
    x0 = jnp.full(20_000, 0.05)
    leap = np.asarray(exact.cir(x0, 1.0, rate=1.0, mean=0.1, sigma=0.3, key=KEY), float)
    steps = np.asarray(simulate(cir(1.0, 0.1, 0.3), x0, jnp.linspace(0.0, 1.0, 1001), key=KEY, save="last"), float)
    error = math.sqrt((leap.var() + steps.var()) / x0.size)
    assert abs(leap.mean() - steps.mean()) < 4 * error


@pytest.mark.parametrize(
    ("make", "parameters", "says"),
    [
        (geometric_brownian, (0.1, -0.2), "volatility >= 0"),
        (geometric_brownian, (float("nan"), 0.2), "growth"),
        (cir, (-1.0, 0.5, 0.1), "rate >= 0"),
        (cir, (1.0, -0.5, 0.1), "mean >= 0"),
        (cir, (1.0, 0.5, -0.1), "sigma >= 0"),
        (bounded_mixing, (1.0, 1.5, 0.1), r"mean <= 1, got mean=1.5; scale Y to \[0, 1\]"),
        (bounded_mixing, (1.0, -0.5, 0.1), "mean >= 0"),
        (bounded_mixing, (-1.0, 0.5, 0.1), "rate >= 0"),
        (bounded_mixing, (1.0, 0.5, -0.1), "kappa >= 0"),
    ],
)
def test_bad_input(make, parameters, says):
    with pytest.raises(ValueError, match=says):
        make(*parameters)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("sde", [geometric_brownian(0.1, 0.2), cir(1.0, 0.5, 0.1), bounded_mixing(1.0, 0.5, 0.1)])
def test_exports(sde, platform):
    def run(data, x):
        return simulate(sde, x, jnp.linspace(0.0, 1.0, 5), key=jax.random.wrap_key_data(data), save="last")

    done = jax.export.export(jax.jit(run), platforms=[platform])(jax.random.key_data(KEY), jnp.full(5, 0.5))
    assert done.platforms == (platform,)
