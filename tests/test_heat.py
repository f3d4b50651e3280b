"""The heat equation: against exact solutions, against the naive loop, and its invariants."""

from functools import partial
from math import comb

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


def stencil_matrix(n, boundary):
    """u_{j-1} - 2 u_j + u_{j+1} as a dense matrix, written from the meaning of each wall."""
    matrix = np.zeros((n, n))
    for j in range(n):
        for neighbour in (j - 1, j + 1):
            matrix[j, j] -= 1
            if 0 <= neighbour < n:
                matrix[j, neighbour] += 1
            elif boundary == "periodic":
                matrix[j, neighbour % n] += 1
            elif boundary == "neumann":
                matrix[j, j] += 1
    return matrix


def naive(u, r, num_steps, boundary):
    u = np.asarray(u, float)
    matrices = [stencil_matrix(n, boundary) for n in u.shape]
    for _ in range(num_steps):
        bends = [np.moveaxis(np.tensordot(m, u, (1, axis)), 0, axis) for axis, m in enumerate(matrices)]
        u = u + sum(rate * bend for rate, bend in zip(r, bends, strict=True))
    return u


@each_boundary
@pytest.mark.parametrize("shape", GRIDS, ids=str)
def test_steps_and_jump_are_the_naive_loop(shape, boundary):
    with jax.enable_x64(True):
        u, r, num_steps = field(shape), (0.2, 0.15, 0.1)[: len(shape)], 13
        expected = naive(u, r, num_steps, boundary)
        # 13 steps, each of which rounds numbers below one a few times.
        for stepper in (heat.ftcs, heat.ftcs_jump):
            got = stepper(u, r=r, num_steps=num_steps, boundary=boundary)
            assert got.dtype == u.dtype
            np.testing.assert_allclose(got, expected, rtol=0, atol=5e-15)


@each_stepper
def test_one_r_is_the_same_r_on_each_axis(stepper):
    run = partial(stepper, field((7, 5, 6), jnp.float32), num_steps=9)
    np.testing.assert_allclose(run(r=0.125), run(r=[0.125] * 3), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "shape, boundary",
    (((2**15,), "dirichlet"), ((300, 120), "periodic"), ((300, 120), "neumann"), ((130, 3, 90), "dirichlet")),
    ids=str,
)
def test_large_grids_take_several_steps_on_one_margin(shape, boundary):
    u = field(shape, jnp.float32)
    run = dict(r=0.15, num_steps=11, boundary=boundary)  # two turns of four steps, and three left
    np.testing.assert_allclose(heat.ftcs(u, **run), heat.ftcs_jump(u, **run), rtol=0, atol=2e-6)


def test_steps_and_jump_agree_in_float32():
    u = field((30, 40), jnp.float32)
    steps, jump = (f(u, r=0.25, num_steps=400, boundary="neumann") for f in (heat.ftcs, heat.ftcs_jump))
    assert steps.dtype == jump.dtype == jnp.float32
    np.testing.assert_allclose(steps, jump, rtol=0, atol=2e-6)  # sqrt(400) roundings of 6e-8, the worst of 1200 cells


@each_boundary
@pytest.mark.parametrize("r", (0.4, 3.0))
def test_crank_nicolson_solves_its_linear_system(boundary, r):
    with jax.enable_x64(True):
        u, one = field((CELLS,)), np.eye(CELLS)
        half = 0.5 * r * stencil_matrix(CELLS, boundary)
        expected = np.linalg.matrix_power(np.linalg.solve(one - half, one + half), STEPS) @ np.asarray(u)
        got = heat.crank_nicolson(u, r=r, num_steps=STEPS, boundary=boundary)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-14)


@each_boundary
def test_crank_nicolson_solves_its_linear_system_in_two_dimensions(boundary):
    with jax.enable_x64(True):
        u, (rx, ry) = field((5, 6)), (0.7, 2.0)
        x, y = (stencil_matrix(n, boundary) for n in u.shape)
        half = 0.5 * (rx * np.kron(x, np.eye(6)) + ry * np.kron(np.eye(5), y))
        step = np.linalg.solve(np.eye(30) - half, np.eye(30) + half)
        got = heat.crank_nicolson(u, r=(rx, ry), num_steps=3, boundary=boundary)
        np.testing.assert_allclose(got.ravel(), np.linalg.matrix_power(step, 3) @ np.asarray(u).ravel(), atol=1e-14)


def test_a_quarter_makes_binomial_occupancies():
    with jax.enable_x64(True):
        num_steps = 20
        u = heat.ftcs(np.eye(41)[20], r=0.25, num_steps=num_steps)
        law = [comb(2 * num_steps, num_steps + j) / 4**num_steps for j in range(-20, 21)]
        np.testing.assert_array_equal(u, law)  # only halvings and sums of short integers: exact


