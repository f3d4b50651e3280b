r"""The Fokker-Planck equation in one dimension, $p_t = (U' p)_x + D\,p_{xx}$, with walls that let nothing through.

It is the law of the density of walkers dx = -U'(x) dt + sqrt(2D) dW (`diffbook.sde.langevin`); the mobility is one, so
D is also the temperature. The grid is uniform and cell-centred: the walls lie half a cell beyond its ends.

A `potential` is a function of points, (..., 1) -> (...), the same that `diffbook.sde.langevin` takes; one that acts on
every number by itself, such as `lambda x: x**2 / 2`, serves here as well.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import entr, rel_entr
from jaxtyping import Array, ArrayLike, Float

from diffbook import _checks
from diffbook.pde import _tridiagonal


def evolve(
    p: ArrayLike,
    *,
    x: ArrayLike,
    potential: Callable,
    diffusivity: ArrayLike,
    dt: ArrayLike,
    num_steps: int,
) -> Float[Array, " n"]:
    r"""Advance a density by implicit steps of the Fokker-Planck equation $p_t = (U'p)_x + D\,p_{xx}$.

    Second order in the grid spacing and first order in dt, with no limit on dt. Every step is a matrix of transition
    probabilities, so it does whatever noise and force can do and nothing else: see *Returns*.

    Args:
      p: density, shape (n,), 1/length. Signed perturbations are welcome: the map is linear.
      x: cell centres, shape (n,), evenly spaced and rising, length.
      potential: U, length**2/time (energy, at unit mobility).
      diffusivity: D > 0, length**2/time.  dt: time, > 0.  num_steps: static, >= 0.
    Returns: the density, shape (n,). Where p >= 0 it stays so; `p.sum()` is kept; `stationary(x, ...)` stays as it is,
      all three to rounding; the relative entropy to it never rises.
    Raises: ValueError: if a shape does not fit, the grid is not even, or a value is out of range. Where values are
      traced, NaN spreads to all cells and a negative dt or diffusivity returns numbers without meaning.
    References: D. L. Scharfetter, H. K. Gummel, IEEE Trans. Electron Devices 16 (1969), for the flux through a face.

    >>> x = jnp.linspace(-3.9, 3.9, 40)
    >>> p = evolve(jnp.ones(40) / 8, x=x, potential=lambda x: x**2 / 2, diffusivity=1.0, dt=0.5, num_steps=40)
    >>> print(f"{(p * x**2).sum() / p.sum():.2f}")
    1.00
    """
    where = "fokker_planck.evolve"
    p, x = _density(p, x, "p", where)
    _checks.require_positive(dt, "dt", where)
    num_steps = _checks.require_count(num_steps, "num_steps", where)
    right, left = _face_rates(x, potential, diffusivity, where)
    dt = jnp.asarray(dt, p.dtype)
    return _tridiagonal.implicit_euler(p, right.astype(p.dtype), left.astype(p.dtype), dt, num_steps)


def stationary(x: ArrayLike, *, potential: Callable, diffusivity: ArrayLike) -> Float[Array, " n"]:
    r"""The equilibrium $e^{-U/D}/Z$ of Boltzmann and Gibbs, with $Z$ such that `p.sum() * dx == 1`.

    Args:
      x: cell centres, shape (n,), evenly spaced and rising.  potential: U.  diffusivity: D > 0.
    Returns: density, shape (n,), 1/length.
    Raises: ValueError: as `evolve`.

    >>> x = jnp.linspace(-5.0, 5.0, 201)
    >>> p = stationary(x, potential=lambda x: x**2 / 2, diffusivity=1.0)
    >>> print(f"{p[100]:.4f}")  # 1/sqrt(2 pi)
    0.3989
    """
    where = "fokker_planck.stationary"
    x = _grid(x, where)
    return _boltzmann(_energy(x, potential, where), _diffusivity(diffusivity, x, where), _spacing(x))


def eigenvalues(x: ArrayLike, *, potential: Callable, diffusivity: ArrayLike, count: int) -> Float[Array, " count"]:
    r"""The `count` slowest decay rates $0 = \lambda_0 < \lambda_1 < \dots$: every density is
    $p_{eq} + \sum_k c_k\,\varphi_k(x)\,e^{-\lambda_k t}$.

    Each is computed to a few roundings of its *own* size, also where a barrier makes it 1e-30. Second order in the
    grid spacing. One step of `evolve` multiplies mode k by 1/(1 + dt lambda_k).

    Args:
      x: cell centres, shape (n,), evenly spaced and rising.  potential: U.  diffusivity: D > 0.
      count: static, 1 <= count <= n.
    Returns: shape (count,), 1/time, rising; the first is exactly 0. Differentiable.
    Raises: ValueError: as `evolve`, and if `count` is out of range.

    >>> x = jnp.linspace(-7.0, 7.0, 281)
    >>> rates = eigenvalues(x, potential=lambda x: x**2 / 2, diffusivity=1.0, count=4)
    >>> print([f"{rate:.2f}" for rate in rates])
    ['0.00', '1.00', '2.00', '3.00']
    """
    where = "fokker_planck.eigenvalues"
    x = _grid(x, where)
    count = _checks.require_count(count, "count", where, least=1)
    _checks.require(count <= x.size, f"{where} needs count <= n = {x.size} cells, got {count=}; refine the grid")
    right, left = _face_rates(x, potential, diffusivity, where)
    faces = jnp.stack([right, left], axis=-1).ravel()
    zero = jnp.zeros(1, x.dtype)
    return zero if count == 1 else jnp.concatenate([zero, _tridiagonal.positive_rates(faces, count - 1)])


def entropy(p: ArrayLike, x: ArrayLike) -> Float[Array, ""]:
    r"""Differential entropy $-\int p\log p\,dx$, in nats. It can be negative, and it depends on the unit of x.

    Args:
      p: density, shape (n,), >= 0.  x: cell centres, shape (n,), evenly spaced and rising.
    Raises: ValueError: if a shape does not fit or p < 0. Where p is traced, a negative entry makes the result -inf.

    >>> x = jnp.linspace(0.05, 0.95, 10)
    >>> print(entropy(jnp.ones(10), x))  # even over a unit of length
    0.0
    """
    p, x = _density(p, x, "p", "fokker_planck.entropy")
    _checks.require_nonnegative(p, "p", "fokker_planck.entropy", _NOT_A_DENSITY)
    return entr(p).sum() * _spacing(x)


def relative_entropy(p: ArrayLike, q: ArrayLike, x: ArrayLike) -> Float[Array, ""]:
    r"""Relative entropy (Kullback-Leibler divergence) $\int p\log(p/q)\,dx \ge 0$ of densities of equal mass, in nats.

    Args:
      p, q: densities, shape (n,), >= 0.  x: cell centres, shape (n,), evenly spaced and rising.
    Returns: a number; infinite where p > 0 and q = 0.
    Raises: ValueError: if a shape does not fit or an entry is negative (where traced, the result is then infinite).

    >>> x = jnp.linspace(0.05, 0.95, 10)
    >>> p = jnp.where(x < 0.5, 2.0, 0.0)
    >>> print(f"{relative_entropy(p, jnp.ones(10), x):.4f}")  # log 2
    0.6931
    """
    where = "fokker_planck.relative_entropy"
    p, x = _density(p, x, "p", where)
    q, x = _density(q, x, "q", where)
    for name, density in (("p", p), ("q", q)):
        _checks.require_nonnegative(density, name, where, _NOT_A_DENSITY)
    return rel_entr(p, q).sum() * _spacing(x)


def free_energy(p: ArrayLike, x: ArrayLike, *, potential: Callable, diffusivity: ArrayLike) -> Float[Array, ""]:
    r"""Free energy $F = \int p\,U\,dx - D S$, energy less temperature times entropy. It never rises under `evolve`.

    $F[p] = F[p_{eq}] + D\,KL(p\,|\,p_{eq})$, and $F[p_{eq}] = -D\log Z$.

    Args:
      p: density of mass one, shape (n,), >= 0.  x: cell centres, shape (n,).  potential: U.  diffusivity: D > 0.
    Raises: ValueError: as `entropy` and `evolve`.

    >>> x = jnp.linspace(-6.0, 6.0, 121)
    >>> p = stationary(x, potential=lambda x: x**2 / 2, diffusivity=1.0)
    >>> print(f"{free_energy(p, x, potential=lambda x: x**2 / 2, diffusivity=1.0):.4f}")  # -log(2 pi) / 2
    -0.9189
    """
    where = "fokker_planck.free_energy"
    p, x = _density(p, x, "p", where)
    _checks.require_nonnegative(p, "p", where, _NOT_A_DENSITY)
    diffusivity = _diffusivity(diffusivity, x, where)
    return ((p * _energy(x, potential, where)) - diffusivity * entr(p)).sum() * _spacing(x)


_NOT_A_DENSITY = "pass a density"


def _face_rates(x, potential, diffusivity, where):
    return _rates(_energy(x, potential, where), _diffusivity(diffusivity, x, where), _spacing(x))


@jax.jit
def _rates(energy: Float[Array, " n"], diffusivity: Float[Array, ""], dx: Float[Array, ""]):
    """Rates right (i to i+1) and left (back) through each face, (n-1,): the exact flux of a piecewise linear U.

    With z the rise of U/D across a face they are D/dx**2 times B(z) and B(-z), B(z) = z/(exp(z) - 1). Their ratio is
    exp(-z) to a rounding, which is what leaves exp(-U/D) alone.
    """
    z = jnp.diff(energy) / diffusivity
    size = jnp.abs(z)
    nonzero = jnp.where(size > 0, size, 1)
    base = jnp.where(size > 0, nonzero / -jnp.expm1(-nonzero), 1) * (diffusivity / dx**2)
    return base * jnp.exp(-jnp.maximum(z, 0)), base * jnp.exp(jnp.minimum(z, 0))


@jax.jit
def _boltzmann(energy, diffusivity, dx):
    weight = jnp.exp((energy.min() - energy) / diffusivity)
    return weight / (weight.sum() * dx)


def _energy(x, potential, where):
    """U at the cell centres, shape (n,)."""
    energy = jnp.asarray(potential(x[:, None]))
    _checks.require(
        energy.shape in ((x.size,), (x.size, 1)),
        f"{where} needs potential to map points (n, 1) to energies (n,), got {energy.shape} for n = {x.size}; "
        "sum over the last axis, or write it elementwise",
    )
    _checks.require_finite(energy, "potential(x)", where)
    return energy.reshape(x.shape).astype(x.dtype)


def _diffusivity(diffusivity, x, where):
    _checks.require_positive(diffusivity, "diffusivity", where)
    return jnp.asarray(diffusivity, x.dtype)


def _density(p, x, name, where):
    x = _grid(x, where)
    p = _checks.require_floating(p, name, where)
    _checks.require(
        p.shape == x.shape,
        f"{where} needs one density per cell, got {name} of shape {p.shape} and x of shape {x.shape}; "
        "map over a batch with jax.vmap",
    )
    _checks.require_finite(p, name, where)
    return p, x


def _grid(x, where):
    x = _checks.require_floating(x, "x", where)
    _checks.require(
        x.ndim == 1 and x.size >= 2,
        f"{where} needs at least two cells in one dimension, got x of shape {x.shape}; pass cell centres of shape (n,)",
    )
    _checks.require_finite(x, "x", where)
    if (cells := _checks.static_value(x)) is not None:
        steps, dx = np.diff(cells), (cells[-1] - cells[0]) / (cells.size - 1)
        slack = 1e-3 * dx + 4 * np.finfo(cells.dtype).eps * np.abs(cells).max()
        _checks.require(
            bool(dx > 0 and np.abs(steps - dx).max() <= slack),
            f"{where} needs x to rise by even steps, got steps from {steps.min():g} to {steps.max():g}; "
            "pass dx * (jnp.arange(n) + 0.5)",
        )
    return x


def _spacing(x):
    return (x[-1] - x[0]) / (x.size - 1)
