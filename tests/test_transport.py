"""The Goldstein-Taylor scheme: a walker's probabilities, the telegrapher's equation, and diffusion in the limit."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from scipy.linalg import expm

from diffbook.pde import advection, heat
from diffbook.pde.transport import goldstein_taylor


def exact(rho, j, sigma, eps, dx, t):
    """Every wave is a pair of ordinary differential equations."""
    waves = 2j * np.pi * np.fft.rfftfreq(len(rho), dx)[:16]  # the start has no shorter ones
    rates = np.array([[[0, -k], [-k / eps**2, -sigma / eps**2]] for k in waves])
    modes = np.stack([np.fft.rfft(rho), np.fft.rfft(j)], axis=1)[:16]
    modes = np.einsum("kij,kj->ki", expm(t * rates), modes)
    return np.fft.irfft(modes[:, 0], len(rho)), np.fft.irfft(modes[:, 1], len(rho))


def solved(n, eps, t=0.05, sigma=1.0):
    dx = 1 / n
    rho = np.exp(np.sin(2 * np.pi * (np.arange(n) + 0.5) * dx))
    num_steps = int(np.ceil(t / (0.8 * (eps * dx + sigma * dx**2 / 2))))
    got = goldstein_taylor(rho, 0 * rho, sigma=sigma, eps=eps, dx=dx, dt=t / num_steps, num_steps=num_steps)
    return got, exact(rho, 0 * rho, sigma, eps, dx, t)


@pytest.mark.parametrize(("eps", "order"), [(1.0, 1), (0.3, 1), (0.1, 1), (0.01, 1), (1e-4, 2)])
def test_converges_to_the_exact_solution_at_every_eps(eps, order):
    with jax.enable_x64(True):
        errors = []
        for n in (50, 100, 200):
            (rho, j), (rho_exact, j_exact) = solved(n, eps)
            errors.append([np.abs(rho - rho_exact).max(), np.abs(j - j_exact).max()])
        errors = np.array(errors)
        assert (errors[-1] < [0.01, 0.1]).all()
        assert np.log2(errors[0, 0] / errors[2, 0]) / 2 > order - 0.25


def test_limit_is_ftcs():
    """As eps -> 0 the numbers are those of heat.ftcs with D = 1/sigma, up to O(eps/dx)."""
    with jax.enable_x64(True):
        rho, dx, sigma = np.random.default_rng(0).uniform(size=40), 0.05, 2.0
        dt = 0.3 * sigma * dx**2
        expected = heat.ftcs(rho, r=0.3, num_steps=30)
        gaps = []
        for eps in (1e-4, 1e-6, 1e-8, 1e-12):
            got, j = goldstein_taylor(rho, 0 * rho, sigma=sigma, eps=eps, dx=dx, dt=dt, num_steps=30)
            gaps.append(float(jnp.abs(got - expected).max()))
            slope = (np.roll(expected, -1) - np.roll(expected, 1)) / (2 * dx)
            if eps < 1e-7:
                np.testing.assert_allclose(j, -slope / sigma, rtol=0.5, atol=0.02 * np.abs(slope).max())
        assert gaps[1] < 0.02 * gaps[0] and gaps[2] < 0.02 * gaps[1] and gaps[3] < 1e-9


def test_streaming_is_upwind_both_ways():
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        a, b, eps, dx = rng.uniform(size=30), rng.uniform(size=30), 0.5, 0.1
        rho, j = goldstein_taylor(a + b, (a - b) / eps, sigma=0.0, eps=eps, dx=dx, dt=0.6 * eps * dx, num_steps=9)
        right = advection.upwind(jnp.asarray(a), courant=0.6, num_steps=9)
        left = advection.upwind(jnp.asarray(b[::-1].copy()), courant=0.6, num_steps=9)[::-1]
        np.testing.assert_allclose((rho + eps * j) / 2, right, atol=1e-14)
        np.testing.assert_allclose((rho - eps * j) / 2, left, atol=1e-14)


@hypothesis.settings(deadline=None, derandomize=True, max_examples=25)
@hypothesis.given(st.sampled_from([1, 2, 13]), st.floats(-9, 2), st.integers(0, 9), st.booleans())
def test_mass_and_positivity(n, log_eps, seed, varying):
    """Weights are probabilities up to the bound itself, for any eps and any turning rates."""
    with jax.enable_x64(True):
        rng, eps, dx = np.random.default_rng(seed), 10.0**log_eps, 0.1
        rho = rng.exponential(size=n) * rng.integers(0, 2, n)
        j = rng.uniform(-1, 1, n) * rho / eps
        sigma = rng.exponential(size=n) if varying else rng.exponential()
        dt = eps * dx + np.min(sigma) * dx**2 / 2
        got, flux = goldstein_taylor(rho, j, sigma=sigma, eps=eps, dx=dx, dt=dt, num_steps=7)
        assert abs(float(got.sum() - rho.sum())) < 1e-13 * (1 + rho.sum())
        assert float((got - eps * jnp.abs(flux)).min()) > -1e-13


def test_uneven_turning_keeps_the_flat_state():
    with jax.enable_x64(True):
        sigma = np.random.default_rng(3).uniform(0.5, 3, 25)
        rho, j = goldstein_taylor(np.ones(25), np.zeros(25), sigma=sigma, eps=0.2, dx=0.1, dt=0.02, num_steps=40)
        np.testing.assert_allclose(rho, 1, atol=1e-14)
        np.testing.assert_allclose(j, 0, atol=1e-13)


def test_single_precision_at_tiny_eps():
    rho = np.random.default_rng(2).uniform(size=32).astype(np.float32)
    got, j = goldstein_taylor(rho, 0 * rho, sigma=1.0, eps=1e-12, dx=0.1, dt=0.003, num_steps=50)
    assert got.dtype == j.dtype == jnp.float32
    np.testing.assert_allclose(got, heat.ftcs(rho, r=0.3, num_steps=50), atol=2e-6)
    assert bool(jnp.isfinite(j).all())


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_exports(platform):
    f = jax.jit(lambda r, j, e: goldstein_taylor(r, j, sigma=1.0, eps=e, dx=0.1, dt=0.005, num_steps=5))
    field = jax.ShapeDtypeStruct((32,), jnp.float32)
    export.export(f, platforms=[platform])(field, field, jax.ShapeDtypeStruct((), jnp.float32))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"dt": 0.5}, "times smaller"),
        ({"eps": 0.0}, "eps > 0"),
        ({"eps": -1.0}, "eps > 0"),
        ({"sigma": -1.0}, "sigma >= 0"),
        ({"sigma": np.ones(3)}, "one per face"),
        ({"dx": 0.0}, "dx > 0"),
        ({"dt": np.nan}, "dt > 0"),
        ({"rho": np.ones((4, 4))}, "one shape"),
        ({"j": np.zeros(5)}, "one shape"),
        ({"rho": np.array([1.0, np.nan, 1, 1])}, "finite"),
        ({"num_steps": -1}, "num_steps"),
    ],
)
def test_bad_input(change, rule):
    given = {
        "rho": np.ones(4),
        "j": np.zeros(4),
        "sigma": 1.0,
        "eps": 0.1,
        "dx": 0.1,
        "dt": 0.001,
        "num_steps": 1,
    } | change
    rho, j = given.pop("rho"), given.pop("j")
    with pytest.raises(ValueError, match=rule):
        goldstein_taylor(rho, j, **given)
