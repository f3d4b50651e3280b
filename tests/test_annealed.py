"""Annealed Langevin steps against the published loop and the variance that linear steps have exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from diffbook.generative import GaussianMixture, annealed_langevin
from diffbook.sde import simulate

SIGMAS, EPSILON, STEPS = np.array([3.0, 1.0, 0.4]), 0.3, 5


def gaussian_score(x, sigma):
    return -x / (1 + sigma**2)


def test_is_the_published_algorithm():
    """Song & Ermon 2019, algorithm 1, line by line; their epsilon is ours times the last variance."""
    with jax.enable_x64(True):
        noise = np.random.default_rng(0).normal(size=(15, 4, 2))
        x = np.random.default_rng(1).normal(size=(4, 2))
        sde = annealed_langevin(gaussian_score, jnp.asarray(SIGMAS), step_size=EPSILON, steps_per_level=STEPS)
        got = simulate(sde, jnp.asarray(x), jnp.arange(16.0), noise=jnp.asarray(noise), save="last")
        theirs, z = EPSILON * SIGMAS[-1] ** 2, iter(noise)
        for sigma in SIGMAS:
            step = theirs * sigma**2 / SIGMAS[-1] ** 2
            for _ in range(STEPS):
                x = x + step / 2 * gaussian_score(x, sigma) + np.sqrt(step) * next(z)
        np.testing.assert_allclose(got, x, rtol=1e-12)


def test_variance_follows_its_recursion():
    """Steps of a linear score multiply the variance by (1 - h/(2 v))^2 and add h."""
    n, v = 100_000, 9.0
    x = 3.0 * jax.random.normal(jax.random.key(0), (n,))
    sde = annealed_langevin(gaussian_score, jnp.asarray(SIGMAS), step_size=EPSILON, steps_per_level=STEPS)
    x = simulate(sde, x, jnp.arange(16.0), key=jax.random.key(1), save="last")
    for sigma in SIGMAS:
        h = EPSILON * sigma**2
        for _ in range(STEPS):
            v = (1 - h / 2 / (1 + sigma**2)) ** 2 * v + h
    assert abs(float(x.var()) - v) < 4 * v * np.sqrt(2 / n)


def test_annealing_keeps_weights_that_langevin_alone_forgets():
    counts, n = jnp.array([0.2, 0.8]), 4000

    def score(x, sigma):
        return GaussianMixture(counts, jnp.array([[-7.0], [7.0]]), jnp.sqrt(1 + sigma**2) * jnp.ones(2)).score(x)

    shares = []
    for top in (10.0, 1.0):
        sigmas = jnp.geomspace(top, 0.5, 12)
        sde = annealed_langevin(score, sigmas, step_size=0.2, steps_per_level=100)
        start = 10 * jax.random.normal(jax.random.key(0), (n, 1))
        x = simulate(sde, start, jnp.arange(1201.0), key=jax.random.key(1), save="last")
        shares.append(float((x > 0).mean()))
    assert abs(shares[0] - 0.8) < 4 * 0.4 / np.sqrt(n) + 0.01 and shares[1] < 0.55


def test_every_step_has_its_level_to_the_last_of_a_long_ladder():
    sigmas = jnp.linspace(2.0, 1.0, 1000)
    sde = annealed_langevin(lambda x, s: s * jnp.ones_like(x), sigmas, step_size=1.0, steps_per_level=7)
    ks = np.arange(7000)
    seen = jax.vmap(lambda k: sde.drift(jnp.ones(()), k))(jnp.asarray(ks, jnp.float32))
    np.testing.assert_allclose(seen, 0.5 * np.asarray(sigmas)[ks // 7] ** 3, rtol=1e-6)


def test_exports():
    def f(x, sigmas, key):
        sde = annealed_langevin(gaussian_score, sigmas, step_size=0.1, steps_per_level=3)
        return simulate(sde, x, jnp.arange(10.0), key=key, save="last")

    key = jax.random.key(0)
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((5, 2), (3,))]
    exported = export.export(jax.jit(f), platforms=["cuda", "tpu"])(*shapes, jax.ShapeDtypeStruct((), key.dtype))
    assert exported.platforms == ("cuda", "tpu")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"sigmas": jnp.array([1.0, 2.0])}, "falling noise levels"),
        ({"sigmas": jnp.array([1.0, 0.0])}, "falling noise levels"),
        ({"sigmas": jnp.zeros((0,))}, "falling noise levels"),
        ({"sigmas": jnp.array([2, 1])}, "floating"),
        ({"step_size": 0.0}, "step_size > 0"),
        ({"step_size": 4.0}, "step_size < 4"),
        ({"steps_per_level": 0}, "steps_per_level >= 1"),
    ],
)
def test_bad_input(change, message):
    given = {"sigmas": jnp.array([2.0, 1.0]), "step_size": 0.1, "steps_per_level": 2} | change
    with pytest.raises(ValueError, match=message):
        annealed_langevin(gaussian_score, given.pop("sigmas"), **given)
