"""The telegrapher's equation: invariants for any field, dtypes, devices, and what bad input gets."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from diffbook.pde import telegraph

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


@each_boundary
@few
@given(seed=st.integers(0, 10**6), tau=st.floats(0.01, 10), a=st.floats(-3, 3))
def test_conservation_linearity_and_symmetry(boundary, seed, tau, a):
    with jax.enable_x64(True):
        u, ut, v, vt = np.random.default_rng(seed).normal(size=(4, CELLS))
        dt = 0.1 * np.sqrt(tau / D)
        run = partial(evolve, tau=tau, dt=dt, boundary=boundary)
        after, rate = run(u, ut)
        if boundary != "dirichlet":
            assert (after + tau * rate).sum() == pytest.approx((u + tau * ut).sum(), abs=1e-11)
            assert rate.sum() == pytest.approx(np.exp(-STEPS * dt / tau) * ut.sum(), abs=1e-11)
        other, other_rate = run(v, vt)
        both, both_rate = run(a * u + v, a * ut + vt)
        np.testing.assert_allclose(both, a * after + other, rtol=0, atol=1e-11)
        np.testing.assert_allclose(both_rate, a * rate + other_rate, rtol=0, atol=1e-9)
        if boundary != "periodic":
            np.testing.assert_allclose(run(u[::-1], ut[::-1])[0], after[::-1], rtol=0, atol=1e-11)


@each_boundary
def test_steps_compose(boundary):
    with jax.enable_x64(True):
        start = fields()
        run = partial(evolve, boundary=boundary)
        for twice, once in zip(run(*run(*start)), run(*start, num_steps=2 * STEPS), strict=True):
            np.testing.assert_allclose(twice, once, rtol=0, atol=1e-12)
        for same, given_ in zip(run(*start, num_steps=0), start, strict=True):
            np.testing.assert_array_equal(same, given_)


@pytest.mark.parametrize("tau", (1e-3, 0.1, 100.0))
def test_stability_limit_is_sharp(tau):
    with jax.enable_x64(True):
        # The shortest wave, at 1 % below and above the limit; a jitted dt is not looked at.
        alternating = (-1.0) ** np.arange(CELLS)
        low, high = 0.0, 1.0
        for _ in range(60):  # the dt at which D dt/dx**2 tanh(dt/2tau) = 1/2, by bisection
            dt = (low + high) / 2
            low, high = (low, dt) if D * dt / 0.1**2 * np.tanh(dt / (2 * tau)) > 0.5 else (dt, high)
        run = jax.jit(partial(telegraph.evolve, diffusivity=D, tau=tau, dx=0.1, num_steps=2000))
        stable, _ = run(alternating, 0 * alternating, dt=0.99 * low)
        unstable, _ = run(alternating, 0 * alternating, dt=1.01 * low)
        assert np.abs(stable).max() < 10
        assert np.abs(unstable).max() > 1e6 or not np.isfinite(unstable).all()
        evolve(alternating, 0 * alternating, num_steps=1, dt=0.99 * low, tau=tau)
        with pytest.raises(ValueError, match="<= 1/2, got 0.5[12].*take dt <= max"):
            evolve(alternating, 0 * alternating, num_steps=1, dt=1.02 * low, tau=tau)


def test_relaxation_keeps_its_digits():
    z = np.concatenate([np.logspace(-12, 2, 57), [0.999999, 1.0]])
    reference = np.where(z < 1e-4, z / 2 - z**2 / 6 + z**3 / 24, 1 + np.expm1(-z.astype(np.longdouble)) / z)
    with jax.enable_x64(True):
        np.testing.assert_allclose(telegraph._mean_relaxation(z), reference.astype(float), rtol=1e-14)
    np.testing.assert_allclose(telegraph._mean_relaxation(jnp.float32(z)), reference.astype(float), rtol=3e-7)


def test_one_cell():
    with jax.enable_x64(True):
        one, rate = np.array([2.0]), np.array([1.0])
        for boundary in ("periodic", "neumann"):
            u, ut = evolve(one, rate, boundary=boundary)  # tau u_tt + u_t = 0
            t = STEPS * 0.05
            assert u[0] == pytest.approx(2 - TAU * np.expm1(-t / TAU), rel=1e-14)
            assert ut[0] == pytest.approx(np.exp(-t / TAU), rel=1e-14)
        assert 0 < evolve(one, 0 * rate, boundary="dirichlet", num_steps=1)[0][0] < 2


@each_boundary
def test_vmap_jit_and_grad(boundary):
    with jax.enable_x64(True):
        u, ut = fields()
        taus = np.array([0.35, 0.5, 5.0])

        def run(tau):
            return telegraph.evolve(u, ut, diffusivity=D, tau=tau, dx=0.1, dt=0.05, num_steps=STEPS, boundary=boundary)

        together = jax.jit(jax.vmap(run))(taus)
        for i, tau in enumerate(taus):
            for many, one in zip(together, run(tau), strict=True):
                np.testing.assert_allclose(many[i], one, rtol=0, atol=1e-12)
        slope = jax.jit(jax.grad(lambda tau: run(tau)[0][3]))(0.5)
        above, below = (float(run(0.5 + h)[0][3]) for h in (1e-5, -1e-5))
        assert float(slope) == pytest.approx((above - below) / 2e-5, rel=1e-6)


@pytest.mark.parametrize("dtype", (jnp.bfloat16, jnp.float32, jnp.float64))
def test_dtype_in_is_dtype_out(dtype):
    with jax.enable_x64(True):
        u = jnp.asarray(fields()[0], dtype)
        parts = telegraph.evolve(u, u, diffusivity=D, tau=TAU, dx=np.float64(0.1), dt=0.05, num_steps=2)
        assert [part.dtype for part in parts] == [dtype, dtype]
        assert telegraph.green(u, np.float64(1.0), diffusivity=D, tau=TAU).dtype == dtype
        assert telegraph.front_weight(u, tau=TAU).dtype == dtype


@pytest.mark.parametrize("platform", ("cuda", "tpu"))
def test_exports(platform):
    def lowers(f, *args, **kwargs):
        return platform in jax.export.export(jax.jit(f), platforms=[platform])(*args, **kwargs).platforms

    x = jnp.zeros(9)
    for boundary in BOUNDARIES:
        step = partial(telegraph.evolve, num_steps=3, boundary=boundary)
        assert lowers(step, x, x, diffusivity=1.0, tau=1.0, dx=1.0, dt=0.5)
    assert lowers(telegraph.green, x, 1.0, diffusivity=1.0, tau=1.0)
    assert lowers(telegraph.front_weight, x, tau=1.0)


def test_sharded_field_gives_the_same_numbers():
    start = fields(64, np.float32)
    spread = NamedSharding(Mesh(np.array(jax.devices()), ("cells",)), PartitionSpec("cells"))
    for got, want in zip(evolve(*(jax.device_put(part, spread) for part in start)), evolve(*start), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())


# ---------------------------------------------------------------- bad input

ONES = np.ones(4, np.float32)
step = partial(telegraph.evolve, u=ONES, ut=ONES, diffusivity=1.0, tau=1.0, dx=0.1, dt=0.1, num_steps=3)
pulse = partial(telegraph.green, x=ONES, t=1.0, diffusivity=1.0, tau=1.0)
refused = [
    (step, dict(dt=0.11), r"needs D\*dt/dx\*\*2 .* <= 1/2, got 0.60.*take dt <= max\(dx/c, .*\) = 0.1"),
    (step, dict(ut=np.ones(3, np.float32)), r"one shape \(n,\).* got \(4,\) and \(3,\)"),
    (step, dict(u=np.ones((2, 2)), ut=np.ones((2, 2))), "jax.vmap"),
    (step, dict(u=np.ones(0), ut=np.ones(0)), "n >= 1"),
    (step, dict(u=np.arange(4)), "dtype int.*astype"),
    (step, dict(ut=ONES + 1j), "dtype complex"),
    (step, dict(u=np.array([0, np.nan, 0, np.inf])), "u with 2 of 4 entries NaN or infinite"),
    (step, dict(ut=np.array([0, np.nan, 0, 0])), "ut with 1 of 4"),
    (step, dict(tau=0.0), "tau > 0, got tau=0.0"),
    (step, dict(diffusivity=-1.0), "diffusivity > 0"),
    (step, dict(dx=float("nan")), "dx > 0, got dx=nan"),
    (step, dict(dt=np.ones(2)), r"one number for dt, got shape \(2,\)"),
    (step, dict(boundary="open"), "boundary to be one of"),
    (step, dict(num_steps=-1), "num_steps >= 0"),
    (pulse, dict(t=-1.0), "t >= 0, got t=-1.0"),
    (pulse, dict(tau=-1.0), "tau > 0"),
    (pulse, dict(diffusivity=float("inf")), "diffusivity > 0"),
    (pulse, dict(x=np.array([np.nan])), "x with 1 of 1"),
    (pulse, dict(x=np.arange(3)), "dtype int"),
    (telegraph.front_weight, dict(t=-1.0, tau=1.0), "t >= 0"),
    (telegraph.front_weight, dict(t=1.0, tau=0.0), "tau > 0"),
]


@pytest.mark.parametrize("function, arguments, message", refused, ids=range(len(refused)))
def test_bad_input_is_refused_with_a_remedy(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(**arguments)
