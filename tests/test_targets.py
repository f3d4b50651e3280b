"""The five predictions are one: every conversion against the sample it was made from."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from diffbook.generative import TARGETS, GaussianMixture, convert, perturb, straight, ve, vp_cosine, vp_linear
from diffbook.generative.targets import target, x0_and_eps

SCHEDULES = {"vp_linear": vp_linear(), "vp_cosine": vp_cosine(), "ve": ve(0.01, 5.0), "straight": straight()}


@pytest.fixture(params=SCHEDULES)
def case(request):
    """A schedule, samples, noise, times and the noisy samples, in float64."""
    with jax.enable_x64(True):
        schedule = SCHEDULES[request.param]
        x0 = jax.random.normal(jax.random.key(0), (5, 2, 3), jnp.float64)
        eps = jax.random.normal(jax.random.key(1), x0.shape, jnp.float64)
        t = jnp.linspace(0.1, 0.9, 5)
        yield schedule, x0, eps, t, perturb(x0, t, eps, schedule)


@pytest.mark.parametrize("source, to", list(itertools.product(TARGETS, TARGETS)))
def test_every_conversion_is_exact(case, source, to):
    schedule, x0, eps, t, x = case
    value = target(x0, eps, t, schedule, source)
    got = convert(value, x, t, schedule, source=source, to=to)
    np.testing.assert_allclose(got, target(x0, eps, t, schedule, to), rtol=1e-9, atol=1e-9)


def test_formulas_at_one_time(case):
    schedule, x0, eps, _, _ = case
    t = 0.4
    alpha, sigma = schedule.alpha(t), jnp.sqrt(schedule.var(t))
    np.testing.assert_allclose(target(x0, eps, t, schedule, "v"), alpha * eps - sigma * x0, rtol=1e-12)
    np.testing.assert_allclose(target(x0, eps, t, schedule, "score"), -eps / sigma, rtol=1e-12)
    h = 1e-6
    slope = (perturb(x0, t + h, eps, schedule) - perturb(x0, t - h, eps, schedule)) / (2 * h)
    np.testing.assert_allclose(target(x0, eps, t, schedule, "velocity"), slope, atol=1e-7)
    assert target(x0, eps, t, schedule, "eps") is eps and target(x0, eps, t, schedule, "x0") is x0


def test_velocity_of_the_straight_schedule_is_noise_minus_data():
    with jax.enable_x64(True):
        x0, eps = jnp.array([1.0, 2.0]), jnp.array([-3.0, 0.5])
        np.testing.assert_allclose(target(x0, eps, 0.3, straight(), "velocity"), eps - x0, rtol=1e-12)


def test_what_holds_for_samples_holds_for_conditional_means():
    """Gaussian data: E[x0 | x] by conditioning, turned into a score, is the score of the diffused law."""
    with jax.enable_x64(True):
        mean, std = jnp.array([[0.5, -1.0]]), jnp.array([0.7])
        data, schedule, t = GaussianMixture(jnp.ones(1), mean, std), vp_linear(), 0.35
        x = jax.random.normal(jax.random.key(0), (6, 2), jnp.float64)
        alpha, var = schedule.alpha(t), schedule.var(t)
        gain = alpha * 0.49 / (alpha**2 * 0.49 + var)
        denoised = mean + gain * (x - alpha * mean)
        score = convert(denoised, x, t, schedule, source="x0", to="score")
        np.testing.assert_allclose(score, data.diffused(schedule, t).score(x), rtol=1e-10)


@pytest.mark.parametrize("predict", ["eps", "x0", "v"])
def test_loss_targets_are_finite_at_both_ends(predict):
    x0 = jnp.ones((2, 3))
    for t in (0.0, 1.0):
        assert bool(jnp.isfinite(target(x0, 2 * x0, t, vp_linear(), predict)).all())


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_exports(platform):
    x, t = jax.ShapeDtypeStruct((4, 8), jnp.float32), jax.ShapeDtypeStruct((4,), jnp.float32)
    f = jax.jit(lambda value, x, t: convert(value, x, t, vp_linear(), source="velocity", to="score"))
    assert export.export(f, platforms=[platform])(x, x, t).platforms == (platform,)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: target(x, x, 0.5, straight(), "noise"), "predict to be one of 'eps'"),
        (lambda x: target(x, x[:1], 0.5, straight(), "eps"), "eps like x0"),
        (lambda x: convert(x, x, 0.5, straight(), source="eps", to="noise"), "to to be one of"),
        (lambda x: convert(x, x, 0.5, straight(), source="noise", to="noise"), "to be one of"),
        (lambda x: x0_and_eps(x[:1], x, 0.5, straight(), "eps"), "shape of x"),
        (lambda x: target(x, x, jnp.ones(7), straight(), "v"), "one entry per sample"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((2, 3)))
