"""Schedules: their ends, their published constants, and that the derived SDE has the law they state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from scipy.integrate import solve_ivp

from diffbook.generative import forward_sde, from_betas, perturb, straight, ve, vp_cosine, vp_linear
from diffbook.generative.samplers import alpha_bars, ddpm_betas
from diffbook.generative.schedules import derivatives
from diffbook.sde import simulate

SCHEDULES = {
    "vp_linear": vp_linear(),
    "vp_cosine": vp_cosine(),
    "ve": ve(0.01, 50.0),
    "straight": straight(),
    "from_betas": from_betas(ddpm_betas(40, 1e-3, 0.3)),
}
each = pytest.mark.parametrize("name", SCHEDULES)


@each
def test_starts_with_all_signal_and_no_noise_exactly(name):
    schedule = SCHEDULES[name]
    for t in (0.0, jnp.zeros(())):
        assert float(schedule.alpha(t)) == 1.0
        assert float(schedule.var(t)) == 0.0


@each
def test_noise_rises_signal_falls_and_shapes_follow(name):
    schedule, t = SCHEDULES[name], jnp.linspace(0, 1, 101)
    alpha, var = schedule.alpha(t), schedule.var(t)
    assert alpha.shape == var.shape == t.shape and alpha.dtype == var.dtype == t.dtype
    assert bool((jnp.diff(var) > 0).all()) and bool((jnp.diff(alpha) <= 0).all()) and bool((alpha >= 0).all())


@pytest.mark.parametrize("name", ["vp_linear", "vp_cosine", "from_betas"])
def test_variance_preserving(name):
    with jax.enable_x64(True):
        schedule, t = SCHEDULES[name], jnp.linspace(0, 1, 101)
        tolerance = 1e-6 if name == "from_betas" else 1e-14  # its betas were made in float32
        np.testing.assert_allclose(schedule.alpha(t) ** 2 + schedule.var(t), 1, atol=tolerance)


def test_published_values():
    with jax.enable_x64(True):
        # Song et al. 2021, appendix C: exp(-(0.1 + 20)/2) of the signal's power is left
        assert float(vp_linear().alpha(1.0)) ** 2 == pytest.approx(np.exp(-10.05), rel=1e-14)
        s = 0.008
        f = [np.cos((t + s) / (1 + s) * np.pi / 2) ** 2 for t in (0.0, 0.3)]
        assert float(vp_cosine().alpha(0.3)) ** 2 == pytest.approx(f[1] / f[0], rel=1e-14)
        assert float(vp_cosine().alpha(1.0)) == 0.0
        assert float(ve(0.01, 50.0).var(1.0)) == pytest.approx(50.0**2 - 0.01**2, rel=1e-14)


def test_small_times_keep_their_digits():
    """1 - alpha**2 in float32 would have lost half of them."""
    t = 1e-6
    for name, rate in (("vp_linear", 0.1), ("vp_cosine", None), ("ve", 2 * 0.01**2 * np.log(5000))):
        if rate is None:
            start = 0.5 * np.pi * 0.008 / 1.008
            rate = (np.pi / 2 - start) * np.sin(2 * start) / np.cos(start) ** 2
        slope = float(SCHEDULES[name].var(t)) / t
        assert slope == pytest.approx(rate, rel=2e-4)  # second order in t: 1e-4 of the slope at most


@each
@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_forward_sde_has_the_stated_moments(name, shape):
    """dm/dt = f m and dv/dt = 2 f v + g**2, solved to 1e-10 by an independent integrator, give alpha and var."""
    with jax.enable_x64(True):
        betas = ddpm_betas(40, 1e-3, 0.3)
        schedule = from_betas(betas) if name == "from_betas" else SCHEDULES[name]
        sde, one = forward_sde(schedule), jnp.ones(shape)

        @jax.jit
        def rates(t, m, v):
            f, g = sde.drift(one, t).ravel()[0], sde.diffusion(one, t).ravel()[0]
            return jnp.stack([f * m, 2 * f * v + g**2])

        end = 0.9
        solution = solve_ivp(
            lambda t, y: np.asarray(rates(t, *y)), (0, end), [1.0, 0.0], rtol=1e-10, atol=1e-12, max_step=0.01
        )
        tolerance = 1e-4 if name == "from_betas" else 1e-7  # its rate jumps from step to step, which the solver smears
        np.testing.assert_allclose(solution.y[0, -1], schedule.alpha(end), rtol=tolerance)
        np.testing.assert_allclose(solution.y[1, -1], schedule.var(end), rtol=tolerance)


def test_rate_of_vp_linear_is_linear():
    with jax.enable_x64(True):
        sde = forward_sde(vp_linear())
        for t in (0.0, 0.25, 1.0):
            beta = 0.1 + 19.9 * t
            assert float(sde.diffusion(jnp.ones(1), t)[0]) ** 2 == pytest.approx(beta, rel=1e-12)
            assert float(sde.drift(jnp.ones(1), t)[0]) == pytest.approx(-beta / 2, rel=1e-12)


def test_simulated_forward_sde_arrives_at_the_law():
    n, steps = 40_000, 400
    x0 = jnp.full(n, 2.0)
    x = simulate(forward_sde(vp_linear()), x0, jnp.linspace(0.0, 0.5, steps + 1), key=jax.random.key(0), save="last")
    alpha, var = float(vp_linear().alpha(0.5)), float(vp_linear().var(0.5))
    bias = 0.5 * 10.05 / 2 * 10.05 / steps  # Euler: beta**2 h/8 relative in the mean, over half a unit, generously
    assert abs(float(x.mean()) - 2 * alpha) < 4 * np.sqrt(var / n) + bias * 2 * alpha
    assert abs(float(x.var()) - var) < 4 * var * np.sqrt(2 / n) + bias * var


def test_from_betas_is_the_chain_at_its_steps():
    with jax.enable_x64(True):
        betas = ddpm_betas()
        schedule, bars = from_betas(betas), alpha_bars(betas)
        for k in (0, 1, 500, 999, 1000):
            np.testing.assert_allclose(schedule.alpha(k / 1000) ** 2, bars[k], rtol=1e-10)
        # ... and the chain is vp_linear to first order in its step: log(1 - b) = -b - b**2/2
        log_ratio = jnp.log(bars[1000]) - 2 * jnp.log(vp_linear().alpha(1.0))
        assert float(log_ratio) == pytest.approx(-0.5 * float((betas**2).sum()), rel=0.02)


@pytest.mark.bits
def test_perturb_broadcasts_times_over_samples_only():
    x0 = jax.random.normal(jax.random.key(0), (3, 8, 8, 1))
    eps = jax.random.normal(jax.random.key(1), x0.shape)
    schedule = vp_linear()
    t = jnp.array([0.0, 0.3, 1.0])
    together = perturb(x0, t, eps, schedule)
    assert together.shape == x0.shape and together.dtype == x0.dtype
    assert jnp.array_equal(together[0], x0[0])
    for i in range(3):
        alone = perturb(x0[i : i + 1], t[i], eps[i : i + 1], schedule)
        assert jnp.array_equal(together[i : i + 1], alone)
        by_hand = schedule.alpha(t[i]) * x0[i] + jnp.sqrt(schedule.var(t[i])) * eps[i]
        np.testing.assert_allclose(together[i], by_hand, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_perturb_keeps_the_dtype(dtype):
    with jax.enable_x64(True):
        x0 = jnp.ones((2, 3), dtype)
        assert perturb(x0, jnp.array([0.1, 0.2]), x0, straight()).dtype == dtype


@each
def test_derivatives_against_differences(name):
    with jax.enable_x64(True):
        if name == "from_betas":
            return  # piecewise; its moments are tested above
        schedule, t, h = SCHEDULES[name], jnp.array([0.2, 0.5]), 1e-6
        _, dalpha, _, dvar = derivatives(schedule, t)
        np.testing.assert_allclose(dalpha, (schedule.alpha(t + h) - schedule.alpha(t - h)) / (2 * h), atol=1e-8)
        np.testing.assert_allclose(dvar, (schedule.var(t + h) - schedule.var(t - h)) / (2 * h), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@each
def test_exports(name, platform):
    schedule = SCHEDULES[name]
    x = jax.ShapeDtypeStruct((4, 8), jnp.float32)
    t = jax.ShapeDtypeStruct((4,), jnp.float32)

    def everything(x, t):
        sde = forward_sde(schedule)
        return perturb(x, t, x, schedule) + sde.drift(x, t[0]) + sde.diffusion(x, t[0])

    assert export.export(jax.jit(everything), platforms=[platform])(x, t).platforms == (platform,)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: vp_linear(2.0, 1.0), "beta_min <= beta_max"),
        (lambda: vp_linear(-0.1, 1.0), "0 <= beta_min"),
        (lambda: vp_linear(0.1, float("nan")), "0.1 and 20"),
        (lambda: vp_cosine(-1.0), "offset >= 0, got offset=-1.0"),
        (lambda: ve(1.0, 0.5), "0 < sigma_min < sigma_max"),
        (lambda: ve(0.0, 0.5), "0 < sigma_min"),
        (lambda: from_betas(jnp.array([0.1, 1.0])), "0 < beta < 1"),
        (lambda: from_betas(jnp.array([0.1, jnp.nan])), "0 < beta < 1"),
        (lambda: perturb(jnp.ones((2, 3)), jnp.ones(3), jnp.ones((2, 3)), straight()), "one entry per sample"),
        (lambda: perturb(jnp.ones((2, 3)), 0.5, jnp.ones((3, 2)), straight()), "eps like x0"),
        (lambda: perturb(jnp.ones((2, 3), int), 0.5, jnp.ones((2, 3)), straight()), "floating"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
