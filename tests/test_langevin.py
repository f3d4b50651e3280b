"""langevin: the force is the slope, and the ensemble keeps the equilibrium."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffbook import sde
from diffbook.pde import fokker_planck


def bowl(x):
    """Coupled coordinates: (..., d) -> (...)."""
    return (x**2).sum(-1) / 2 + (x.sum(-1)) ** 4


def test_drift_is_minus_the_gradient_and_noise_is_root_2d():
    with jax.enable_x64(True):
        equation = sde.langevin(bowl, 0.7)
        x = jnp.array([[0.3, -0.2], [1.0, 0.5], [0.0, 0.0]])
        expected = -(x + 4 * x.sum(-1, keepdims=True) ** 3)
        np.testing.assert_allclose(equation.drift(x, 0.0), expected, rtol=1e-14)
        np.testing.assert_allclose(equation.diffusion(x, 0.0) ** 2, 1.4 * jnp.ones((3, 2)), rtol=1e-14)


@settings(deadline=None, max_examples=10, derandomize=True)
@given(scale=st.floats(0.1, 4.0), seed=st.integers(0, 100))
def test_elementwise_and_summed_potentials_are_one(scale, seed):
    """The same U for every number, whatever the shape; walkers do not feel each other."""
    x = jax.random.normal(jax.random.key(seed), (5, 1))
    summed = sde.langevin(lambda x: scale * ((x**2 - 1) ** 2).sum(-1), 0.1).drift(x, 0.0)
    elementwise = sde.langevin(lambda x: scale * (x**2 - 1) ** 2, 0.1)
    np.testing.assert_allclose(elementwise.drift(x, 0.0), summed, rtol=1e-6)
    np.testing.assert_allclose(elementwise.drift(x[:, 0], 0.0), summed[:, 0], rtol=1e-6)
    np.testing.assert_allclose(elementwise.drift(x[0, 0], 0.0), summed[0, 0], rtol=1e-6)


def test_a_parabola_is_the_ornstein_uhlenbeck_process():
    x0, ts, key = jnp.linspace(-1.0, 1.0, 7), jnp.linspace(0.0, 1.0, 21), jax.random.key(0)
    ours = sde.simulate(sde.langevin(lambda x: 1.5 * (x - 0.2) ** 2, 0.5), x0, ts, key=key)
    theirs = sde.simulate(sde.ornstein_uhlenbeck(3.0, 0.2, 1.0), x0, ts, key=key)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_ensemble_follows_the_density():
    """20,000 walkers released in the left well against the Fokker-Planck density, where the right well fills."""
    x0, n = -1.0, 20_000

    def potential(x):
        return (x**2 - 1) ** 2

    ts = jnp.linspace(0.0, 3.0, 1501)
    x = sde.simulate(sde.langevin(potential, 0.5), jnp.full(n, x0), ts, key=jax.random.key(1), save="last")
    grid = jnp.linspace(-2.5, 2.5, 400)
    p = jnp.zeros(400).at[jnp.argmin(jnp.abs(grid - x0))].set(1.0)
    p = fokker_planck.evolve(p, x=grid, potential=potential, diffusivity=0.5, dt=0.002, num_steps=1500)
    expected = float(p[grid > 0].sum())
    # Four standard errors, and a bias of both schemes of order dt times curvature, 0.002 * 8, of the rate.
    assert abs(float((x > 0).mean()) - expected) < 4 * np.sqrt(expected * (1 - expected) / n) + 0.016 * expected


def test_same_program_for_another_diffusivity_and_gradients():
    x0, ts, dw = jnp.ones(3), jnp.linspace(0.0, 1.0, 11), jnp.zeros((10, 3))

    def end(height):
        equation = sde.langevin(lambda x: height * x**2 / 2, 0.0)
        return sde.simulate(equation, x0, ts, noise=dw, save="last").sum()

    np.testing.assert_allclose(end(2.0), 3 * 0.8**10, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(end)(2.0), 3 * 10 * 0.8**9 * -0.1, rtol=1e-5)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_exports(platform):
    def run(x):
        equation = sde.langevin(bowl, 0.5)
        return sde.simulate(equation, x, jnp.linspace(0.0, 1.0, 5), key=jax.random.key(0), save="last")

    assert jax.export.export(jax.jit(run), platforms=[platform])(jnp.ones((4, 2))).platforms == (platform,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sde.langevin(bowl, -1.0), "langevin needs diffusivity >= 0, got diffusivity=-1.0"),
        (lambda: sde.langevin(bowl, jnp.nan), "got diffusivity=nan"),
        (lambda: sde.langevin(3.0, 1.0), "potential to be a function, got 3.0"),
        (lambda: sde.langevin(lambda x: x.sum(), 1.0).drift(jnp.ones((4, 2)), 0.0), r"got \(\) for points \(4, 2\)"),
        (lambda: sde.langevin(lambda x: x[:, None], 1.0).drift(jnp.ones(4), 0.0), r"got \(4, 1\) for points \(4,\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
