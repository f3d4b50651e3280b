"""Mixtures: density against SciPy, score against the density's gradient, noising against Monte Carlo."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from scipy import stats

from diffbook.generative import GaussianMixture, empirical_denoiser, perturb, straight, vp_linear

WEIGHTS, MEANS = np.array([0.2, 0.5, 0.3]), np.array([[0.0, 1.0], [-2.0, 0.5], [3.0, -1.0]])


# Compiled once for both mixtures of the fixture, which have the same shapes.
log_prob = jax.jit(lambda mixture, x: mixture.log_prob(x))
score_and_gradient = jax.jit(lambda mixture, x: (mixture.score(x), jax.vmap(jax.grad(mixture.log_prob))(x)))
draws = jax.jit(lambda mixture, key: mixture.sample(key, 100_000))


@partial(jax.jit, static_argnums=1)
def witnesses(mixture, schedule):
    """Mean and variance of three functions of perturbed samples, and of samples of the diffused mixture."""
    n, t = 100_000, 0.3
    x0 = mixture.sample(jax.random.key(0), n)
    x = perturb(x0, t, jax.random.normal(jax.random.key(1), x0.shape, x0.dtype), schedule)
    noisy = mixture.diffused(schedule, t)
    y = noisy.sample(jax.random.key(2), n)
    seen = [(noisy.log_prob(z), jnp.sin(z).sum(-1), (z**2).sum(-1)) for z in (x, y)]
    return [[(a.mean(), a.var() / n) for a in one] for one in seen]


@pytest.fixture(params=["one width", "a width per direction"])
def mixture(request):
    with jax.enable_x64(True):
        stds = np.array([0.5, 1.0, 0.3])
        if request.param != "one width":
            stds = np.array([[0.5, 0.2], [1.0, 2.0], [0.3, 0.3]])
        yield GaussianMixture(jnp.asarray(WEIGHTS), jnp.asarray(MEANS), jnp.asarray(stds))


def test_density_is_scipys(mixture):
    x = np.random.default_rng(0).normal(size=(4, 5, 2)) * 2
    parts = [
        w * stats.multivariate_normal(m, np.diag(s**2)).pdf(x)
        for w, m, s in zip(WEIGHTS, MEANS, np.asarray(mixture.stds), strict=True)
    ]
    got = log_prob(mixture, jnp.asarray(x))
    assert got.shape == (4, 5)
    np.testing.assert_allclose(got, np.log(sum(parts)), rtol=1e-12)


def test_score_is_the_gradient(mixture):
    x = jnp.asarray(np.random.default_rng(1).normal(size=(7, 2)) * 2)
    score, gradient = score_and_gradient(mixture, x)
    np.testing.assert_allclose(score, gradient, rtol=1e-10, atol=1e-12)
    assert mixture.score(x[0]).shape == (2,)


def test_far_tails_keep_their_score():
    """At 200 widths the density is exp(-20000), far below float32."""
    mixture = GaussianMixture(jnp.array([0.5, 0.5]), jnp.array([[-1.0], [1.0]]), jnp.array([1.0, 1.0]))
    np.testing.assert_allclose(mixture.score(jnp.array([[200.0], [-200.0]]))[:, 0], [-199.0, 199.0], rtol=1e-6)
    assert bool(jnp.isfinite(mixture.log_prob(jnp.array([[200.0]]))).all())


def test_samples_have_the_mixtures_moments(mixture):
    n = 100_000
    x = np.asarray(draws(mixture, jax.random.key(0)))
    mean = WEIGHTS @ MEANS
    var = WEIGHTS @ (np.asarray(mixture.stds) ** 2 + MEANS**2) - mean**2
    assert np.all(np.abs(x.mean(0) - mean) < 4 * np.sqrt(var / n))
    fourth = ((x - mean) ** 4).mean(0)
    assert np.all(np.abs(x.var(0) - var) < 4 * np.sqrt((fourth - var**2) / n))


@pytest.mark.parametrize("schedule", [vp_linear(), straight()])
def test_diffused_is_the_law_of_perturbed_samples(mixture, schedule):
    """The mean of any function may serve as witness; log p_t itself is one that sees every direction."""
    for (a, var_a), (b, var_b) in zip(*witnesses(mixture, schedule), strict=True):
        assert abs(float(a - b)) < 4 * float(np.sqrt(var_a + var_b))


def test_diffused_ends(mixture):
    start = mixture.diffused(vp_linear(), 0.0)
    np.testing.assert_allclose(start.means, mixture.means)
    np.testing.assert_allclose(start.stds, mixture.stds)
    end = mixture.diffused(straight(), 1.0)
    np.testing.assert_allclose(end.score(jnp.ones((1, 2))), -jnp.ones((1, 2)), rtol=1e-12)


def test_one_component_score_is_linear():
    with jax.enable_x64(True):
        single = GaussianMixture(jnp.ones(1), jnp.array([[1.0, 2.0]]), jnp.array([0.5]))
        x = jnp.array([[0.0, 0.0]])
        np.testing.assert_allclose(single.score(x), (jnp.array([[1.0, 2.0]]) - x) / 0.25)


def test_exports_and_passes_through_jit(mixture):
    def f(mixture, key, x, t):
        noisy = mixture.diffused(vp_linear(), t)
        return noisy.score(x), noisy.log_prob(x), noisy.sample(key, 3)

    args = (mixture, jax.random.key(0), jnp.ones((4, 2)), jnp.asarray(0.3))
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), args)
    assert export.export(jax.jit(f), platforms=["cuda", "tpu"])(*shapes).platforms == ("cuda", "tpu")
    for together, alone in zip(jax.jit(f)(*args), f(*args), strict=True):
        np.testing.assert_allclose(together, alone, rtol=1e-10)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([0.5, 0.6], [[0.0], [1.0]], [1.0, 1.0]), "sum 1"),
        (([1.5, -0.5], [[0.0], [1.0]], [1.0, 1.0]), "weights > 0"),
        (([0.5, 0.5], [[0.0], [1.0]], [1.0, 0.0]), "stds > 0"),
        (([0.5, 0.5], [0.0, 1.0], [1.0, 1.0]), r"write means\[:, None\]"),
        (([1.0], [[0.0], [1.0]], [1.0, 1.0]), "needs shapes"),
        (([1.0], [[0.0]], [float("nan")]), "stds > 0"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(*map(jnp.array, arguments))


def posterior_mean(x, t, data, schedule):
    """The definition, in float64 and without rearranging anything."""
    x, data = np.asarray(x, np.float64), np.asarray(data, np.float64)
    t = np.broadcast_to(t, len(x))
    out = []
    for one, time in zip(x, t, strict=True):
        alpha, var = float(schedule.alpha(time)), float(schedule.var(time))
        logs = -((one - alpha * data) ** 2).reshape(len(data), -1).sum(1) / (2 * var)
        w = np.exp(logs - logs.max())
        out.append(np.tensordot(w / w.sum(), data, axes=1))
    return np.stack(out)


@pytest.mark.parametrize("schedule", [vp_linear(), straight()], ids=["vp_linear", "straight"])
@pytest.mark.parametrize("t", [0.05, np.linspace(0.1, 1.0, 6)], ids=["one time", "a time per sample"])
def test_empirical_denoiser_is_bayes_rule(schedule, t):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        data, x = rng.normal(size=(30, 3, 2)), rng.normal(size=(6, 3, 2))
        got = empirical_denoiser(jnp.asarray(x), jnp.asarray(t), jnp.asarray(data), schedule)
        np.testing.assert_allclose(got, posterior_mean(x, t, data, schedule), rtol=1e-9, atol=1e-12)


def test_empirical_denoiser_is_the_limit_of_narrow_mixtures():
    """Tweedie's formula on a mixture of bells of width 1e-6 about the data."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        data, x = jnp.asarray(rng.normal(size=(9, 4))), jnp.asarray(rng.normal(size=(5, 4)))
        schedule, t = vp_linear(), 0.3
        noisy = GaussianMixture(jnp.full(9, 1 / 9), data, jnp.full(9, 1e-6)).diffused(schedule, t)
        tweedie = (x + schedule.var(t) * noisy.score(x)) / schedule.alpha(t)
        np.testing.assert_allclose(empirical_denoiser(x, t, data, schedule), tweedie, rtol=1e-7)


