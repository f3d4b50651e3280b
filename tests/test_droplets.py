"""Single droplets and pairs: exact growth, measured speeds of fall, and the gravitational kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from scipy.integrate import quad

from diffbook.applications import clouds


def test_growth_in_r_squared():
    with jax.enable_x64(True):
        r = np.array([1e-6, 5e-6, 2e-5])
        np.testing.assert_allclose(clouds.condense(r, growth=1e-10) ** 2 - r**2, 1e-10, rtol=1e-12)


def test_growth_parameter_is_of_the_size_in_use():
    """Olesik et al. 2022 take 100 um^2/s; colder and thinner vapour means slower growth."""
    warm, cold = (float(clouds.growth_parameter(t, 9e4)) for t in (283.15, 273.15))
    assert 60e-12 < cold < warm < 120e-12


def test_east_marshall_water():
    water = quad(lambda u: clouds.mass_of(u * 1e-6) * clouds.east_marshall(u * 1e-6) * 1e-6, 0.1, 100)[0]
    assert water == pytest.approx(1e-3, rel=1e-3)  # 1 g/kg in air of 1 kg/m^3


def test_speed_of_fall_against_gunn_and_kinzer():
    """Measured speeds, cm/s, at these diameters, mm (Gunn and Kinzer 1949); Beard's fit is good to a few per cent."""
    diameters = jnp.array([0.2, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0])
    measured = [72, 206, 403, 649, 806, 883, 909]
    np.testing.assert_allclose(100 * clouds.terminal_velocity(diameters * 5e-4), measured, rtol=0.04)


def test_speed_of_fall_is_stokes_below_and_rises_without_jumps():
    with jax.enable_x64(True):
        r = jnp.geomspace(1e-7, 2.5e-3, 4001)
        v = clouds.terminal_velocity(r)
        step = jnp.diff(v) / v[:-1]  # the published pieces do not quite meet
        assert float(step.min()) > -0.003 and int((step < 0).sum()) <= 2 and float(step.max()) < 0.03
        stokes = 2 / 9 * 9.80665 * (998.2 - 1.204) / 1.818e-5 * 5e-6**2
        assert float(clouds.terminal_velocity(jnp.array(5e-6))) == pytest.approx(stokes, rel=0.02)


def test_kernels():
    with jax.enable_x64(True):
        m = jnp.asarray(clouds.mass_of(np.array([2e-6, 1e-5, 3e-5, 2e-4])))
        k = clouds.gravitational_kernel(m[:, None], m[None])
        np.testing.assert_allclose(k, k.T, rtol=1e-12)
        np.testing.assert_array_equal(jnp.diag(k), 0)
        assert float(clouds.long_efficiency(2e-6, 3e-5)) == 0.0  # too small to be hit
        assert float(clouds.long_efficiency(1e-5, 3e-5)) == pytest.approx(4.5e8 * 9e-10 * 0.7)
        assert float(clouds.long_efficiency(1e-5, 6e-5)) == 1.0


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_exports(platform):
    export.export(jax.jit(clouds.terminal_velocity), platforms=[platform])(jax.ShapeDtypeStruct((5,), jnp.float32))
    mass = jax.ShapeDtypeStruct((5,), jnp.float32)
    export.export(jax.jit(clouds.gravitational_kernel), platforms=[platform])(mass, mass)
