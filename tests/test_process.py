"""The way back: drifts against algebra, and laws brought back against their exact values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.tree_util import Partial

from diffbook.sde import SDE, heun, ornstein_uhlenbeck, probability_flow, reverse, simulate, zero

KEY = jax.random.key(20)


def within(measured, expected, standard_error):
    assert abs(float(measured) - expected) < 4 * standard_error, (float(measured), expected, standard_error)


# Geometric Brownian motion dX = growth X dt + volatility X dW from log-normal data: log X_t is normal at every t.
GROWTH, VOLATILITY, LOG_MEAN, LOG_STD = 0.3, 0.6, 0.2, 0.3
GBM = SDE(lambda x, t: GROWTH * x, lambda x, t: VOLATILITY * x)


def log_moments(t):
    return LOG_MEAN + (GROWTH - VOLATILITY**2 / 2) * t, LOG_STD**2 + VOLATILITY**2 * t


def lognormal_score(x, t):
    m, v = log_moments(t)
    return -(1 + (jnp.log(x) - m) / v) / x


def lognormal_sample(key, t, num):
    m, v = log_moments(t)
    return jnp.exp(m + jnp.sqrt(v) * jax.random.normal(key, (num,)))


def test_drifts_are_the_formulas_for_noise_that_depends_on_x():
    x, t = jnp.linspace(0.5, 2.0, 5), 0.7
    score = lognormal_score(x, t)
    g2, slope = VOLATILITY**2 * x**2, 2 * VOLATILITY**2 * x
    np.testing.assert_allclose(reverse(GBM, lognormal_score).drift(x, t), GROWTH * x - slope - g2 * score, rtol=1e-6)
    flow = probability_flow(GBM, lognormal_score)
    np.testing.assert_allclose(flow.drift(x, t), GROWTH * x - (slope + g2 * score) / 2, rtol=1e-6)
    assert reverse(GBM, lognormal_score).diffusion is GBM.diffusion and flow.diffusion is zero


positive = st.floats(0.2, 3.0)


@settings(deadline=None, derandomize=True, max_examples=20)
@given(rate=positive, mean=positive, sigma=positive)
def test_an_equilibrium_run_backwards_is_itself(rate, mean, sigma):
    """Detailed balance: with the score of the stationary law the reverse drift is -f, and the flow stands still."""
    x = jnp.linspace(0.1, 0.9, 7)
    cases = {
        "Ornstein-Uhlenbeck, Gaussian": (
            ornstein_uhlenbeck(rate, mean, sigma),
            lambda x, t: -(x - mean) * 2 * rate / sigma**2,
        ),
        "Cox-Ingersoll-Ross, Gamma": (
            SDE(lambda x, t: rate * (mean - x), lambda x, t: sigma * jnp.sqrt(x)),
            lambda x, t: (2 * rate * mean / sigma**2 - 1) / x - 2 * rate / sigma**2,
        ),
        "bounded mixing, Beta": (
            SDE(lambda x, t: rate / 2 * (0.4 - x), lambda x, t: jnp.sqrt(sigma * x * (1 - x))),
            lambda x, t: (0.4 * rate / sigma - 1) / x - (0.6 * rate / sigma - 1) / (1 - x),
        ),
    }
    for name, (sde, score) in cases.items():
        scale = float(jnp.abs(sde.diffusion(x, 0.0) ** 2 * score(x, 0.0)).max() + jnp.abs(sde.drift(x, 0.0)).max())
        close = dict(rtol=0, atol=1e-5 * scale, err_msg=name)
        np.testing.assert_allclose(reverse(sde, score).drift(x, 0.0), -sde.drift(x, 0.0), **close)
        np.testing.assert_allclose(probability_flow(sde, score).drift(x, 0.0), jnp.zeros_like(x), **close)


def test_gaussian_data_come_back_through_an_ornstein_uhlenbeck_process():
    rate, sigma, mean0, var0, num = 1.0, 1.5, 2.0, 0.25, 20_000
    ou = ornstein_uhlenbeck(rate, 0.0, sigma)

    def law(t):
        decay = jnp.exp(-2 * rate * t)
        return mean0 * jnp.exp(-rate * t), var0 * decay + sigma**2 / (2 * rate) * (1 - decay)

    def score(x, t):
        mean, var = law(t)
        return -(x - mean) / var

    ts = jnp.linspace(0.0, 1.5, 601)
    data = mean0 + np.sqrt(var0) * jax.random.normal(KEY, (num,))
    noised = simulate(ou, data, ts, key=jax.random.key(1), save="last")
    mean, var = map(float, law(1.5))
    within(noised.mean(), mean, np.sqrt(var / num))
    within(noised.var(), var, var * np.sqrt(2 / num))
    back = simulate(reverse(ou, score), noised, ts[::-1], key=jax.random.key(2), save="last")
    within(back.mean(), mean0, np.sqrt(var0 / num))
    within(back.var(), var0, var0 * np.sqrt(2 / num))
    flowed = simulate(probability_flow(ou, score), noised, ts[::-1], step=heun, save="last")
    exact = mean0 + (noised - mean) * np.sqrt(var0 / var)  # the flow of a Gaussian is this affine map
    np.testing.assert_allclose(flowed, exact, atol=1e-4)


def backwards(sde, num=20_000, num_steps=1000):
    start = lognormal_sample(KEY, 1.0, num)
    end = jnp.log(simulate(sde, start, jnp.linspace(1.0, 0.0, num_steps + 1), key=jax.random.key(3), save="last"))
    return float(end.mean()), float(end.var())


def test_reverse_of_noise_that_depends_on_x_restores_the_law():
    num = 20_000
    mean, var = backwards(reverse(GBM, lognormal_score), num)
    within(mean, LOG_MEAN, LOG_STD / np.sqrt(num))
    within(var, LOG_STD**2, LOG_STD**2 * np.sqrt(2 / num))


def test_without_the_derivative_of_g_squared_it_does_not():
    careless = SDE(lambda x, t: GROWTH * x - VOLATILITY**2 * x**2 * lognormal_score(x, t), GBM.diffusion)
    mean, _ = backwards(careless)
    assert abs(mean - LOG_MEAN) > 100 * LOG_STD / np.sqrt(20_000)


def test_probability_flow_keeps_each_path_at_its_quantile():
    with jax.enable_x64(True):
        x0 = jnp.exp(LOG_MEAN + LOG_STD * jnp.linspace(-3.0, 3.0, 13))
        flow = probability_flow(GBM, lognormal_score)
        ts = jnp.linspace(0.0, 1.0, 401)
        x1 = simulate(flow, x0, ts, step=heun, save="last")
        (m0, v0), (m1, v1) = log_moments(0.0), log_moments(1.0)
        exact = jnp.exp(m1 + (jnp.log(x0) - m0) * np.sqrt(v1 / v0))
        np.testing.assert_allclose(x1, exact, rtol=2e-5)  # second order: a step of 1/400
        np.testing.assert_allclose(simulate(flow, x1, ts[::-1], step=heun, save="last"), x0, rtol=2e-5)


def test_a_flow_is_its_own_reverse():
    flow = SDE(lambda x, t: jnp.sin(x + t), zero)
    back = reverse(flow, lambda x, t: x)
    x = jnp.linspace(-1.0, 1.0, 4)
    np.testing.assert_array_equal(back.drift(x, 0.3), flow.drift(x, 0.3))
    simulate(back, x, jnp.linspace(1.0, 0.0, 5))  # asks for no key


def test_a_diffusion_may_be_one_number():
    x = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
    one, many = SDE(zero, lambda x, t: jnp.sqrt(1 + t)), SDE(zero, lambda x, t: jnp.full_like(x, jnp.sqrt(1 + t)))
    for back in (reverse, probability_flow):
        drifts = [back(sde, lambda x, t: -x).drift(x, 0.5) for sde in (one, many)]
        np.testing.assert_allclose(*drifts, rtol=1e-6)


def test_dtype_and_gradients_pass_through():
    def loss(width, x):
        return reverse(GBM, Partial(lambda width, x, t: -x / width, width)).drift(x, 0.5).sum()

    x = jnp.linspace(0.5, 1.0, 3)
    np.testing.assert_allclose(jax.grad(loss)(2.0, x), -jnp.sum(VOLATILITY**2 * x**3) / 4, rtol=1e-6)
    with jax.enable_x64(True):
        for dtype in (jnp.float32, jnp.float64):
            drift = jax.eval_shape(reverse(GBM, lognormal_score).drift, jnp.ones(3, dtype), 0.5)
            assert drift.dtype == dtype and drift.shape == (3,)


@pytest.mark.parametrize("back", [reverse, probability_flow])
def test_jit_and_vmap(back):
    sde = back(GBM, lognormal_score)
    x = jnp.linspace(0.5, 2.0, 6).reshape(3, 2)
    np.testing.assert_allclose(jax.jit(jax.vmap(sde.drift, (0, None)))(x, 0.4), sde.drift(x, 0.4), rtol=1e-5, atol=1e-6)