@each_boundary
def test_waves_between_walls_decay_each_at_its_own_rate(boundary):
    with jax.enable_x64(True):
        n, r, num_steps, mode = 24, 0.3, 50, 3
        j = np.arange(n)
        wave, k = {
            "periodic": (np.cos(2 * np.pi * mode * j / n + 0.4), 2 * np.pi * mode / n),
            "neumann": (np.cos(np.pi * mode * (j + 0.5) / n), np.pi * mode / n),
            "dirichlet": (np.sin(np.pi * mode * (j + 1) / (n + 1)), np.pi * mode / (n + 1)),
        }[boundary]
        s = 4 * r * np.sin(k / 2) ** 2
        for stepper, factor in ((heat.ftcs_jump, 1 - s), (heat.crank_nicolson, (2 - s) / (2 + s))):
            got = stepper(jnp.asarray(wave), r=r, num_steps=num_steps, boundary=boundary)
            np.testing.assert_allclose(got, factor**num_steps * wave, rtol=0, atol=1e-14)


def gaussian_error(n, r):
    """Largest error of FTCS at t = 0.02 from the kernel at t = 0.01 on [-1.5, 1.5] (walls too far to matter)."""
    dx = 3 / n
    x = np.linspace(-1.5, 1.5, n, endpoint=False)[:, None]
    u = heat.ftcs_jump(heat.heat_kernel(x, 0.01, diffusivity=1.0), r=r, num_steps=round(0.01 / (r * dx**2)))
    return np.abs(np.asarray(u) - heat.heat_kernel(x, 0.02, diffusivity=1.0)).max()


@pytest.mark.parametrize("r, order", ((0.25, 2), (0.5, 2), (1 / 6, 4)))
def test_order_in_dx_at_fixed_r(r, order):
    with jax.enable_x64(True):
        errors = [gaussian_error(n, r) for n in (120, 240)]  # 0.01/(r dx**2) is whole for both
        assert np.log2(errors[0] / errors[1]) == pytest.approx(
            order, abs=0.12
        )  # the next order is 2 higher: 1/4**2 = 6 %


def test_crank_nicolson_is_second_order_in_dt():
    with jax.enable_x64(True):
        n, mode, time = 32, 2, 40.0  # time in units of dx**2/D
        wave = np.cos(2 * np.pi * mode * np.arange(n) / n)
        exact = np.exp(-4 * np.sin(np.pi * mode / n) ** 2 * time) * wave
        errors = [
            np.abs(np.asarray(heat.crank_nicolson(wave, r=time / m, num_steps=m)) - exact).max() for m in (20, 40)
        ]
        assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.05)


def test_slab_between_absorbing_walls_follows_its_series():
    with jax.enable_x64(True):
        errors = []
        for n in (49, 99):  # the walls are the first sites outside, so the slab is n + 1 cells long
            dx, t = 1 / (n + 1), 0.05
            x = np.arange(1, n + 1) * dx
            odd = np.arange(1, 60, 2)[:, None]
            series = (4 / (np.pi * odd) * np.sin(np.pi * odd * x) * np.exp(-((np.pi * odd) ** 2) * t)).sum(0)
            u = heat.ftcs(np.ones(n), r=0.25, num_steps=round(t / (0.25 * dx**2)), boundary="dirichlet")
            errors.append(np.abs(np.asarray(u) - series).max())
        assert errors[1] < 1e-4
        assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_variance_and_kurtosis_of_the_walk():
    with jax.enable_x64(True):
        r, n = 0.2, 30
        u = np.asarray(heat.ftcs(np.eye(81)[40], r=r, num_steps=n))
        j = np.arange(81.0) - 40
        variance = (u * j**2).sum()
        assert variance == pytest.approx(2 * r * n, rel=1e-13)
        assert (u * j**4).sum() / variance**2 - 3 == pytest.approx((1 - 6 * r) / (2 * r * n), rel=1e-10)


def test_walls_do_with_walkers_what_they_say():
    u = np.array([1.0, 0.0, 0.0, 0.0], np.float32)
    one = {b: heat.ftcs(u, r=0.25, num_steps=1, boundary=b).tolist() for b in BOUNDARIES}
    assert one["periodic"] == [0.5, 0.25, 0.0, 0.25]
    assert one["neumann"] == [0.75, 0.25, 0.0, 0.0]
    assert one["dirichlet"] == [0.5, 0.25, 0.0, 0.0]


def test_a_million_float32_steps_in_one_jump():
    # One factor 1 - 2e-6 rounded to float32 would be off by 1 %; by 1e6 steps the wave by 6 %.
    n, r, num_steps = 4096, 0.25, 10**6
    wave = np.cos(2 * np.pi * np.arange(n) / n).astype(np.float32)
    decay = np.exp(num_steps * np.log1p(-4 * r * np.sin(np.pi / n) ** 2))
    np.testing.assert_allclose(heat.ftcs_jump(wave, r=r, num_steps=num_steps), decay * wave, rtol=0, atol=2e-6)


def test_instability_can_be_looked_at():
    with jax.enable_x64(True):
        checkerboard = (-1.0) ** np.add.outer(np.arange(8), np.arange(8))
        for stepper in (heat.ftcs, heat.ftcs_jump):
            u = stepper(checkerboard, r=0.3, num_steps=10, check_stability=False)
            np.testing.assert_allclose(u, (1 - 8 * 0.3) ** 10 * checkerboard, rtol=1e-12)
