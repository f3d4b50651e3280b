"""fokker_planck: against dense algebra, exact solutions, and the laws that every density obeys."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffbook.pde import fokker_planck as fp


def well(x):
    """A parabola, as `sde.langevin` takes it: points (..., d) to energies (...)."""
    return (x**2).sum(-1) / 2


def double_well(x):
    return (x**2 - 1) ** 2


def centres(n, half_width, dtype=float):
    dx = 2 * half_width / n
    return jnp.asarray(-half_width + dx * (np.arange(n) + 0.5), dtype)


def bump(x, mean, width):
    p = jnp.exp(-((x - mean) ** 2) / (2 * width**2))
    return p / (p.sum() * (x[1] - x[0]))


def dense_generator(x, potential, diffusivity):
    """L of p' = L p, column by column, from the definition z/(exp(z) - 1) of the Scharfetter-Gummel weights."""
    x, n = np.asarray(x), len(x)
    u = np.array([float(potential(jnp.array([[a]])).reshape(())) for a in x])
    generator = np.zeros((n, n))
    for i in range(n - 1):
        z = (u[i + 1] - u[i]) / diffusivity
        rise, fall = (1.0, 1.0) if z == 0 else (z / np.expm1(z), -z / np.expm1(-z))
        scale = diffusivity / (x[1] - x[0]) ** 2
        generator[i + 1, i], generator[i, i + 1] = scale * rise, scale * fall
    return generator - np.diag(generator.sum(axis=0))


@pytest.mark.parametrize("potential", [well, double_well, lambda x: 3 * x, lambda x: 0 * x])
@pytest.mark.parametrize("dt", [1e-3, 0.1, 30.0])
def test_evolve_is_the_dense_solution(potential, dt):
    with jax.enable_x64(True):
        x = centres(40, 2.0)
        p = bump(x, 0.4, 0.2)
        measured = fp.evolve(p, x=x, potential=potential, diffusivity=0.3, dt=dt, num_steps=5)
        step = np.linalg.inv(np.eye(40) - dt * dense_generator(x, potential, 0.3))
        expected = np.linalg.matrix_power(step, 5) @ np.asarray(p)
        np.testing.assert_allclose(measured, expected, atol=1e-11)


landscapes = st.tuples(*[st.floats(-3, 3) for _ in range(4)])


def landscape(c):
    """A quartic with walls, and wiggles: smooth, of a height of up to some tens."""
    return lambda x: 0.3 * x**4 + c[0] * x**3 / 3 + c[1] * x**2 + c[2] * x + c[3] * jnp.sin(5 * x)


@settings(deadline=None, max_examples=16, derandomize=True)
@given(
    coefficients=landscapes,
    n=st.sampled_from([2, 40]),
    diffusivity=st.floats(0.05, 5.0),
    dt=st.floats(1e-6, 1e8),
    dtype=st.sampled_from([jnp.float32, jnp.float64]),
    seed=st.integers(0, 100),
)
def test_laws_of_evolve(coefficients, n, diffusivity, dt, dtype, seed):
    """Mass, positivity, equilibrium, H-theorem; for any landscape, any step, both precisions."""
    with jax.enable_x64(True):
        x, eps = centres(n, 2.5, dtype), float(jnp.finfo(dtype).eps)
        kwargs = {"x": x, "potential": landscape(coefficients), "diffusivity": diffusivity}
        p = jax.random.uniform(jax.random.key(seed), (n,), dtype)
        p = p / p.sum()
        equilibrium = fp.stationary(**kwargs)
        evolve = partial(fp.evolve, **kwargs, dt=dt, num_steps=10)
        later = evolve(p)
        assert later.dtype == dtype
        assert later.min() >= 0
        np.testing.assert_allclose(later.sum(), p.sum(), rtol=4 * eps)
        # Ten steps; n faces to cross; and U/D is rounded to eps |U/D| before the exponential.
        slack = (10 + n + 4 * float(jnp.abs(kwargs["potential"](x)).max()) / diffusivity) * eps
        np.testing.assert_allclose(
            evolve(equilibrium), equilibrium, rtol=slack, atol=float(jnp.finfo(dtype).tiny) / eps
        )
        before, after = (fp.relative_entropy(q, equilibrium, x) for q in (p / (x[1] - x[0]), later / (x[1] - x[0])))
        assert jnp.isinf(before) or after <= before + 100 * eps


