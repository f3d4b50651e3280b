"""The heat kernel against its moments and its equation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings

from diffbook.pde import heat

BOUNDARIES = ("periodic", "neumann", "dirichlet")
GRIDS = ((1,), (2,), (12,), (1, 4), (9, 7), (2, 3, 5))
STEPPERS = (heat.ftcs, heat.ftcs_jump, heat.crank_nicolson)
CELLS, STEPS = 12, 7  # shared by most tests: one shape is compiled once

each_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)
each_stepper = pytest.mark.parametrize("stepper", STEPPERS, ids=lambda f: f.__name__)
few = settings(max_examples=10, deadline=None, derandomize=True)


def field(shape, dtype=float):
    return jnp.asarray(np.random.default_rng(1).random(shape), dtype)


@pytest.mark.parametrize("d", (1, 2, 3))
def test_kernel_has_unit_mass_and_the_variance_of_diffusion(d):
    with jax.enable_x64(True):
        t, diffusivity = 0.7, 0.4
        x = np.linspace(-8, 8, 65)  # the trapezoidal rule is exact to rounding on a Gaussian this well resolved
        points = np.stack(np.meshgrid(*[x] * d, indexing="ij"), axis=-1)
        weights = np.asarray(heat.heat_kernel(points, t, diffusivity=diffusivity)) * (x[1] - x[0]) ** d
        assert weights.shape == (65,) * d
        assert weights.sum() == pytest.approx(1, abs=1e-12)
        assert (weights * (points**2).sum(-1)).sum() == pytest.approx(2 * d * diffusivity * t, abs=1e-12)


def test_kernel_solves_the_equation_and_its_score_is_linear():
    with jax.enable_x64(True):
        x, t, diffusivity = np.array([0.3, -0.8]), 0.5, 1.7
        kernel = partial(heat.heat_kernel, diffusivity=diffusivity)
        laplacian = np.trace(jax.jit(jax.hessian(kernel))(x, t))
        assert jax.jit(jax.grad(kernel, argnums=1))(x, t) == pytest.approx(float(diffusivity * laplacian), rel=1e-12)
        score = jax.jit(jax.grad(lambda x: jnp.log(kernel(x, t))))(x)
        np.testing.assert_allclose(score, -x / (2 * diffusivity * t), rtol=1e-12)


def test_kernel_broadcasts_times_and_survives_many_dimensions():
    x, t = np.ones((4, 3, 2), np.float32), np.array([1.0, 2.0, 3.0])
    values = heat.heat_kernel(x, t, diffusivity=1.0)
    assert values.shape == (4, 3)
    np.testing.assert_allclose(np.asarray(values)[1], np.exp(-2 / (4 * t)) / (4 * np.pi * t), rtol=1e-6)
    assert heat.heat_kernel(x[:, :1], t, diffusivity=1.0).shape == (4, 3)
    # In 784 dimensions the factor (4 pi D t)**(-d/2) = 2**392 alone is beyond float32, and exp(-3153) below it: their
    # product is zero, and not infinity times zero.
    spread = 0.5 / (4 * np.pi)
    assert float(heat.heat_kernel(np.full(784, 0.8, np.float32), spread, diffusivity=1.0)) == 0.0


# ---------------------------------------------------------------- devices
