"""The heat equation: against exact solutions, against the naive loop, and its invariants."""

from functools import partial
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec

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


cells = st.lists(st.floats(-1, 1, width=32), max_size=CELLS).map(lambda v: np.array(v + [0.0] * (CELLS - len(v))))
rates = st.floats(0, 0.5, width=32)


@each_boundary
@few
@given(values=cells, r=rates)
def test_mass_and_maximum_principle(boundary, values, r):
    with jax.enable_x64(True):
        for stepper in (heat.ftcs, heat.ftcs_jump):
            later = np.asarray(stepper(values, r=r, num_steps=STEPS, boundary=boundary))
            outside = 0.0 if boundary == "dirichlet" else values[0]
            assert later.max() <= max(values.max(), outside) + 1e-14
            assert later.min() >= min(values.min(), outside) - 1e-14
            if boundary == "dirichlet":
                assert np.abs(later).sum() <= np.abs(values).sum() + 1e-13
            else:
                assert later.sum() == pytest.approx(values.sum(), abs=1e-13)


@each_stepper
@each_boundary
@few
@given(u=cells, v=cells, r=rates, a=st.floats(-3, 3))
def test_linear_and_symmetric(stepper, boundary, u, v, r, a):
    with jax.enable_x64(True):

        def run(u):
            return np.asarray(stepper(u, r=r, num_steps=STEPS, boundary=boundary))

        np.testing.assert_allclose(run(a * u + v), a * run(u) + run(v), rtol=0, atol=1e-13)
        assert u @ run(v) == pytest.approx(run(u) @ v, abs=1e-13)
        if boundary != "periodic":  # left and right are alike
            np.testing.assert_allclose(run(u[::-1]), run(u)[::-1], rtol=0, atol=1e-14)


@each_stepper
@each_boundary
def test_steps_compose(stepper, boundary):
    with jax.enable_x64(True):
        u = field((CELLS,))
        run = partial(stepper, r=0.2, boundary=boundary)
        twice = run(run(u, num_steps=STEPS), num_steps=STEPS)
        np.testing.assert_allclose(twice, run(u, num_steps=2 * STEPS), rtol=0, atol=1e-14)
        np.testing.assert_array_equal(run(u, num_steps=0), u)


@each_stepper
@each_boundary
def test_one_cell_and_constants(stepper, boundary):
    with jax.enable_x64(True):
        u = stepper(np.array([2.0]), r=0.25, num_steps=3, boundary=boundary)
        factor = 1 if boundary != "dirichlet" else {"crank_nicolson": 0.6**3}.get(stepper.__name__, 0.5**3)
        assert float(u[0]) == pytest.approx(2 * factor, rel=1e-14)
        if boundary != "dirichlet":
            level = np.full(CELLS, 0.7)
            np.testing.assert_allclose(stepper(level, r=0.1, num_steps=STEPS, boundary=boundary), level, rtol=1e-14)


@each_stepper
@each_boundary
def test_vmap_jit_and_grad(stepper, boundary):
    with jax.enable_x64(True):
        batch, rs = np.random.default_rng(2).random((3, CELLS)), np.array([0.1, 0.2, 0.25])
        run = partial(stepper, num_steps=STEPS, boundary=boundary)
        together = jax.jit(jax.vmap(lambda u, r: run(u, r=r)))(batch, rs)
        alone = [run(u, r=r) for u, r in zip(batch, rs, strict=True)]
        np.testing.assert_allclose(together, alone, rtol=0, atol=1e-14)

        def energy(u, r):
            return jnp.vdot(*(2 * [run(u, r=r)]))

        # At r = 1/4 the shortest wave is lost in one step: a power taken by logarithms has no slope there.
        by_u, by_r = jax.jit(jax.grad(energy, argnums=(0, 1)))(batch[0], 0.25)
        above, below = (np.sum(np.asarray(run(batch[0], r=0.25 + h)) ** 2) for h in (1e-5, -1e-5))
        assert float(by_r) == pytest.approx((above - below) / 2e-5, rel=1e-7)
        # The step is linear and symmetric: the gradient of |A u|**2 is 2 A A u.
        np.testing.assert_allclose(by_u, 2 * run(run(batch[0], r=0.25), r=0.25), rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64))
def test_dtype_in_is_dtype_out(dtype):
    with jax.enable_x64(True):
        u = field((CELLS,), dtype)
        for stepper in STEPPERS:
            assert stepper(u, r=0.2, num_steps=STEPS).dtype == dtype
            assert stepper(u, r=np.float32(0.2), num_steps=STEPS).dtype == dtype
        assert heat.heat_kernel(u[:, None], np.float64(1.0), diffusivity=1.0).dtype == dtype


def test_numpy_input_is_welcome():
    u = heat.ftcs(np.ones(4, np.float32), r=np.float64(0.25), num_steps=np.int64(3))
    assert isinstance(u, jax.Array) and u.tolist() == [1.0] * 4


# ---------------------------------------------------------------- the kernel


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


@pytest.mark.parametrize("platform", ("cuda", "tpu"))
def test_exports(platform):
    def lowers(f, *args, **kwargs):
        return platform in jax.export.export(jax.jit(f), platforms=[platform])(*args, **kwargs).platforms

    for boundary in BOUNDARIES:
        for stepper in STEPPERS:
            assert lowers(partial(stepper, num_steps=9, boundary=boundary), jnp.zeros((3, 4, 5)), r=0.1)
    assert lowers(partial(heat.ftcs, num_steps=9), jnp.zeros((256, 256)), r=0.1)
    assert lowers(heat.heat_kernel, jnp.zeros((5, 2)), 1.0, diffusivity=1.0)