@settings(deadline=None, max_examples=5, derandomize=True)
@given(coefficients=landscapes, a=st.floats(-2, 2), seed=st.integers(0, 100))
def test_evolve_is_linear_and_mirrors(coefficients, a, seed):
    with jax.enable_x64(True):
        x, potential = centres(30, 2.0), landscape(coefficients)
        p, q = jax.random.normal(jax.random.key(seed), (2, 30))  # signed, as perturbations are
        evolve = partial(fp.evolve, x=x, diffusivity=0.5, dt=0.2, num_steps=4)
        later = evolve(p, potential=potential)
        both = evolve(p + a * q, potential=potential)
        np.testing.assert_allclose(both, later + a * evolve(q, potential=potential), atol=1e-13)
        np.testing.assert_allclose(evolve(p[::-1], potential=lambda x: potential(-x))[::-1], later, atol=1e-13)


def test_relaxation_in_a_parabola_is_exact_to_first_order_in_dt():
    """The mean of an Ornstein-Uhlenbeck density falls as exp(-t), its variance closes in on D as exp(-2t)."""
    with jax.enable_x64(True):
        x = centres(500, 6.0)
        p = bump(x, 1.5, 0.5)

        def moments(num_steps):
            q = fp.evolve(p, x=x, potential=well, diffusivity=0.7, dt=1.0 / num_steps, num_steps=num_steps)
            q = q / q.sum()
            mean = (q * x).sum()
            return np.array([mean, (q * x**2).sum() - mean**2])

        exact = np.array([1.5 * np.exp(-1), 0.7 + (0.25 - 0.7) * np.exp(-2)])
        coarse, fine = moments(200) - exact, moments(400) - exact
        np.testing.assert_allclose(fine, 0, atol=2e-3)  # dt/2 times moments of order one
        np.testing.assert_allclose(coarse / fine, 2, rtol=0.1)  # first order; the grid adds dx**2 = 6e-4 of it


def test_eigenvalues_between_walls_are_those_of_the_path():
    with jax.enable_x64(True):
        n, x = 50, centres(50, 1.0)
        measured = fp.eigenvalues(x, potential=lambda x: 0 * x, diffusivity=0.3, count=n)
        expected = 4 * 0.3 / (x[1] - x[0]) ** 2 * np.sin(np.pi * np.arange(n) / (2 * n)) ** 2
        np.testing.assert_allclose(measured, expected, rtol=1e-13)
        assert measured[0] == 0


def test_parabola_has_integer_rates_and_second_order():
    with jax.enable_x64(True):
        error = [
            np.asarray(fp.eigenvalues(centres(n, 7.0), potential=well, diffusivity=1.0, count=4))[1:] - np.arange(1, 4)
            for n in (100, 200)
        ]
        np.testing.assert_allclose(error[0] / error[1], 4, rtol=0.05)
        np.testing.assert_allclose(error[1], 0, atol=9 * 0.07**2 / 4)


def test_jit_and_vmap():
    x = centres(32, 2.0, jnp.float32)
    densities = jnp.stack([bump(x, m, 0.3) for m in (-1.0, 0.0, 0.5)])
    evolve = partial(fp.evolve, x=x, potential=double_well, diffusivity=0.5, dt=0.1, num_steps=3)
    np.testing.assert_allclose(jax.jit(jax.vmap(evolve))(densities)[2], evolve(densities[2]), rtol=1e-5, atol=1e-7)
    spectrum = jax.vmap(lambda d: fp.eigenvalues(x, potential=double_well, diffusivity=d, count=3))
    measured = spectrum(jnp.array([0.2, 0.5]))
    np.testing.assert_allclose(measured[1], spectrum(jnp.array([0.5]))[0], rtol=1e-5)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_exports(platform):
    x = centres(16, 2.0, jnp.float32)
    kwargs = {"potential": double_well, "diffusivity": 0.5}
    functions = [
        lambda p: fp.evolve(p, x=x, **kwargs, dt=0.1, num_steps=4),
        lambda p: fp.stationary(p, **kwargs),
        lambda p: fp.eigenvalues(p, **kwargs, count=3),
        lambda p: fp.entropy(p, x) + fp.relative_entropy(p, p, x) + fp.free_energy(p, x, **kwargs),
    ]
    for function in functions:
        assert jax.export.export(jax.jit(function), platforms=[platform])(x).platforms == (platform,)


def test_a_cliff_stops_everything():
    """Across a wall of 2000 in units of D nothing passes, and no number overflows."""
    x = centres(10, 1.0, jnp.float32)
    kwargs = {"potential": lambda x: jnp.where(jnp.abs(x) < 0.25, 2000.0, 0.0), "diffusivity": 1.0}
    p = jnp.where(x < -0.25, 1.0, 0.0)
    later = fp.evolve(p, x=x, **kwargs, dt=1.0, num_steps=10)
    np.testing.assert_allclose(later, p, atol=1e-6)
    rates = fp.eigenvalues(x, **kwargs, count=3)
    assert rates[1] == 0 and jnp.isfinite(rates[2]) and rates[2] > 0


