"""The telegrapher's equation: against Fourier integrals, its two limits, and what it conserves."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings

from diffbook.pde import heat, telegraph

BOUNDARIES = ("periodic", "neumann", "dirichlet")
CELLS, STEPS = 12, 7  # shared by most tests: one shape is compiled once
each_boundary = pytest.mark.parametrize("boundary", BOUNDARIES)
few = settings(max_examples=10, deadline=None, derandomize=True)
D, TAU = 1.3, 0.4
C = np.sqrt(D / TAU)


def evolve(u, ut, num_steps=STEPS, dx=0.1, dt=0.05, diffusivity=D, tau=TAU, **options):
    out = telegraph.evolve(u, ut, diffusivity=diffusivity, tau=tau, dx=dx, dt=dt, num_steps=num_steps, **options)
    return tuple(np.asarray(part) for part in out)


def fields(n=CELLS, dtype=float):
    return tuple(np.random.default_rng(3).random((2, n)).astype(dtype))


# ---------------------------------------------------------------- the Green's function


def over_the_cone(t, points=200):
    """Gauss-Legendre nodes and weights for the integral over |x| <= ct."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return C * t * nodes, C * t * weights


def wave(k, t):
    """Fourier transform of the pulse, from tau z**2 + z + D k**2 = 0 with u = 1, u_t = 0 at t = 0."""
    root = np.emath.sqrt(1 - 4 * TAU * D * k**2 + 0j)
    slow, fast = (-1 + root) / (2 * TAU), (-1 - root) / (2 * TAU)
    return ((slow * np.exp(fast * t) - fast * np.exp(slow * t)) / (slow - fast)).real


@pytest.mark.parametrize("t", (0.05, 0.5, 3.0, 40.0))
def test_green_and_fronts_have_the_right_fourier_transform(t):
    with jax.enable_x64(True):
        x, weights = over_the_cone(t)
        smooth = weights * np.asarray(telegraph.green(x, t, diffusivity=D, tau=TAU))
        front = float(telegraph.front_weight(t, tau=TAU))
        for k in (0.0, 0.3, 1.0, 2.5):  # long waves decay, short ones oscillate
            assert smooth @ np.cos(k * x) + 2 * front * np.cos(k * C * t) == pytest.approx(wave(k, t), abs=1e-12)
        assert smooth.sum() == pytest.approx(1 - np.exp(-t / (2 * TAU)), abs=1e-13)
        variance = smooth @ x**2 + 2 * front * (C * t) ** 2
        assert variance == pytest.approx(2 * D * (t - TAU * (1 - np.exp(-t / TAU))), rel=1e-12)


def test_green_solves_the_equation_up_to_the_front():
    with jax.enable_x64(True):
        green = partial(telegraph.green, diffusivity=D, tau=TAU)
        t = 0.9
        x = C * t * np.array([0.0, 0.4, -0.8, 0.99, 0.999999])
        ut, utt, uxx = (
            jax.jit(jax.vmap(d, (0, None)))(x, t)
            for d in (
                jax.grad(green, 1),
                jax.grad(jax.grad(green, 1), 1),
                jax.grad(jax.grad(green)),
            )
        )
        np.testing.assert_allclose(TAU * utt + ut - D * uxx, 0, atol=1e-11)


def test_green_is_zero_beyond_the_front_and_finite_on_it():
    for dtype in (np.float32, np.float64):
        with jax.enable_x64(True):
            t = 2.0  # D = tau = 1: the front is at exactly x = t
            x = np.array([-2.0, 2.0, np.nextafter(dtype(2), dtype(3)), 50.0, 1e30], dtype)
            values = telegraph.green(x, t, diffusivity=1.0, tau=1.0)
            assert values.dtype == dtype
            on_front = np.exp(-1) / 4 * (1 + t / 4)
            np.testing.assert_allclose(values, [on_front, on_front, 0, 0, 0], rtol=1e-6, atol=0)
            slope = jax.grad(partial(telegraph.green, t=t, diffusivity=1.0, tau=1.0))
            slopes = jax.jit(jax.vmap(slope))(jnp.asarray(x))
            assert np.isfinite(slopes).all()


def test_green_of_an_old_pulse_is_the_heat_kernel_in_float32():
    t = 1e6  # I_0 alone would be exp(5e5)
    x = np.array([0.0, 500.0, 2000.0], np.float32)
    old = telegraph.green(x, t, diffusivity=1.0, tau=1.0)
    kernel = heat.heat_kernel(x[:, None], t, diffusivity=1.0)
    np.testing.assert_allclose(old, kernel, rtol=3e-6)  # they differ by O(tau/t)
    assert telegraph.green(np.zeros(1, np.float32), 0.0, diffusivity=1.0, tau=1.0) == 0.25


