"""Steps against Bayes' rule for Gaussians, and the loop against the steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffbook.generative import (
    alpha_bars,
    clip_eps,
    ddim_step,
    ddpm_betas,
    ddpm_step,
    denoised,
    forward_sde,
    from_betas,
    respace,
)
from diffbook.sde import euler_maruyama, reverse


def forward_covariance(betas, s):
    """Covariance of (x_0, ..., x_N), x_0 ~ N(0, s^2), from the chain's definition, one step at a time."""
    n = len(betas)
    cov = np.zeros((n + 1, n + 1))
    cov[0, 0] = s**2
    for k in range(1, n + 1):
        cov[k, :k] = cov[:k, k] = np.sqrt(1 - betas[k - 1]) * cov[k - 1, :k]
        cov[k, k] = (1 - betas[k - 1]) * cov[k - 1, k - 1] + betas[k - 1]
    return cov


def condition(cov, target, on):
    """Coefficients and variance of x_target given x_on, by brute force."""
    gain = np.linalg.solve(cov[np.ix_(on, on)], cov[np.ix_(on, [target])])[:, 0]
    return gain, cov[target, target] - gain @ cov[on, target]


def test_published_constants():
    betas = ddpm_betas()
    assert betas.shape == (1000,) and float(betas[0]) == pytest.approx(1e-4) and float(betas[-1]) == pytest.approx(0.02)
    assert f"{float(alpha_bars(betas)[1000]):.4e}" == "4.0358e-05"  # in float32, too
    with jax.enable_x64(True):
        betas = np.linspace(1e-4, 0.02, 1000)
        np.testing.assert_allclose(alpha_bars(ddpm_betas())[1:], np.cumprod(1 - betas), rtol=1e-12)
        assert float(alpha_bars(ddpm_betas())[0]) == 1.0