@pytest.mark.parametrize(
    "stepper, boundary",
    [(heat.ftcs, b) for b in BOUNDARIES] + [(heat.ftcs_jump, "periodic"), (heat.crank_nicolson, "neumann")],
    ids=lambda p: getattr(p, "__name__", p),
)
def test_sharded_field_gives_the_same_numbers(stepper, boundary):
    u = field((32, 12), jnp.float32)
    mesh = Mesh(np.array(jax.devices()), ("rows",))
    spread = jax.device_put(u, NamedSharding(mesh, PartitionSpec("rows")))
    run = partial(stepper, r=(0.2, 0.25), num_steps=19, boundary=boundary)
    np.testing.assert_allclose(run(spread), run(u), rtol=0, atol=1e-6)


def test_batch_sharded_over_eight_devices_stays_there():
    mesh = jax.make_mesh((8,), ("batch",))
    sharding = NamedSharding(mesh, PartitionSpec("batch"))
    batch = jax.device_put(field((16, 20), jnp.float32), sharding)
    run = jax.jit(jax.vmap(partial(heat.ftcs, r=0.25, num_steps=10)))
    got = run(batch)
    assert got.sharding.is_equivalent_to(sharding, 2)
    np.testing.assert_allclose(got, run(jnp.asarray(np.asarray(batch))), rtol=0, atol=1e-6)


# ---------------------------------------------------------------- bad input

U = np.ones(4, np.float32)
refused = [
    (heat.ftcs, dict(u=U, r=0.6), r"r <= 1/\(2\*d\) = 0.5 in 1-D, got r=0.6; take dt 1.2 times smaller"),
    (heat.ftcs, dict(u=np.ones((4, 4)), r=0.3), r"r <= 1/\(2\*d\) = 0.25 in 2-D, got r=0.3; take dt 1.2 times"),
    (heat.ftcs, dict(u=np.ones((4, 4)), r=(0.3, 0.3)), r"sum\(r\) <= 1/2, got r=\(0.3, 0.3\); take dt 1.2 times"),
    (heat.ftcs_jump, dict(u=U, r=0.6), "ftcs_jump needs r <= .* or use crank_nicolson"),
    (heat.ftcs, dict(u=U, r=-0.1), "r >= 0, got r=-0.1"),
    (heat.crank_nicolson, dict(u=U, r=float("nan")), "r >= 0, got r=nan"),
    (heat.ftcs, dict(u=U, r=(0.1, 0.1)), "one r or one per axis .1 here., got r of shape .2,."),
    (heat.ftcs, dict(u=U, r=0.1, boundary="wall"), "boundary to be one of 'periodic', 'neumann', 'dirichlet'"),
    (heat.ftcs, dict(u=U, r=0.1, num_steps=-1), "num_steps >= 0, got num_steps=-1"),
    (heat.ftcs, dict(u=np.array([1.0, np.nan]), r=0.1), "u with 1 of 2 entries NaN or infinite"),
    (heat.ftcs_jump, dict(u=np.array([1.0, np.inf]), r=0.1), "finite"),
    (heat.ftcs, dict(u=np.arange(4), r=0.1), "dtype int.*astype"),
    (heat.ftcs, dict(u=U + 1j, r=0.1), "dtype complex.*real and imaginary"),
    (heat.ftcs, dict(u=np.zeros(0), r=0.1), "at least one cell"),
    (heat.ftcs, dict(u=np.float32(1.0), r=0.1), "1-, 2- or 3-D, got u of shape ()"),
    (heat.ftcs, dict(u=np.ones((2, 2, 2, 2)), r=0.1), "jax.vmap"),
    (heat.heat_kernel, dict(x=np.ones((3, 1)), t=0.0, diffusivity=1.0), "t > 0, got t=0.0"),
    (heat.heat_kernel, dict(x=np.ones((3, 1)), t=1.0, diffusivity=-1.0), "diffusivity > 0, got diffusivity=-1.0"),
    (heat.heat_kernel, dict(x=np.ones((3, 0)), t=1.0, diffusivity=1.0), "pass x"),
    (heat.heat_kernel, dict(x=np.full((3, 1), np.nan), t=1.0, diffusivity=1.0), "finite"),
]


@pytest.mark.parametrize("function, arguments, message", refused, ids=range(len(refused)))
def test_bad_input_is_refused_with_a_remedy(function, arguments, message):
    if function is not heat.heat_kernel:
        arguments = {"num_steps": 3, **arguments}
    with pytest.raises(ValueError, match=message):
        function(**arguments)


def test_the_limit_itself_is_stable_in_any_dtype():
    for ndim in (1, 2, 3):
        limit = 1 / (2 * ndim)
        for r in (limit, np.float32(limit), [limit / 2 + limit / 2] * ndim):
            heat.ftcs(np.ones((3,) * ndim, np.float32), r=r, num_steps=1)


def test_traced_values_are_not_looked_at():
    assert jax.jit(lambda u, r: heat.ftcs(u, r=r, num_steps=1))(np.ones(3, np.float32), 5.0).tolist() == [1.0] * 3
    with pytest.raises(ValueError, match="static_argnames"):
        jax.jit(lambda n: heat.ftcs(jnp.ones(3), r=0.1, num_steps=n))(3)
