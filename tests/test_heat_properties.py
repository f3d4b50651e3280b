"""The heat equation: invariants for any field, dtypes, devices, and what bad input gets."""

from functools import partial

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