def test_gradient_of_a_rate_in_the_height_of_the_barrier():
    with jax.enable_x64(True):
        x, h = centres(60, 2.0), 1e-5

        @jax.jit
        def rate(height):
            return fp.eigenvalues(x, potential=lambda x: height * double_well(x), diffusivity=0.2, count=2)[1]

        np.testing.assert_allclose(jax.jit(jax.grad(rate))(1.0), (rate(1 + h) - rate(1 - h)) / (2 * h), rtol=1e-6)


def test_no_steps_and_nothing_there():
    x = centres(8, 1.0, jnp.float32)
    kwargs = {"x": x, "potential": double_well, "diffusivity": 1.0, "dt": 0.1}
    np.testing.assert_array_equal(fp.evolve(x, **kwargs, num_steps=0), x)
    np.testing.assert_array_equal(fp.evolve(jnp.zeros(8), **kwargs, num_steps=3), jnp.zeros(8))


def test_entropies_of_gaussians():
    with jax.enable_x64(True):
        x = centres(400, 8.0)
        p, q, half = bump(x, 0.5, 0.7), bump(x, 0.0, 1.0), jnp.where(x > 0, 1 / 8, 0.0)
        np.testing.assert_allclose(fp.entropy(p, x), 0.5 * np.log(2 * np.pi * np.e * 0.49), atol=1e-12)
        expected = 0.5 * (0.49 + 0.25 - 1 - np.log(0.49))
        np.testing.assert_allclose(fp.relative_entropy(p, q, x), expected, atol=1e-12)
        assert fp.relative_entropy(p, p, x) == 0
        assert fp.entropy(bump(x, 0.0, 0.1), x) < 0  # narrower than a unit of length
        free = partial(fp.free_energy, x=x, potential=well, diffusivity=1.0)
        np.testing.assert_allclose(free(q), -0.5 * np.log(2 * np.pi), atol=1e-12)
        np.testing.assert_allclose(free(p) - free(q), expected, atol=1e-12)
        np.testing.assert_allclose(fp.relative_entropy(half, jnp.full(400, 1 / 16), x), np.log(2), rtol=1e-12)
        assert jnp.isinf(fp.relative_entropy(p, half, x))


X, P = jnp.linspace(-1.0, 1.0, 8), jnp.ones(8)
GOOD = {"x": X, "potential": double_well, "diffusivity": 1.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fp.evolve(P[:5], **GOOD, dt=0.1, num_steps=1), r"got p of shape \(5,\) and x of shape \(8,\)"),
        (lambda: fp.evolve(P, **GOOD, dt=-0.1, num_steps=1), "needs dt > 0, got dt=-0.1"),
        (
            lambda: fp.evolve(P.astype(int), **GOOD, dt=0.1, num_steps=1),
            r"got p of dtype int32; pass p.astype\(float\)",
        ),
        (lambda: fp.evolve(P.at[2].set(jnp.nan), **GOOD, dt=0.1, num_steps=1), "got p with 1 of 8 entries NaN"),
        (lambda: fp.evolve(P, **GOOD | {"diffusivity": -1.0}, dt=0.1, num_steps=1), "got diffusivity=-1.0"),
        (lambda: fp.evolve(P, **GOOD | {"potential": lambda x: x.sum()}, dt=0.1, num_steps=1), "over the last axis"),
        (lambda: fp.stationary(X, potential=lambda x: 1 / (x * 0), diffusivity=1.0), r"got potential\(x\) with 8 of 8"),
        (lambda: fp.stationary(X[:1], potential=well, diffusivity=1.0), "at least two cells"),
        (lambda: fp.stationary(X[::-1], potential=well, diffusivity=1.0), "x to rise by even steps"),
        (lambda: fp.stationary(X**3, potential=well, diffusivity=1.0), "x to rise by even steps"),
        (lambda: fp.stationary(X, potential=well, diffusivity=0.0), "got diffusivity=0.0"),
        (lambda: fp.eigenvalues(X, potential=well, diffusivity=1.0, count=9), "count <= n = 8 cells, got count=9"),
        (lambda: fp.entropy(-P, X), "needs p >= 0"),
        (lambda: fp.relative_entropy(P, -P, X), "needs q >= 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_traced_nan_spreads():
    p = jax.jit(lambda p: fp.evolve(p, **GOOD, dt=0.1, num_steps=1))(P.at[0].set(jnp.nan))
    assert jnp.isnan(p).all()
