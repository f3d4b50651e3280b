r"""The heat equation $u_t = D\,\nabla^2 u$ on a cell-centred grid: step by step, in one jump, and in closed form.

Everything on the grid depends on the step only through $r = D\,\Delta t/\Delta x^2$. A batch may be spread over devices
in any way; one field that is itself split over devices needs a mesh with `AxisType.Auto` axes.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from diffbook._checks import (
    require,
    require_choice,
    require_count,
    require_finite,
    require_floating,
    require_nonnegative,
    static_value,
)
from diffbook.pde import _walls
from diffbook.pde.kernel import heat_kernel

__all__ = ["crank_nicolson", "ftcs", "ftcs_jump", "heat_kernel"]

# On grids of this many cells and more, the number of steps that _ftcs takes on one margin of ghost cells.
_LARGE, _MARGIN = 2**15, 4


def ftcs(
    u: Shaped[ArrayLike, "*grid"],
    *,
    r: ArrayLike | Sequence[ArrayLike],
    num_steps: SupportsIndex,
    boundary: str = "periodic",
    check_stability: bool = True,
) -> Float[Array, "*grid"]:
    r"""Steps $u_j' = u_j + r\,(u_{j-1} - 2u_j + u_{j+1})$ summed over axes: forward in time, centred in space.

    Read as a random walk: a walker goes to each neighbour with probability $r$ and stays with $1 - 2dr$.

    Args:
      u: field, shape `(n,)`, `(n, m)` or `(n, m, l)`, real floating point. For a batch of fields use `jax.vmap`.
      r: $D\,\Delta t/\Delta x^2 \ge 0$, one number, or one per axis where the spacing or the diffusivity differ.
      num_steps: number of steps, fixed before tracing.
      boundary: "periodic"; "neumann" (no flux: a walker that would leave stays); "dirichlet" (zero outside: a walker
        that leaves is gone).
      check_stability: False lets an unstable `r` through, to look at the blow-up.
    Returns: field `num_steps` later, shape and dtype of `u`. `u.sum()` is kept unless "dirichlet"; up to the
      stability limit the largest and smallest value (if "dirichlet", with 0 among them) never move apart.
    Raises: ValueError: if $2\sum r > 1$ (unstable), for `r < 0`, NaN, or an unknown boundary. A traced `r` or `u` is
      not looked at: an unstable one grows without bound, NaN spreads one cell a step.
    References: Courant, Friedrichs & Lewy 1928. To differentiate through many steps take `ftcs_jump`: this one keeps
      what it needs of every step.

    >>> import jax.numpy as jnp
    >>> walkers = 16 * jnp.zeros(7).at[3].set(1.0)
    >>> ftcs(walkers, r=0.25, num_steps=2).tolist()
    [0.0, 1.0, 4.0, 6.0, 4.0, 1.0, 0.0]
    """
    u, rate, num_steps = _checked(u, r, num_steps, boundary, "ftcs")
    if check_stability:
        _check_stability(r, u.ndim, "ftcs")
    return _ftcs(u, rate, num_steps, boundary)


def ftcs_jump(
    u: Shaped[ArrayLike, "*grid"],
    *,
    r: ArrayLike | Sequence[ArrayLike],
    num_steps: SupportsIndex,
    boundary: str = "periodic",
    check_stability: bool = True,
) -> Float[Array, "*grid"]:
    r"""All steps of `ftcs` at once: each wave times $\bigl(1 - 4\sum r\sin^2(k\Delta x/2)\bigr)^n$.

    The waves that fit between the walls are the eigenvectors of the step, so $n$ steps cost two fast transforms,
    whatever $n$ is. The numbers are those of `ftcs` to rounding, its discretisation error included.

    Args:
      u, r, num_steps, boundary, check_stability: as for `ftcs`.
    Returns: field `num_steps` later, shape and dtype of `u`; conserves what `ftcs` conserves, to rounding.
    Raises: ValueError: as `ftcs`. An unstable `r` is refused here too: beyond the limit the two agree only until the
      rounding errors, which both amplify, have grown to the size of the field. A traced NaN spreads everywhere.
    References: the discrete Fourier, cosine (type 2) and sine (type 1) transforms: Strang 1999, SIAM Review 41, 135.

    >>> import jax.numpy as jnp
    >>> u = jnp.zeros((8, 8)).at[2, 3].set(1.0)
    >>> jump, steps = (f(u, r=0.2, num_steps=50, boundary="neumann") for f in (ftcs_jump, ftcs))
    >>> bool(jnp.allclose(jump, steps, atol=1e-6))
    True
    """
    u, rate, num_steps = _checked(u, r, num_steps, boundary, "ftcs_jump")
    if check_stability:
        _check_stability(r, u.ndim, "ftcs_jump")
    return _jump(u, rate, num_steps, boundary, _explicit_loss)


def crank_nicolson(
    u: Shaped[ArrayLike, "*grid"],
    *,
    r: ArrayLike | Sequence[ArrayLike],
    num_steps: SupportsIndex,
    boundary: str = "periodic",
) -> Float[Array, "*grid"]:
    r"""Steps that average old and new, $(1 - \tfrac r2\delta^2)\,u' = (1 + \tfrac r2\delta^2)\,u$: stable for all $r$.

    Stable is not accurate: beyond $r = 1$ in 1-D a step may leave the range of the data, and for large $r$ short waves
    flip their sign each step and hardly decay.

    Args:
      u, r, num_steps, boundary: as for `ftcs`, `r` without a limit.
    Returns: field `num_steps` later, shape and dtype of `u`. `u.sum()` is kept unless "dirichlet".
    Raises: ValueError: for `r < 0`, NaN, or an unknown boundary. A traced `r` or `u` is not looked at.
    References: Crank & Nicolson 1947.

    >>> import jax.numpy as jnp
    >>> u = jnp.zeros(64).at[32].set(1.0)
    >>> print(f"{crank_nicolson(u, r=4.0, num_steps=1)[32]:.4f}")
    -0.3333
    """
    # No tridiagonal solve: the matrix is the same in every step and the waves of the explicit step diagonalise it. Two
    # transforms do all steps, on every platform and without splitting in 2-D and 3-D.
    u, rate, num_steps = _checked(u, r, num_steps, boundary, "crank_nicolson")
    return _jump(u, rate, num_steps, boundary, _centred_loss)


def _checked(u, r, num_steps, boundary, where):
    u = require_floating(u, "u", where)
    require(
        u.ndim in (1, 2, 3),
        f"{where} needs a field in 1-, 2- or 3-D, got u of shape {u.shape}; map over a batch with jax.vmap",
    )
    require(u.size > 0, f"{where} needs at least one cell, got u of shape {u.shape}; check how the grid was made")
    require_choice(boundary, _walls.BOUNDARIES, "boundary", where)
    num_steps = require_count(num_steps, "num_steps", where)
    require_nonnegative(r, "r", where, "backwards in time the heat equation is unstable at every step")
    rate = jnp.asarray(r, u.dtype)
    require(
        rate.shape in ((), (u.ndim,)),
        f"{where} needs one r or one per axis ({u.ndim} here), got r of shape {rate.shape}; "
        "map over several r with jax.vmap",
    )
    require_finite(u, "u", where)
    return u, rate, num_steps


def _check_stability(r, ndim, where):
    value = static_value(r)
    if value is None:
        return
    total = 2 * (ndim if value.ndim == 0 else 1) * float(value.sum(dtype=float))
    rule = f"r <= 1/(2*d) = {1 / (2 * ndim):.4g} in {ndim}-D" if value.ndim == 0 else "sum(r) <= 1/2"
    # The slack is rounding: three times a float32 1/6 is a little more than 1/2.
    slack = 8 * float(jnp.finfo(value.dtype).eps) if jnp.issubdtype(value.dtype, jnp.floating) else 0.0
    factor = math.ceil(100 * total - 1e-6) / 100
    require(
        total <= 1 + slack,
        f"{where} needs {rule}, got r={r}; take dt {factor:g} times smaller (more steps cost ftcs_jump nothing), "
        "or use crank_nicolson, or pass check_stability=False to watch it blow up",
    )


@partial(jax.jit, static_argnames=("num_steps", "boundary"))
def _ftcs(u, r, num_steps, boundary):
    # On a large grid laying the ghost cells costs more than the arithmetic: with a jnp.roll per neighbour a step takes
    # four times as long, with one jnp.pad twice. So four layers are laid for four steps, and each step uses one up:
    # what is left is slices of one array in one fused loop, and on several devices one exchange with the neighbours in
    # four steps. Small grids stay in cache and are not worth the longer compilation.
    margin = min(_MARGIN, *u.shape) if u.size >= _LARGE else 1

    def take(count, _, u):
        u = _walls.extend(u, count, boundary)
        for _ in range(count):
            u = _explicit_step(u, r)
        return u

    whole, rest = divmod(num_steps, margin)
    u = lax.fori_loop(0, whole, partial(take, margin), u)
    return lax.fori_loop(0, rest, partial(take, 1), u) if rest else u


def _explicit_step(u, r):
    """One step on the cells of `u` that have all their neighbours: two fewer along each axis."""
    inner = [slice(1, -1)] * u.ndim
    centre = u[tuple(inner)]

    def bend(axis):
        left, right = ([*inner[:axis], side, *inner[axis + 1 :]] for side in (slice(None, -2), slice(2, None)))
        return (u[tuple(left)] + u[tuple(right)]) - 2 * centre  # exactly zero where u is constant

    if r.ndim == 0:
        return centre + r * sum(bend(axis) for axis in range(u.ndim))
    return centre + sum(r[axis] * bend(axis) for axis in range(u.ndim))


def _explicit_loss(s):
    return s


def _centred_loss(s):
    return s / (1 + s / 2)


def _jump(u, r, num_steps, boundary, loss):
    if num_steps == 0:
        return u
    # The digits of num_steps are data and only their number is static, in fours: a film with a hundred frames at a
    # hundred times compiles once or twice.
    length = 4 * math.ceil(num_steps.bit_length() / 4)
    digits = np.array([digit == "1" for digit in f"{num_steps:0{length}b}"])
    return _one_jump(u, r, digits, boundary, loss)


@partial(jax.jit, static_argnames=("boundary", "loss"))
def _one_jump(u, r, digits, boundary, loss):
    work = u.astype(jnp.promote_types(u.dtype, jnp.float32))  # no transform is narrower
    rates = jnp.broadcast_to(r.astype(work.dtype), (u.ndim,))
    s = jnp.zeros((), work.dtype)
    for axis, eigenvalue in enumerate(_walls.eigenvalues(u.shape, boundary)):
        along = rates[axis] * jnp.asarray(eigenvalue, work.dtype)
        s = jnp.expand_dims(s, -1) + jnp.expand_dims(along, tuple(range(axis)))
    kept = 1 - _compound(loss(s), digits)  # each step takes the part loss(s) from the wave of eigenvalue s
    return _walls.inverse_transform(kept * _walls.transform(work, boundary), u.shape, boundary).astype(u.dtype)


def _compound(lost, digits):
    """1 - (1 - lost)**n for n of the given binary digits, by squaring what is kept while carrying what is lost.

    A long wave loses so little per step that 1 - lost rounds it away; over n steps that would cost n units of rounding.
    """
    total = jnp.zeros_like(lost)
    for digit in digits:
        total = total * (2 - total)
        total = jnp.where(digit, total + lost * (1 - total), total)
    return total
