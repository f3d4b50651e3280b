"""Likelihood along the flow against densities known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from diffbook.generative import GaussianMixture, vp_linear
from diffbook.generative.likelihood import log_likelihood

SCHEDULE = vp_linear()


def mixture():
    return GaussianMixture(jnp.array([0.3, 0.7]), jnp.array([[-1.0, 0.5], [0.8, 0.0]]), jnp.array([0.4, 0.3]))


def score(x, t):
    return mixture().diffused(SCHEDULE, t).score(x)


def end_law(x):
    return mixture().diffused(SCHEDULE, 1.0).log_prob(x)


def test_exact_divergence_gives_the_density_to_the_steps_order():
    with jax.enable_x64(True):
        x0 = jnp.array([[-1.0, 0.4], [0.5, 0.1], [0.0, 1.5]])
        errors = []
        for n in (40, 80):
            got = log_likelihood(x0, score, SCHEDULE, jnp.linspace(0, 1, n + 1), log_prior=end_law)
            errors.append(float(jnp.abs(got - mixture().log_prob(x0)).max()))
        assert errors[1] < 0.02 and np.log2(errors[0] / errors[1]) > 1.7


def test_hutchinson_is_unbiased():
    """Against the exact divergence on the same grid: four standard errors."""
    ts = jnp.linspace(0, 1, 31)
    x0, n = jnp.array([[0.2, 0.9]]), 4000
    exact = log_likelihood(x0, score, SCHEDULE, ts)
    many = log_likelihood(jnp.repeat(x0, n, 0), score, SCHEDULE, ts, key=jax.random.key(0))
    assert float(many.std()) > 0.01
    assert abs(float(many.mean() - exact[0])) < 4 * float(many.std()) / n**0.5


def test_shape_of_samples_does_not_matter():
    x0 = jax.random.normal(jax.random.key(0), (3, 2, 2))
    linear = lambda x, t: -x / 2  # noqa: E731
    flat = log_likelihood(x0.reshape(3, 4), linear, SCHEDULE, jnp.linspace(0, 1, 11))
    np.testing.assert_allclose(log_likelihood(x0, linear, SCHEDULE, jnp.linspace(0, 1, 11)), flat, rtol=1e-6)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_exports(platform):
    def f(x):
        ts = jnp.linspace(0, 1, 5)
        return log_likelihood(x, score, SCHEDULE, ts) + log_likelihood(x, score, SCHEDULE, ts, key=jax.random.key(0))

    exported = export.export(jax.jit(f), platforms=[platform])(jax.ShapeDtypeStruct((4, 2), jnp.float32))
    assert exported.platforms == (platform,)


@pytest.mark.parametrize(
    "x0, ts, message",
    [
        (jnp.ones(3), jnp.linspace(0, 1, 5), r"x0\[:, None\]"),
        (jnp.ones((3, 1)), jnp.linspace(1, 0, 5), "rise"),
        (jnp.ones((3, 1)), jnp.array([-0.1, 1.0]), "rise from 0"),
    ],
)
def test_bad_input(x0, ts, message):
    with pytest.raises(ValueError, match=message):
        log_likelihood(x0, score, SCHEDULE, ts)
