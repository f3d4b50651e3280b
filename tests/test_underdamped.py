"""underdamped: exact statistics of the linear oscillator, Verlet's virtues, and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffbook import sde

FREQUENCY, FRICTION, TEMPERATURE = 1.3, 0.6, 0.8


def oscillator(friction=FRICTION, temperature=TEMPERATURE):
    return sde.underdamped_langevin(lambda x: FREQUENCY**2 * x**2 / 2, friction=friction, temperature=temperature)


def linear_map(step, equation, h):
    """z -> A z + B N(0, 1) of one step of a linear equation, (2, 2) and (2, 2)."""
    h, origin = jnp.asarray(h), jnp.zeros((2, 1))
    a = jax.jacfwd(lambda z: step(equation, z, 0.0, h, jnp.zeros((2, 1))))(origin)
    b = jax.jacfwd(lambda dw: step(equation, origin, 0.0, h, dw))(origin)
    return np.asarray(a).reshape(2, 2), np.asarray(b).reshape(2, 2) * np.sqrt(h)


def stationary_covariance(step, equation, h):
    """C = A C A' + B B', the discrete Lyapunov equation."""
    a, b = linear_map(step, equation, h)
    return np.linalg.solve(np.eye(4) - np.kron(a, a), (b @ b.T).ravel()).reshape(2, 2)


@pytest.mark.parametrize("h", [0.01, 0.3, 1.0, 1.5])
def test_baoab_has_the_exact_spread_of_positions(h):
    with jax.enable_x64(True):
        covariance = stationary_covariance(sde.baoab(FRICTION), oscillator(), h)
        np.testing.assert_allclose(covariance[0, 0], TEMPERATURE / FREQUENCY**2, rtol=1e-11)
        np.testing.assert_allclose(covariance[1, 1], TEMPERATURE * (1 - (FREQUENCY * h / 2) ** 2), rtol=1e-11)
        np.testing.assert_allclose(covariance[0, 1], 0, atol=1e-12)


def test_euler_is_too_hot_to_first_order():
    with jax.enable_x64(True):
        excess = [stationary_covariance(sde.euler_maruyama, oscillator(), h)[1, 1] - TEMPERATURE for h in (2e-3, 1e-3)]
        assert excess[1] > 0
        np.testing.assert_allclose(excess[0] / excess[1], 2, rtol=0.01)


@settings(deadline=None, max_examples=20, derandomize=True)
@given(h=st.floats(1e-3, 1.4), friction=st.floats(0, 5.0))
def test_baoab_shrinks_phase_space_as_friction_does(h, friction):
    """The determinant of a step is exp(-friction h), exactly; without friction the step is symplectic."""
    with jax.enable_x64(True):
        a, _ = linear_map(sde.baoab(friction), oscillator(friction), h)
        np.testing.assert_allclose(np.linalg.det(a), np.exp(-friction * h), rtol=1e-12)


def test_verlet_runs_back_the_way_it_came():
    with jax.enable_x64(True):
        equation = sde.underdamped_langevin(lambda x: (x**2 - 1) ** 2, friction=0.0, temperature=0.0)
        z0, ts = jnp.array([[0.3, 1.2], [0.1, -0.4]]), jnp.linspace(0.0, 5.0, 101)
        there = sde.simulate(equation, z0, ts, key=jax.random.key(0), step=sde.baoab(0.0), save="last")
        back = sde.simulate(equation, there, ts[::-1], key=jax.random.key(1), step=sde.baoab(0.0), save="last")
        np.testing.assert_allclose(back, z0, atol=1e-12)


def test_baoab_is_of_second_order():
    """The mean of a damped oscillator against its matrix exponential."""
    from scipy.linalg import expm

    with jax.enable_x64(True):
        equation, z0 = oscillator(temperature=0.0), jnp.array([[1.0], [-0.5]])
        exact = expm(2.0 * np.array([[0, 1], [-(FREQUENCY**2), -FRICTION]])) @ np.asarray(z0)

        def error(n):
            ts, quiet = jnp.linspace(0.0, 2.0, n + 1), jnp.zeros((n, 2, 1))
            z = sde.simulate(equation, z0, ts, noise=quiet, step=sde.baoab(FRICTION), save="last")
            return np.abs(z - exact).max()

        np.testing.assert_allclose(error(40) / error(80), 4, rtol=0.05)


def test_free_flight_has_the_exact_velocities():
    """With no force a step of any length leaves the velocity in its exact law."""
    with jax.enable_x64(True):
        free = sde.underdamped_langevin(lambda x: 0 * x, friction=2.0, temperature=0.5)
        a, b = linear_map(sde.baoab(2.0), free, 0.9)
        np.testing.assert_allclose(a[1, 1], np.exp(-1.8), rtol=1e-13)
        np.testing.assert_allclose((b @ b.T)[1, 1], 0.5 * (1 - np.exp(-3.6)), rtol=1e-13)


def test_anharmonic_equilibrium():
    """<x**2> in a quartic well against quadrature; the error of the step is of order h**2 <U''> / 12, below 0.2 %."""
    n = 20_000
    equation = sde.underdamped_langevin(lambda x: x**4 / 4, friction=1.0, temperature=1.0)
    ts = jnp.linspace(0.0, 15.0, 151)
    z = sde.simulate(equation, jnp.zeros((2, n)), ts, key=jax.random.key(2), step=sde.baoab(1.0), save="last")
    grid = np.linspace(-6, 6, 2001)
    weight = np.exp(-(grid**4) / 4)
    second, fourth = ((weight * grid**k).sum() / weight.sum() for k in (2, 4))
    assert abs(float((z[0] ** 2).mean()) - second) < 4 * np.sqrt((fourth - second**2) / n) + 0.002
    assert abs(float((z[1] ** 2).mean()) - 1) < 4 * np.sqrt(2 / n) + 0.01  # h**2 <U''> / 4 = 0.005


def test_dtype_shape_and_coupled_coordinates():
    equation = sde.underdamped_langevin(lambda x: (x.sum(-1)) ** 2, friction=0.5, temperature=0.1)
    z = sde.simulate(equation, jnp.ones((3, 2, 4)), jnp.linspace(0, 1, 5), key=jax.random.key(0), step=sde.baoab(0.5))
    assert z.shape == (5, 3, 2, 4) and z.dtype == jnp.float32
    np.testing.assert_allclose(equation.drift(jnp.ones((3, 2, 4)), 0.0)[..., 1, :], -8.5, rtol=1e-6)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_exports(platform):
    def run(z):
        ts = jnp.linspace(0.0, 1.0, 5)
        return sde.simulate(oscillator(), z, ts, key=jax.random.key(0), step=sde.baoab(FRICTION), save="last")

    assert jax.export.export(jax.jit(run), platforms=[platform])(jnp.ones((2, 8))).platforms == (platform,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: oscillator(friction=-1.0), "underdamped_langevin needs friction >= 0, got friction=-1.0"),
        (lambda: oscillator(temperature=jnp.inf), "needs temperature >= 0, got temperature=inf"),
        (lambda: sde.underdamped_langevin(1.0, friction=1.0, temperature=1.0), "potential to be a function, got 1.0"),
        (lambda: sde.baoab(-0.1), "baoab needs friction >= 0, got friction=-0.1"),
        (lambda: oscillator().drift(jnp.ones((4, 3)), 0.0), r"has shape \(..., 2, d\), .*got \(4, 3\)"),
        (lambda: oscillator().drift(jnp.ones(2), 0.0), r"has shape \(..., 2, d\), .*got \(2,\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
