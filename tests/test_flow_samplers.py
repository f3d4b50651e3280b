"""Steps of the flow: one loop, orders on data whose flow is known, and what each step is elsewhere."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from diffbook.generative import alpha_bars, ddim_step, ddpm_betas, ddpm_step, from_betas, vp_cosine
from diffbook.generative.flow_samplers import (
    ddim,
    ddpm,
    dpm_solver_pp_2m,
    heun,
    sample_flow,
    sde_dpm_solver_pp_2m,
)
from diffbook.generative.grids import edm_sigmas, times_of_noise

COSINE, WIDTH = vp_cosine(), 0.3


def v_of_gaussian(x, t):
    """E[v | x] for data N(0, WIDTH**2) on the cosine schedule: finite from t = 1 to t = 0."""
    alpha, var = COSINE.alpha(t), COSINE.var(t)
    return alpha * jnp.sqrt(var) * (1 - WIDTH**2) / (alpha**2 * WIDTH**2 + var) * x


def eps_of_gaussian(x, t):
    alpha, var = COSINE.alpha(t), COSINE.var(t)
    return jnp.sqrt(var) / (alpha**2 * WIDTH**2 + var) * x


@pytest.mark.parametrize("step, order", [(ddim, 1), (heun, 2), (dpm_solver_pp_2m, 2)])
def test_order(step, order):
    """The flow of Gaussian data scales by the ratio of the standard deviations."""
    with jax.enable_x64(True):
        sigmas = np.array([20.0, 0.05])
        start, end = times_of_noise(COSINE, jnp.asarray(sigmas))
        before, after = (COSINE.alpha(t) ** 2 * WIDTH**2 + COSINE.var(t) for t in (start, end))
        exact = jnp.sqrt(after / before)

        def error(n):
            ts = times_of_noise(COSINE, jnp.geomspace(*sigmas, n + 1))
            return abs(float(sample_flow(v_of_gaussian, jnp.ones(1), ts, COSINE, kind="v", step=step)[0] - exact))

        assert np.log2(error(80) / error(160)) == pytest.approx(order, abs=0.12)


@pytest.mark.parametrize("step, order", [(ddpm, 1), (sde_dpm_solver_pp_2m, 2)])
def test_order_of_the_variance(step, order):
    """Gaussian data: every step is linear, so the variance is the sum of squared responses to the start and each z."""
    with jax.enable_x64(True):

        def error(n):
            ts = times_of_noise(COSINE, jnp.geomspace(20.0, 0.05, n + 1))
            exact = COSINE.alpha(ts) ** 2 * WIDTH**2 + COSINE.var(ts)

            def pulse(move):  # component k + 1 alone meets noise in step k, and component 0 none
                return step(move._replace(z=(jnp.arange(-1, n) == jnp.argmin(jnp.abs(ts - move.now.t))) * 1.0))

            start = jnp.zeros(n + 1).at[0].set(jnp.sqrt(exact[0]))
            response = sample_flow(v_of_gaussian, start, ts, COSINE, kind="v", step=pulse)
            return abs(float((response**2).sum() / exact[-1] - 1))

        assert np.log2(error(80) / error(160)) == pytest.approx(order, abs=0.12)


@pytest.mark.parametrize("step", [ddim, heun, dpm_solver_pp_2m])
def test_one_data_point_is_reached_from_pure_noise_in_any_number_of_steps(step):
    """All data are 0.7: both estimates are exact wherever one is, and no correction is due."""

    def predict(x, t):
        return (COSINE.alpha(t) * x - 0.7) / jnp.sqrt(COSINE.var(t))

    for num in (1, 2, 5):
        end = sample_flow(predict, jnp.array([1.3, -0.2]), jnp.linspace(1, 0, num + 1), COSINE, kind="v", step=step)
        np.testing.assert_allclose(end, 0.7, rtol=2e-6)


def test_ddim_is_the_chains_ddim():
    betas = ddpm_betas(20, 1e-3, 0.1)
    schedule, ks = from_betas(betas), [20, 13, 6, 0]
    x = by_hand = jax.random.normal(jax.random.key(0), (3, 2))
    for k, k_next in zip(ks, ks[1:], strict=False):
        by_hand = ddim_step(by_hand, k, k_next, 0.1 * by_hand + k / 20, betas)
    got = sample_flow(lambda x, t: 0.1 * x + t, x, jnp.array(ks) / 20, schedule, step=ddim)
    np.testing.assert_allclose(got, by_hand, rtol=1e-5, atol=1e-5)


def test_ancestral_is_ddpm_with_the_posteriors_variance():
    betas = ddpm_betas(20, 1e-3, 0.1)
    assert alpha_bars(betas)[20] < 1
    x, schedule = jax.random.normal(jax.random.key(0), (20_000,)), from_betas(betas)

    def predict(x, t):
        return 0.3 * x

    ts = jnp.array([0.6, 0.55])  # steps 12 and 11
    z = sample_flow(predict, x, ts, schedule, step=lambda move: move.z, key=jax.random.key(1))
    got = sample_flow(predict, x, ts, schedule, step=ddpm, key=jax.random.key(1))
    np.testing.assert_allclose(got, ddpm_step(x, 12, 0.3 * x, betas, z, variance="posterior"), rtol=2e-4, atol=2e-5)
    assert abs(float(z.mean())) < 4 / len(z) ** 0.5 and abs(float(z.var()) - 1) < 4 * (2 / len(z)) ** 0.5
    quiet = sample_flow(predict, x, ts, schedule, step=functools.partial(ddpm, eta=0.0), key=jax.random.key(1))
    np.testing.assert_allclose(quiet, sample_flow(predict, x, ts, schedule, step=ddim), rtol=1e-5, atol=1e-6)


def test_calls_of_the_network_and_the_path():
    calls = []

    def predict(x, t):
        jax.debug.callback(lambda t: calls.append(float(t)), t)
        return v_of_gaussian(x, t)

    ts = jnp.array([1.0, 0.6, 0.3, 0.0])
    for step, expected in ((ddim, 3), (dpm_solver_pp_2m, 3), (heun, 4)):  # Heun: alpha = 0 and sigma' = 0 cost one
        calls.clear()
        path = sample_flow(predict, jnp.ones((2, 1)), ts, COSINE, kind="v", step=step, save="path")
        jax.effects_barrier()
        assert len(calls) == expected, (step, calls)
        assert path.shape == (4, 2, 1) and path.dtype == jnp.float32 and float(path[0, 0, 0]) == 1.0


def test_limit_clips_the_clean_sample():
    out = sample_flow(lambda x, t: 0 * x, jnp.array([3.0, 0.2]), jnp.array([0.5, 0.0]), COSINE, limit=1.0)
    np.testing.assert_allclose(out, jnp.minimum(jnp.array([3.0, 0.2]) / COSINE.alpha(0.5), 1.0), rtol=1e-6)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_exports(platform):
    def f(x, key):
        ts = jnp.linspace(1, 0, 5)
        flow, dice = (ddim, heun, dpm_solver_pp_2m), (ddpm, sde_dpm_solver_pp_2m)
        draws = [sample_flow(v_of_gaussian, x, ts, COSINE, kind="v", step=step) for step in flow]
        grid = times_of_noise(COSINE, edm_sigmas(4, 0.01, 10.0))
        dice = [sample_flow(eps_of_gaussian, x, grid, COSINE, step=step, key=key, limit=1.0) for step in dice]
        return draws, dice

    x, key = jax.ShapeDtypeStruct((4, 8), jnp.float32), jax.random.key(0)
    exported = export.export(jax.jit(f), platforms=[platform])
    assert exported(x, jax.ShapeDtypeStruct(key.shape, key.dtype)).platforms == (platform,)


X = jnp.ones((2, 3))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: sample_flow(v_of_gaussian, X, jnp.array([0.0, 1.0]), COSINE), "falling times"),
        (lambda: sample_flow(v_of_gaussian, X, jnp.array([1.0, -0.1]), COSINE), "end at 0 or above"),
        (lambda: sample_flow(v_of_gaussian, X, jnp.array([1.0]), COSINE), "falling times"),
        (lambda: sample_flow(v_of_gaussian, X, jnp.array([1.0, 0.0]), COSINE, kind="noise"), "'eps'"),
        (lambda: sample_flow(v_of_gaussian, X, jnp.array([1.0, 0.0]), COSINE, save="all"), "'path'"),
        (lambda: sample_flow(lambda x, t: x[0], X, jnp.array([1.0, 0.0]), COSINE), "shape of x"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