@settings(deadline=None, max_examples=15, derandomize=True)
@given(k=st.integers(2, 12), x0=st.floats(-3, 3), x=st.floats(-3, 3))
def test_posterior_of_a_known_x0_is_bayes(k, x0, x):
    """q(x_{k-1} | x_k, x_0) by conditioning the joint Gaussian of three entries of the chain."""
    with jax.enable_x64(True):
        betas = ddpm_betas(12, 0.01, 0.4)
        gain, var = condition(forward_covariance(np.asarray(betas), 1.7), k - 1, [0, k])
        bar = alpha_bars(betas)[k]
        eps = (x - jnp.sqrt(bar) * x0) / jnp.sqrt(1 - bar)
        step = [
            ddpm_step(jnp.full(1, x), k, jnp.full(1, eps), betas, jnp.full(1, z), variance="posterior")[0]
            for z in (0.0, 1.0)
        ]
        np.testing.assert_allclose(step[0], gain @ [x0, x], rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(step[1] - step[0], np.sqrt(var), rtol=1e-9)


@pytest.mark.parametrize("s", [0.0, 0.3, 1.0, 2.5])
def test_true_variance_lies_between_the_two_choices(s):
    """x_0 ~ N(0, s^2): posterior at s = 0, beta at s = 1, between for 0 < s < 1, above beta for s > 1."""
    with jax.enable_x64(True):
        betas = np.asarray(ddpm_betas(12, 0.01, 0.4))
        cov = forward_covariance(betas, max(s, 1e-9))
        for k in range(2, 13):
            _, truth = condition(cov, k - 1, [k])
            bars = np.asarray(alpha_bars(jnp.asarray(betas)))
            beta, posterior = betas[k - 1], betas[k - 1] * (1 - bars[k - 1]) / (1 - bars[k])
            if s == 0:
                assert truth == pytest.approx(posterior, rel=1e-6)
            elif s == 1:
                assert truth == pytest.approx(beta, rel=1e-10)
            else:
                assert (posterior < truth < beta) if s < 1 else truth > beta


def test_ancestral_sampling_returns_standard_normal_data_exactly():
    """With x_0 ~ N(0, 1) the exact noise estimate is sqrt(1 - abar) x, and variance "beta" is the true one. Only the
    last step, which adds no noise, is short by beta_1."""
    with jax.enable_x64(True):
        betas = ddpm_betas(30, 1e-3, 0.3)
        bars = alpha_bars(betas)
        var = 1.0
        for k in range(30, 0, -1):
            slope = ddpm_step(jnp.ones(1), k, jnp.sqrt(1 - bars[k]) * jnp.ones(1), betas, jnp.zeros(1))[0]
            noise = ddpm_step(jnp.zeros(1), k, jnp.zeros(1), betas, jnp.ones(1))[0]
            var = float(slope) ** 2 * var + float(noise) ** 2
            assert var == pytest.approx(1.0 if k > 1 else 1 - float(betas[0]), rel=1e-12)


def test_last_step_adds_no_noise():
    betas, x, z = ddpm_betas(10), jnp.ones((2, 3)), jnp.full((2, 3), 5.0)
    for variance in ("beta", "posterior"):
        quiet = ddpm_step(x, 1, x, betas, jnp.zeros_like(x), variance=variance)
        assert jnp.array_equal(ddpm_step(x, 1, x, betas, z, variance=variance), quiet)
        assert not jnp.array_equal(ddpm_step(x, 2, x, betas, z, variance=variance), quiet)


def test_last_step_is_the_denoised_sample():
    with jax.enable_x64(True):
        betas, x, eps = ddpm_betas(10), jnp.array([0.3, -0.7]), jnp.array([1.0, 0.2])
        np.testing.assert_allclose(ddpm_step(x, 1, eps, betas, x), denoised(x, 1, eps, betas), rtol=1e-10)
        np.testing.assert_allclose(ddim_step(x, 7, 0, eps, betas), denoised(x, 7, eps, betas), rtol=1e-12)


def test_ddim_follows_the_flow_of_gaussian_data():
    """x_0 ~ N(m, s^2): the flow keeps the quantile, x_k = sqrt(abar) m + sqrt(abar s^2 + 1 - abar) z with one z. Its
    error at the data end falls with the step; halving it twice shows order 1."""
    with jax.enable_x64(True):
        m, s, errors = 0.4, 0.3, []
        for n in (100, 200, 400):
            betas = ddpm_betas(n, 1e-4 * 1000 / n, 0.02 * 1000 / n)
            bars = alpha_bars(betas)
            width = jnp.sqrt(bars * s**2 + 1 - bars)
            z = jnp.array([-1.5, 0.5, 2.0])
            x = jnp.sqrt(bars[n]) * m + width[n] * z
            for k in range(n, 0, -1):
                eps = jnp.sqrt(1 - bars[k]) * (x - jnp.sqrt(bars[k]) * m) / width[k] ** 2
                x = ddim_step(x, k, k - 1, eps, betas)
            errors.append(float(jnp.abs(x - (m + s * z)).max()))
        assert errors[-1] < 0.01
        orders = np.log2(np.array(errors[:-1]) / errors[1:])
        np.testing.assert_allclose(orders, 1, atol=0.15)


def test_ddim_jumps_exactly_for_a_single_point():
    with jax.enable_x64(True):
        betas, x0, eps = ddpm_betas(50), jnp.array([0.7]), jnp.array([-1.2])
        bars = alpha_bars(betas)
        x = jnp.sqrt(bars[50]) * x0 + jnp.sqrt(1 - bars[50]) * eps
        there = ddim_step(x, 50, 20, eps, betas)
        np.testing.assert_allclose(there, jnp.sqrt(bars[20]) * x0 + jnp.sqrt(1 - bars[20]) * eps, rtol=1e-12)
        np.testing.assert_allclose(ddim_step(there, 20, 50, eps, betas), x, rtol=1e-12)  # and back


def test_ddpm_step_is_euler_maruyama_of_the_reverse_sde_to_first_order():
    """The difference of the two, per step, falls as the square of the step."""
    with jax.enable_x64(True):
        x, z, gaps = jnp.array([0.8, -1.3]), jnp.array([0.5, 1.0]), []
        for n in (200, 400, 800):
            betas = ddpm_betas(n, 0.1 / n, 20.0 / n)
            schedule, k = from_betas(betas), n // 2
            t, dt = jnp.asarray(k / n), -1 / n
            eps = 0.3 * x + 0.1
            back = reverse(forward_sde(schedule), lambda x, t: -(0.3 * x + 0.1) / jnp.sqrt(schedule.var(t)))  # noqa: B023
            ours = ddpm_step(x, k, eps, betas, z)
            euler = euler_maruyama(back, x, t - 1e-9, dt, jnp.sqrt(-dt) * z)  # just inside step k
            gaps.append(float(jnp.abs(ours - euler).max()))
        orders = np.log2(np.array(gaps[:-1]) / gaps[1:])
        np.testing.assert_allclose(orders, 1.5, atol=0.1)  # dt**2 from the drift, dt**1.5 from the noise


def test_clipping_changes_only_what_is_outside():
    betas, x = ddpm_betas(), jnp.array([[0.5, 3.0, -3.0]])
    eps = jnp.zeros_like(x)
    clipped = clip_eps(x, 300, eps, betas)
    np.testing.assert_allclose(
        denoised(x, 300, clipped, betas), jnp.clip(denoised(x, 300, eps, betas), -1, 1), rtol=1e-5
    )
    assert float(jnp.abs(clipped[0, 0])) < 1e-6 < float(jnp.abs(clipped[0, 1]))


def test_respaced_chain_visits_the_same_noise_levels():
    with jax.enable_x64(True):
        betas, ks = ddpm_betas(), np.arange(100, 1001, 100)
        np.testing.assert_allclose(alpha_bars(respace(betas, ks))[1:], alpha_bars(betas)[ks], rtol=1e-10)
        np.testing.assert_allclose(respace(betas, np.arange(1, 1001)), betas, rtol=1e-10)


BETAS, X = ddpm_betas(20, 1e-3, 0.1), jnp.ones((2, 3))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: ddpm_betas(0), "num_steps >= 1"),
        (lambda: ddpm_betas(10, 0.5, 0.1), "beta_min <= beta_max"),
        (lambda: ddpm_betas(10, 0.1, 1.0), "beta_max < 1"),
        (lambda: ddpm_step(X, 0, X, BETAS, X), "1 <= k <= 20, got k=0"),
        (lambda: ddpm_step(X, 21, X, BETAS, X), "1 <= k <= 20, got k=21"),
        (lambda: ddpm_step(X, 3, X[:1], BETAS, X), "eps like x"),
        (lambda: ddpm_step(X, 3, X, BETAS, X[:1]), "z like x"),
        (lambda: ddpm_step(X, 3, X, BETAS, X, variance="learned"), "'beta', 'posterior'"),
        (lambda: ddpm_step(X, jnp.array([1, 2, 3]), X, BETAS, X), "one entry per sample"),
        (lambda: ddim_step(X, 3, -1, X, BETAS), "0 <= k <= 20, got k=-1"),
        (lambda: respace(BETAS, [3, 2]), "rising integers"),
        (lambda: respace(BETAS, [10, 21]), "rising integers in 1 ... 20"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