def test_empirical_denoiser_returns_data_at_low_noise_and_their_mean_at_none_of_the_signal():
    data = jnp.asarray(np.random.default_rng(2).normal(size=(20, 8, 8, 1)), jnp.float32)
    np.testing.assert_allclose(empirical_denoiser(data, 1e-3, data, vp_linear()), data, atol=1e-6)
    lost = empirical_denoiser(data[:3], 1.0, data, straight())
    np.testing.assert_allclose(lost, jnp.broadcast_to(data.mean(0), lost.shape), atol=1e-6)
    assert lost.dtype == jnp.float32 and bool(jnp.isnan(empirical_denoiser(data, 0.0, data, vp_linear())).any())


def test_empirical_denoiser_is_not_fooled_by_a_far_origin():
    """In float32, data around 1000 with differences of order one."""
    data = 1000 + jnp.array([[-1.0, 0.0], [1.0, 0.5], [0.0, 1.0]])
    x = data[:2] + jnp.array([[0.3, -0.2]])
    clock = straight()
    got = empirical_denoiser(0.5 * x, 0.5, data, clock)
    np.testing.assert_allclose(got, posterior_mean(0.5 * x, 0.5, data, clock), atol=5e-4)


def test_empirical_denoiser_exports():
    def f(x, t, data):
        return empirical_denoiser(x, t, data, vp_linear())

    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((4, 8, 8, 1), (4,), (30, 8, 8, 1))]
    assert export.export(jax.jit(f), platforms=["cuda", "tpu"])(*shapes).platforms == ("cuda", "tpu")


@pytest.mark.parametrize(
    "x, t, data, message",
    [
        (jnp.ones(3), 0.5, jnp.ones((5, 3)), "one sample shape"),
        (jnp.ones((2, 4)), 0.5, jnp.ones((5, 3)), "one sample shape"),
        (jnp.ones((2, 3)), 0.5, jnp.ones((0, 3)), "one sample shape"),
        (jnp.ones((2, 3), int), 0.5, jnp.ones((5, 3)), "floating"),
        (jnp.ones((2, 3)), jnp.ones(4), jnp.ones((5, 3)), "one entry per sample"),
    ],
)
def test_empirical_denoiser_bad_input(x, t, data, message):
    with pytest.raises(ValueError, match=message):
        empirical_denoiser(x, t, data, vp_linear())
