"""Walls: the transforms against SciPy's, and the waves against the stencil that they diagonalise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from diffbook.pde import _walls

SHAPES = ((1,), (2,), (9,), (8, 5), (3, 4, 2))


def field(shape):
    return jnp.asarray(np.random.default_rng(3).standard_normal(shape))


@pytest.mark.parametrize("boundary", _walls.BOUNDARIES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_there_and_back(shape, boundary):
    with jax.enable_x64(True):
        u = field(shape)
        back = _walls.inverse_transform(_walls.transform(u, boundary), shape, boundary)
        np.testing.assert_allclose(back, u, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cosines_and_sines_are_scipys(shape):
    with jax.enable_x64(True):
        u = field(shape)
        cosines = scipy.fft.dctn(np.asarray(u), type=2) / 2 ** len(shape)
        np.testing.assert_allclose(_walls.transform(u, "neumann"), cosines, atol=1e-12)
        np.testing.assert_allclose(_walls.transform(u, "dirichlet"), scipy.fft.dstn(np.asarray(u), type=1), atol=1e-12)


@pytest.mark.parametrize("boundary", _walls.BOUNDARIES)
def test_waves_diagonalise_the_stencil(boundary):
    with jax.enable_x64(True):
        u = field((7,))
        wide = _walls.extend(u, 1, boundary)
        bend = wide[:-2] - 2 * wide[1:-1] + wide[2:]
        (rates,) = _walls.eigenvalues((7,), boundary)
        np.testing.assert_allclose(_walls.transform(bend, boundary), -rates * _walls.transform(u, boundary), atol=1e-12)


@pytest.mark.parametrize("width", (1, 3, 7))
def test_walls_continue_outwards_as_they_say(width):
    u = field((7,))
    wide = {boundary: np.asarray(_walls.extend(u, width, boundary)) for boundary in _walls.BOUNDARIES}
    np.testing.assert_array_equal(wide["periodic"][:width], u[-width:])
    np.testing.assert_array_equal(wide["neumann"][:width], u[:width][::-1])
    np.testing.assert_array_equal(wide["dirichlet"][:width], np.r_[-u[: width - 1][::-1], 0.0])