def test_green_broadcasts():
    x, t = np.linspace(-1, 1, 5, dtype=np.float32)[:, None], np.array([0.1, 0.5], np.float32)
    table = telegraph.green(x, t, diffusivity=1.0, tau=1.0)
    assert table.shape == (5, 2)
    np.testing.assert_allclose(table[:, 1], telegraph.green(x[:, 0], 0.5, diffusivity=1.0, tau=1.0), rtol=1e-6)
    assert telegraph.front_weight(t, tau=1.0).shape == (2,)


# ---------------------------------------------------------------- the stepper


def exact_wave(n, t, mode=2, level=0.3):
    """cos(kx) with u = 1, u_t = 0 on a periodic unit interval, and on top a uniform velocity `level`."""
    x = (np.arange(n) + 0.5) / n
    shape = np.cos(2 * np.pi * mode * x)
    k, h = 2 * np.pi * mode, 1e-6
    rise = level * TAU * -np.expm1(-t / TAU)
    return wave(k, t) * shape + rise, (wave(k, t + h) - wave(k, t - h)) / (2 * h) * shape + level * np.exp(-t / TAU)


@pytest.mark.parametrize("courant, orders", ((0.6, (2, 2)), (1.0, (4, 2))))
def test_order_in_space_and_time(courant, orders):
    with jax.enable_x64(True):
        errors = []
        for n in (60, 120):
            dt = courant / n / C
            steps = n // 3
            u, ut = evolve(*exact_wave(n, 0.0), num_steps=steps, dx=1 / n, dt=dt)
            exact = exact_wave(n, steps * dt)
            errors.append([np.abs(got - want).max() for got, want in zip((u, ut), exact, strict=True)])
        np.testing.assert_allclose(np.log2(np.divide(*errors)), orders, atol=0.1)


def test_front_moves_at_exactly_the_speed_of_the_equation():
    with jax.enable_x64(True):
        missing = []
        for steps in (50, 100):
            t = 1.0
            dt = t / steps
            start = np.eye(4 * steps + 1)[2 * steps]
            u, _ = evolve(start, 0 * start, num_steps=steps, dx=C * dt, dt=dt)
            ahead = np.abs(np.arange(4 * steps + 1) - 2 * steps)
            assert (u[ahead > steps] == 0).all() and (u[ahead <= steps] > 0).all()
            missing.append(u[3 * steps] / float(telegraph.front_weight(t, tau=TAU)) - 1)
        # The front's cell holds the front and a cell's width of the smooth part: first order, and the error halves.
        assert missing[0] / missing[1] == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("tau", (1e-4, 0.4, 1e3))
def test_variance_is_exact_at_every_step(tau):
    with jax.enable_x64(True):
        dx = 0.1
        dt = 0.9 * max(dx * np.sqrt(tau / D), dx**2 / (2 * D))
        start = np.eye(71)[35]
        for steps in (1, 5, 30):
            u, ut = evolve(start, 0 * start, num_steps=steps, dx=dx, dt=dt, tau=tau)
            t, x = steps * dt, dx * (np.arange(71) - 35)
            variance = 2 * D * (t + tau * np.expm1(-t / tau))
            assert (u * x**2).sum() == pytest.approx(variance, rel=1e-6 if tau > 1 else 1e-11)
            assert (ut * x**2).sum() == pytest.approx(-2 * D * np.expm1(-t / tau), rel=1e-6 if tau > 1 else 1e-11)
            assert u.sum() == pytest.approx(1, abs=1e-13)


def test_short_memory_is_ftcs():
    with jax.enable_x64(True):
        u, ut = fields()
        for boundary in BOUNDARIES:
            # r = 0.45, and exp(-dt/tau) is zero: the starting velocity is forgotten before it moves anything.
            dt = 0.45 * 0.1**2 / D
            got, _ = evolve(u, ut, dt=dt, tau=1e-14, boundary=boundary)
            expected = heat.ftcs(u, r=0.45, num_steps=STEPS, boundary=boundary)
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_long_memory_is_the_wave_equation(dtype):
    with jax.enable_x64(True):
        u, _ = fields(dtype=dtype)
        # c = 1 and c dt = dx: d'Alembert's two halves move one cell a step. dt/tau is far below float32's rounding.
        got, _ = evolve(u, 0 * u, dx=1.0, dt=1.0, diffusivity=1e10, tau=1e10)
        halves = (np.roll(u, STEPS) + np.roll(u, -STEPS)) / 2
        np.testing.assert_allclose(got, halves, rtol=0, atol=3e-6 if dtype == np.float32 else 2e-8)


@each_boundary
def test_walls_are_mirrors(boundary):
    with jax.enable_x64(True):
        u, ut = fields()
        zero = np.zeros(1)
        double = {
            "periodic": lambda v: np.concatenate([v, v]),
            "neumann": lambda v: np.concatenate([v, v[::-1]]),
            "dirichlet": lambda v: np.concatenate([v, zero, -v[::-1], zero]),
        }[boundary]
        inside = evolve(u, ut, boundary=boundary)
        mirrored = evolve(double(u), double(ut))
        for got, want in zip(inside, mirrored, strict=True):
            np.testing.assert_allclose(got, want[:CELLS], rtol=0, atol=1e-12)
