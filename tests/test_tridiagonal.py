"""_tridiagonal: every digit, however small the number, against exact and long arithmetic."""

from decimal import Decimal, getcontext
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffbook.pde import _tridiagonal as chain
from diffbook.pde import fokker_planck as fp


def rates(seed, n, decades):
    """Rates right and left through n - 1 faces, spread over many decades."""
    return 10 ** jax.random.uniform(jax.random.key(seed), (2, n - 1), minval=-decades, maxval=decades)


def generator(right, left):
    n = len(right) + 1
    matrix = np.zeros((n, n))
    matrix[range(1, n), range(n - 1)], matrix[range(n - 1), range(1, n)] = right, left
    return matrix - np.diag(matrix.sum(axis=0))


def solved_in_fractions(p, right, left, dt):
    """(1 - dt L) q = p by exact elimination, from the last cell to the first."""
    p, right, left = ([Fraction(float(v)) for v in values] for values in (p, right, left))
    dt, n = Fraction(dt), len(p)
    diagonal = [1 + dt * ((right[i] if i < n - 1 else 0) + (left[i - 1] if i else 0)) for i in range(n)]
    for i in range(n - 2, -1, -1):
        factor = dt * left[i] / diagonal[i + 1]
        diagonal[i] -= factor * dt * right[i]
        p[i] += factor * p[i + 1]
    q = [p[0] / diagonal[0]]
    for i in range(1, n):
        q.append((p[i] + dt * right[i - 1] * q[-1]) / diagonal[i])
    return np.array([float(v) for v in q])


@settings(deadline=None, max_examples=15, derandomize=True)
@given(seed=st.integers(0, 1000), dt=st.sampled_from([2.0**-20, 1.0, 2.0**40]))
def test_every_entry_of_a_step_is_right_to_rounding(seed, dt):
    """Rates over 24 decades, a condition number beyond 1e20, and no digit lost in the smallest entry."""
    with jax.enable_x64(True):
        n = 12
        right, left = rates(seed, n, 12)
        p = jnp.zeros(n).at[seed % n].set(1.0)
        measured = chain.implicit_euler(p, right, left, jnp.asarray(dt), 1)
        np.testing.assert_allclose(measured, solved_in_fractions(p, right, left, dt), rtol=20 * n * 2.2e-16)


@pytest.mark.parametrize("n", [2, 3, 20])
def test_rates_are_those_of_the_dense_matrix(n):
    with jax.enable_x64(True):
        right, left = rates(0, n, 1)
        measured = chain.positive_rates(jnp.stack([right, left], -1).ravel(), n - 1)
        expected = np.sort(-np.linalg.eigvals(generator(right, left)).real)[1:]
        np.testing.assert_allclose(measured, expected, rtol=1e-10)


def test_a_tiny_rate_has_all_its_digits():
    """lambda_1 = 1e-27 beside rates of 1e+2: a double well at D = 1/64, against the same chain in 80 decimal digits."""
    getcontext().prec = 80
    with jax.enable_x64(True):
        n = 25
        x = jnp.linspace(-1.5, 1.5, n)
        energy = (x**2 - 1) ** 2
        right, left = fp._rates(energy, jnp.asarray(1 / 64), jnp.asarray(0.125))  # numbers that are binary, so the same
        measured = chain.positive_rates(jnp.stack([right, left], -1).ravel(), 1)[0]
        u = [Decimal(float(v)) for v in energy]
    z = [(b - a) * 64 for a, b in zip(u, u[1:], strict=False)]
    right = [v / (v.exp() - 1) for v in z]  # D / dx**2 is one
    left = [v / (1 - (-v).exp()) for v in z]

    def count_below(rate):
        """Negative pivots of -L - rate."""
        pivot, below = right[0] - rate, 0
        for i in range(n - 1):
            below += pivot < 0
            out = left[i] + (right[i + 1] if i < n - 2 else 0)
            pivot = out - rate - right[i] * left[i] / pivot
        return below + (pivot < 0)

    low, high = Decimal("1e-40"), Decimal(1)
    for _ in range(120):
        middle = (low * high).sqrt()
        low, high = (middle, high) if count_below(middle) < 2 else (low, middle)
    assert 1e-30 < float(low) < 1e-24
    np.testing.assert_allclose(measured, float(low), rtol=1e-13)  # rounding of z, at most 50, and of n faces


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_closed_face_splits_the_chain(dtype):
    """Cells that nothing leaves: three pieces have three equilibria, so two more rates are zero."""
    with jax.enable_x64(True):
        faces = jnp.asarray([1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0], dtype)
        measured = chain.positive_rates(faces, 5)
        assert measured.dtype == dtype
        np.testing.assert_allclose(measured, [0, 0, 2, 2, 2], rtol=1e-6)


@jax.jit
def logs_and_slopes(s, faces, direction):
    """Logarithms of the rates of faces * exp(s * direction), and their derivative in s, forwards and backwards."""

    def logs(s):
        return jnp.log(chain.positive_rates(faces * jnp.exp(s * direction), faces.size // 2))

    return logs(s), jax.jacfwd(logs)(s), jax.jacrev(logs)(s)


@settings(deadline=None, max_examples=5, derandomize=True)
@given(seed=st.integers(0, 1000))
def test_gradient_of_the_rates(seed):
    """Also of a rate of 1e-9, by central differences of its logarithm."""
    with jax.enable_x64(True):
        n, h = 10, 1e-5
        faces = rates(seed, n, 3).T.ravel().at[8:10].set(jnp.array([1e-9, 2e-9]))
        direction = jax.random.normal(jax.random.key(seed + 1), faces.shape)
        below, at, above = (logs_and_slopes(s, faces, direction) for s in (-h, 0.0, h))
        numeric = (above[0] - below[0]) / (2 * h)
        for slope in at[1:]:
            np.testing.assert_allclose(slope, numeric, rtol=1e-5, atol=1e-7)


def test_gradient_of_a_step():
    with jax.enable_x64(True):
        n, h = 8, 1e-6
        right, left = rates(3, n, 1)
        p = jnp.full(n, 1 / n)

        @jax.jit
        def first_cell(s):
            return chain.implicit_euler(p, right * jnp.exp(s), left, jnp.asarray(0.3), 5)[0]

        numeric = (first_cell(h) - first_cell(-h)) / (2 * h)
        np.testing.assert_allclose(jax.grad(first_cell)(0.0), numeric, rtol=1e-6)
