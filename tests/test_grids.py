"""Grids of noise levels against the published formula, and times against the schedules that they invert."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffbook.generative import straight, vp_cosine, vp_linear
from diffbook.generative.grids import edm_sigmas, times_of_noise


def test_edm_grid():
    """The published formula, evaluated level by level; its last level is followed by 0."""
    sigmas = np.asarray(edm_sigmas(18))
    levels = [(80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(18)]
    np.testing.assert_allclose(sigmas, levels + [0.0], rtol=1e-5)
    np.testing.assert_allclose(edm_sigmas(3, 1.0, 100.0, rho=np.inf), [100.0, 10.0, 1.0, 0.0], rtol=1e-6)
    np.testing.assert_allclose(edm_sigmas(3, 1.0, 3.0, rho=1.0), [3.0, 2.0, 1.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize("schedule", [vp_linear(), vp_cosine(), straight()])
def test_times_of_noise_inverts_the_schedule(schedule):
    with jax.enable_x64(True):
        sigmas = jnp.array([100.0, 1.0, 0.01])
        t = times_of_noise(schedule, sigmas)
        np.testing.assert_allclose(jnp.sqrt(schedule.var(t)) / schedule.alpha(t), sigmas, rtol=1e-10)
        assert times_of_noise(schedule, jnp.array([1e9, 0.0])).tolist() == pytest.approx([1.0, 0.0], abs=1e-8)


@pytest.mark.parametrize(
    "arguments, message",
    [((1,), "num >= 2"), ((5, 1.0, 0.1), "sigma_min < sigma_max"), ((5, 0.002, 80.0, 0.0), "rho > 0")],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        edm_sigmas(*arguments)
