"""The orders of the steps of `diffbook.sde.integrate`, measured against exact solutions on the same Brownian path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffbook.sde import SDE, euler_maruyama, heun, increments, ornstein_uhlenbeck, simulate, zero

KEY = jax.random.key(30)
OU = ornstein_uhlenbeck(1.2, 0.5, 0.8)


def slope(steps, errors):
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


def test_strong_order_of_euler_with_additive_noise_is_one():
    """Against the solution on the same path: Delta W and the integral of exp(-rate (h - s)) dW are jointly normal."""
    rate, sigma, num = 1.2, 0.8, 4000
    steps, errors = np.array([0.2, 0.1, 0.05, 0.025]), []
    for h in steps:
        n = round(1 / h)
        dw, rest = np.random.default_rng(n).normal(size=(2, n, num)) * np.sqrt(h)
        covariance, variance = -np.expm1(-rate * h) / rate, -np.expm1(-2 * rate * h) / (2 * rate)
        integral = covariance / h * dw + np.sqrt((variance - covariance**2 / h) / h) * rest
        exact = np.ones(num)
        for k in range(n):
            exact = exact * np.exp(-rate * h) + sigma * integral[k]
        sde = ornstein_uhlenbeck(rate, 0.0, sigma)
        x = simulate(sde, jnp.ones(num), h * np.arange(n + 1), noise=jnp.asarray(dw, jnp.float32), save="last")
        errors.append(np.mean(np.abs(x - exact)))
    assert abs(slope(steps, errors) - 1) < 0.1  # the next term is h/2 of the first


@pytest.mark.parametrize("step, drift, order", [(euler_maruyama, 0.5, 0.5), (heun, 0.0, 1.0)])
def test_strong_order_with_multiplicative_noise(step, drift, order):
    """X = exp(W), which is dX = X/2 dt + X dW for Ito and dX = X dW for Stratonovich, who is Heun's reading."""
    sde = SDE(lambda x, t: drift * x, lambda x, t: x)
    num, finest = 4000, 512
    ts = np.linspace(0.0, 1.0, finest + 1)
    dw = increments(KEY, ts, (num,))
    exact = jnp.exp(dw.sum(0))
    steps, errors = [], []
    for n in (16, 32, 64, 128):
        coarse = dw.reshape(n, finest // n, num).sum(1)
        x = simulate(sde, jnp.ones(num), ts[:: finest // n], noise=coarse, step=step, save="last")
        steps.append(1 / n)
        errors.append(float(jnp.abs(x - exact).mean()))
    assert abs(slope(steps, errors) - order) < 0.1


@pytest.mark.parametrize("step, order", [(euler_maruyama, 1), (heun, 2)])
def test_weak_order_without_chance(step, order):
    """Of a linear equation the last state is affine in the increments: its gradient gives the variance to rounding."""
    with jax.enable_x64(True):
        steps, errors = [], []
        for n in (10, 20, 40):
            ts = np.linspace(0.0, 1.0, n + 1)

            def last(noise, ts=ts):
                return simulate(OU, 2.0, ts, noise=noise, step=step, save="last")

            mean, gradient = jax.value_and_grad(last)(jnp.zeros(n))
            exact_var = 0.64 * -np.expm1(-2.4) / 2.4
            errors.append([abs(mean - (0.5 + 1.5 * np.exp(-1.2))), abs(jnp.sum(gradient**2) / n - exact_var)])
            steps.append(1 / n)
        for error in np.transpose(errors):
            assert abs(slope(steps, error) - order) < 0.1


@pytest.mark.parametrize("step, order", [(euler_maruyama, 1), (heun, 2)])
@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 0.0)])
def test_order_on_a_deterministic_flow(step, order, ends):
    """x' = x cos t has x = exp(sin t): rising and falling grids, uneven too."""
    flow = SDE(lambda x, t: x * jnp.cos(t), zero)
    with jax.enable_x64(True):
        steps, errors = [], []
        for n in (20, 40, 80):
            ts = ends[0] + (ends[1] - ends[0]) * np.linspace(0, 1, n + 1) ** 1.5
            x = simulate(flow, jnp.exp(jnp.sin(ends[0])), ts, step=step, save="last")
            steps.append(1 / n)
            errors.append(abs(float(x) - np.exp(np.sin(ends[1]))))
    assert abs(slope(steps, errors) - order) < 0.1


def test_without_noise_it_is_eulers_method():
    x0, ts = jnp.array([0.3, -1.0, 2.0]), np.linspace(0.0, 1.0, 9)
    path = simulate(SDE(lambda x, t: jnp.sin(x) - t, zero), x0, ts)
    x, expected = np.asarray(x0), [np.asarray(x0)]
    for t, dt in zip(ts[:-1], np.diff(ts), strict=True):
        x = x + (np.sin(x) - t) * dt
        expected.append(x)
    np.testing.assert_allclose(path, expected, rtol=1e-6, atol=1e-6)
