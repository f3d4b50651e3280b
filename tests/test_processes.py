"""Named processes: their coefficients, their moments, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffbook.sde import brownian, exact, integrate, ornstein_uhlenbeck, simulate

NUM = 40_000


def within(measured, expected, standard_error):
    assert np.all(np.abs(np.asarray(measured) - expected) < 4 * standard_error), (measured, expected, standard_error)


def test_brownian_spreads_as_twice_the_diffusivity_times_t():
    x = simulate(brownian(0.7), jnp.full((NUM, 2), 3.0), jnp.linspace(0.0, 2.0, 5), key=jax.random.key(0))
    for k, t in enumerate((0.5, 1.0, 1.5, 2.0), start=1):
        var = 2 * 0.7 * t
        within(x[k].mean(0), 3.0, np.sqrt(var / NUM))
        within(x[k].var(0), var, var * np.sqrt(2 / NUM))
    moves = (x[1] - x[0]) * (x[2] - x[1])
    within(moves.mean(0), 0.0, 0.7 / np.sqrt(NUM))  # independent increments


def test_ornstein_uhlenbeck_moments_of_the_euler_chain():
    rate, mean, sigma, h, n = 1.3, 0.5, 0.8, 0.05, 40
    sde = ornstein_uhlenbeck(rate, mean, sigma)
    x = simulate(sde, jnp.full(NUM, 2.0), h * np.arange(n + 1), key=jax.random.key(1), save="last")
    a = 1 - rate * h  # Euler's chain is x -> mean + a (x - mean) + sigma dW, so its moments are known exactly
    var = sigma**2 * h * (1 - a ** (2 * n)) / (1 - a**2)
    within(x.mean(), mean + a**n * 1.5, np.sqrt(var / NUM))
    within(x.var(), var, var * np.sqrt(2 / NUM))


def test_ornstein_uhlenbeck_keeps_its_stationary_law():
    rate, mean, sigma = 2.0, -1.0, 1.5
    var = sigma**2 / (2 * rate)
    x0 = mean + np.sqrt(var) * jax.random.normal(jax.random.key(2), (NUM,))
    sde = ornstein_uhlenbeck(rate, mean, sigma)
    x = simulate(sde, x0, jnp.linspace(0.0, 1.0, 501), key=jax.random.key(3), save="last")
    within(x.mean(), mean, np.sqrt(var / NUM))
    within(x.var(), var, var * np.sqrt(2 / NUM))
    within(((x - mean) * (x0 - mean)).mean(), var * np.exp(-rate), var / np.sqrt(NUM) * np.sqrt(1 + np.exp(-2 * rate)))


def test_parameters_may_be_one_per_coordinate():
    rate, mean, sigma = jnp.array([1.0, 2.0]), jnp.array([0.0, 5.0]), jnp.array([0.1, 0.3])
    sde = ornstein_uhlenbeck(rate, mean, sigma)
    x = jnp.ones((3, 2))
    np.testing.assert_allclose(sde.drift(x, 0.0), np.tile([-1.0, 8.0], (3, 1)))
    np.testing.assert_allclose(sde.diffusion(x, 0.0), np.tile([0.1, 0.3], (3, 1)))
    np.testing.assert_allclose(brownian(jnp.array([0.5, 2.0])).diffusion(x, 0.0), np.tile([1.0, 2.0], (3, 1)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_coefficients_have_the_dtype_of_x(dtype):
    with jax.enable_x64(True):
        x = jnp.ones((2, 3), dtype)
        for sde in (brownian(1), ornstein_uhlenbeck(np.float64(1), jnp.float32(0), 2.0)):
            assert sde.drift(x, 0.0).dtype == sde.diffusion(x, 0.0).dtype == x.dtype
            assert sde.drift(x, 0.0).shape == sde.diffusion(x, 0.0).shape == x.shape


def test_parameters_of_any_value_share_one_compilation_and_may_be_traced():
    x0, ts, key = jnp.zeros(7), jnp.linspace(0.0, 1.0, 4), jax.random.key(4)

    def end(rate, sigma):
        return simulate(ornstein_uhlenbeck(rate, 1.0, sigma), x0, ts, key=key, save="last")

    one = end(1.0, 0.5)
    compiled = integrate._walk._cache_size()
    two = end(2.0, 0.25)
    assert integrate._walk._cache_size() == compiled
    both = jax.jit(jax.vmap(end))(jnp.array([1.0, 2.0]), jnp.array([0.5, 0.25]))
    np.testing.assert_allclose(both, jnp.stack([one, two]), rtol=1e-5, atol=1e-6)
    slope = jax.grad(lambda rate: end(rate, 0.0).sum())(1.0)  # each entry is 1 - (1 - rate / 3)**3
    np.testing.assert_allclose(slope, 7 * (2 / 3) ** 2, rtol=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: brownian(-1.0), r"brownian needs diffusivity >= 0, got diffusivity=-1.0; pass"),
        (lambda: brownian(np.array([1.0, np.nan])), r"brownian needs diffusivity >= 0, got .*nan"),
        (lambda: ornstein_uhlenbeck(1.0, 0.0, -0.1), r"ornstein_uhlenbeck needs sigma >= 0, got sigma=-0.1; pass"),
        (
            lambda: ornstein_uhlenbeck(np.inf, 0.0, 1.0),
            r"ornstein_uhlenbeck needs finite numbers, got rate with 1 of 1",
        ),
        (lambda: ornstein_uhlenbeck(1.0, np.nan, 1.0), r"ornstein_uhlenbeck needs finite numbers, got mean"),
    ],
)
def test_impossible_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()
    with pytest.raises(ValueError, match=message):
        jax.jit(lambda x: make().drift(x, 0.0))(jnp.ones(2))


def test_process_and_transition_law_take_the_same_parameters():
    law = dict(rate=0.8, mean=2.0, sigma=0.6)
    ts = jnp.linspace(0.0, 1.0, 401)
    walked = simulate(ornstein_uhlenbeck(**law), jnp.zeros(NUM), ts, key=jax.random.key(5), save="last")
    leapt = exact.ornstein_uhlenbeck(jnp.zeros(NUM), 1.0, **law, key=jax.random.key(6))
    var = float(leapt.var())
    within(walked.mean(), float(leapt.mean()), np.sqrt(2 * var / NUM))
    within(walked.var(), var, var * np.sqrt(4 / NUM))
