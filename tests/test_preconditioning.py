"""EDM's coefficients against the three wishes they come from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffbook.generative.preconditioning import edm_coefficients


def test_unit_variances_and_the_least_magnification():
    with jax.enable_x64(True):
        sigma, sigma_data = jnp.array([0.01, 0.5, 3.0, 80.0]), 0.7
        skip, out, into, noise = edm_coefficients(sigma, sigma_data)
        data, added = sigma_data**2, sigma**2
        np.testing.assert_allclose(into**2 * (data + added), 1.0, rtol=1e-12)
        np.testing.assert_allclose(((1 - skip) ** 2 * data + skip**2 * added) / out**2, 1.0, rtol=1e-12)
        for other in (skip - 1e-3, skip + 1e-3):
            assert bool(((1 - other) ** 2 * data + other**2 * added > out**2).all())
        np.testing.assert_allclose(noise, np.log(sigma) / 4)


@pytest.mark.parametrize("arguments, message", [((0.0,), "sigma"), ((1.0, -0.5), "sigma_data")])
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        edm_coefficients(*arguments)
