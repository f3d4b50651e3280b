"""Upwind is a binomial walk and MPDATA its second-order repair."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from scipy.stats import binom

from diffbook.pde import advection

SCHEMES = {
    "upwind": advection.upwind,
    "mpdata": advection.mpdata,
    "mpdata3": lambda u, **k: advection.mpdata(u, passes=3, **k),
}
each = pytest.mark.parametrize("name", SCHEMES)


def test_upwind_of_a_unit_is_binomial():
    with jax.enable_x64(True):
        u = advection.upwind(jnp.zeros(64).at[0].set(1.0), courant=0.3, num_steps=50)
        np.testing.assert_allclose(u, binom.pmf(np.arange(64), 50, 0.3), atol=50 * 2.3e-16)


@pytest.mark.bits
@each
def test_unit_courant_is_a_shift(name):
    with jax.enable_x64(True):
        u = jnp.asarray(np.random.default_rng(0).uniform(size=40))
        np.testing.assert_array_equal(SCHEMES[name](u, courant=1.0, num_steps=7), np.roll(u, 7))


@each
@hypothesis.settings(deadline=None, derandomize=True, max_examples=15)
@hypothesis.given(st.sampled_from([1, 2, 17]), st.floats(0.01, 1.0), st.sampled_from([0, 20]), st.integers(0, 99))
def test_mass_and_sign_are_kept(name, n, courant, num_steps, seed):
    with jax.enable_x64(True):
        u = jnp.asarray(np.random.default_rng(seed).exponential(size=n) * (np.arange(n) % 3 > 0))
        v = SCHEMES[name](u, courant=courant, num_steps=num_steps)
        assert v.shape == u.shape and v.dtype == u.dtype
        assert abs(float(v.sum() - u.sum())) <= (1 + num_steps) * n * 1e-15 * (1 + float(u.sum()))
        assert float(v.min()) >= -1e-15
        if name == "upwind":
            assert float(v.max()) <= float(u.max()) * (1 + 1e-13) and float(v.min()) >= float(u.min()) * (1 - 1e-13)


@pytest.mark.parametrize(("name", "order", "slack"), [("upwind", 1, 0.06), ("mpdata", 2, 0.05), ("mpdata3", 2, 0.05)])
def test_order(name, order, slack):
    """One revolution of a positive wave on ever finer grids at one Courant number."""
    with jax.enable_x64(True):
        errors = []
        for n in (200, 400, 800):
            wave = jnp.asarray(2 + np.sin(2 * np.pi * (np.arange(n) + 0.5) / n))
            errors.append(float(jnp.abs(SCHEMES[name](wave, courant=0.4, num_steps=n * 5 // 2) - wave).mean()))
        assert np.log2(errors[-2] / errors[-1]) == pytest.approx(order, abs=slack)


def test_mpdata_undoes_most_of_the_spreading():
    with jax.enable_x64(True):
        x = np.arange(200)
        u = jnp.asarray(np.exp(-((x - 40) ** 2) / 50))

        def variance(v):
            mean = (v * x).sum() / v.sum()
            return float((v * (x - mean) ** 2).sum() / v.sum())

        grown = {name: variance(f(u, courant=0.5, num_steps=160)) - variance(u) for name, f in SCHEMES.items()}
        assert grown["upwind"] == pytest.approx(160 * 0.25, rel=1e-9)  # C (1 - C) a step, exactly
        assert abs(grown["mpdata"]) < 0.25 * grown["upwind"] and abs(grown["mpdata3"]) < abs(grown["mpdata"])


@each
def test_jit_vmap_grad_dtype_and_zero_steps(name):
    f = SCHEMES[name]
    u = jnp.asarray(np.random.default_rng(1).uniform(0.5, 1, (3, 16)), jnp.float32)
    many = jax.jit(jax.vmap(lambda v: f(v, courant=0.5, num_steps=4)))(u)
    for row, expected in zip(many, u, strict=True):
        np.testing.assert_allclose(row, f(expected, courant=0.5, num_steps=4), rtol=1e-6)
    assert many.dtype == jnp.float32
    np.testing.assert_array_equal(f(u[0], courant=0.5, num_steps=0), u[0])
    slope = jax.grad(lambda c: f(u[0], courant=c, num_steps=4)[3])(0.5)
    assert np.isfinite(float(slope))


@each
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_exports(name, platform):
    f = jax.jit(lambda u, c: SCHEMES[name](u, courant=c, num_steps=5))
    export.export(f, platforms=[platform])(
        jax.ShapeDtypeStruct((32,), jnp.float32), jax.ShapeDtypeStruct((), jnp.float32)
    )


@each
@pytest.mark.parametrize(
    ("u", "more", "rule"),
    [
        (np.ones(4), {"courant": 1.2}, "take dt 1.2 times smaller"),
        (np.ones(4), {"courant": 0.0}, "0 < courant <= 1"),
        (np.ones(4), {"courant": np.nan}, "0 < courant <= 1"),
        (np.ones(4), {"courant": 0.5, "num_steps": -1}, "num_steps >= 0"),
        (np.ones(4), {"courant": 0.5, "num_steps": True}, "integer"),
        (np.ones((4, 4)), {"courant": 0.5}, "shape"),
        (np.ones(0), {"courant": 0.5}, "at least one cell"),
        (np.arange(4), {"courant": 0.5}, "floating"),
        (np.array([1.0, np.nan]), {"courant": 0.5}, "finite"),
    ],
)
def test_bad_input(name, u, more, rule):
    with pytest.raises(ValueError, match=rule):
        SCHEMES[name](u, **{"num_steps": 1} | more)
