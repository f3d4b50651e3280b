"""Advection at constant speed, u_t + c u_x = 0: a scheme that spreads what it carries, and its repair.

Periodic, one-dimensional, cell-centred. `courant` is C = c dt/dx, the part of a cell that is crossed in a step.
"""

import functools
from typing import SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from diffbook import _checks


def upwind(u: Shaped[ArrayLike, "..."], *, courant: ArrayLike, num_steps: SupportsIndex) -> Float[Array, " n"]:
    r"""Donor-cell advection, $u_i \leftarrow (1 - C)\,u_i + C\,u_{i-1}$.

    Each step moves a quantum one cell on with probability C, so a unit in one cell becomes Binomial(num_steps, C): the
    mean is right and the variance C (1 - C) per step is the scheme's own. Exact at C = 1.

    Args:
      u: field, shape `(n,)`, periodic.
      courant: C in (0, 1].  num_steps: number of steps, a static integer.
    Returns: the field C * num_steps cells further on, shape `(n,)`; `u.sum()` and the bounds of u are kept.
    Raises: ValueError: if `u` is not one-dimensional, real and finite, or C is outside (0, 1]. A traced C is not looked
      at: beyond 1 the result grows without bound.
    References: Courant, Isaacson and Rees 1952. Derived in chapter 5.

    >>> import jax.numpy as jnp
    >>> print(upwind(jnp.array([1.0, 0, 0, 0]), courant=0.5, num_steps=2))
    [0.25 0.5  0.25 0.  ]
    """
    u, courant, num_steps = _checked(u, courant, num_steps, "upwind")
    return _upwind(u, courant, num_steps)


def mpdata(
    u: Shaped[ArrayLike, "..."], *, courant: ArrayLike, num_steps: SupportsIndex, passes: SupportsIndex = 2
) -> Float[Array, " n"]:
    r"""Advection by upwind steps that undo their own diffusion (MPDATA, second order).

    Pass 1 is `upwind`. Each further pass is an upwind step with the velocity that carries back what the pass before
    has spread, $C' = (|C| - C^2)\,(u_{i+1} - u_i)/(u_{i+1} + u_i)$ at the face between i and i+1.

    Args:
      u: field, shape `(n,)`, periodic. Made for fields of one sign; signs are kept cell by cell.
      courant: C in (0, 1].  num_steps: number of steps.  passes: 1 is `upwind`, 2 the standard scheme, 3 sharper.
        Both are static integers.
    Returns: the field C * num_steps cells further on, shape `(n,)`; keeps `u.sum()` and `u >= 0`, not the maximum.
    Raises: ValueError: as `upwind`, or if `passes < 1`.
    References: Smolarkiewicz 1983. Derived in chapter 5.

    >>> import jax.numpy as jnp
    >>> print(mpdata(jnp.array([0.0, 1, 2, 1, 0, 0]), courant=1.0, num_steps=2))  # C = 1 is exact
    [0. 0. 0. 1. 2. 1.]
    """
    u, courant, num_steps = _checked(u, courant, num_steps, "mpdata")
    passes = _checks.require_count(passes, "passes", "mpdata", least=1)
    return _mpdata(u, courant, num_steps, passes)


def _checked(u, courant, num_steps, where):
    u = _checks.require_floating(u, "u", where)
    _checks.require(u.ndim == 1, f"{where} needs a field of shape (n,), got {u.shape}; map over others with jax.vmap")
    _checks.require(u.size >= 1, f"{where} needs at least one cell, got none; pass u of shape (n,), n >= 1")
    _checks.require_finite(u, "u", where)
    c = _checks.static_float(courant)
    if c is not None:
        _checks.require(
            0 < c <= 1,
            f"{where} needs 0 < courant <= 1, got courant={c:g}; "
            + (f"take dt {c:g} times smaller" if np.isfinite(c) and c > 1 else "reverse u for a flow to the left"),
        )
    return u, jnp.asarray(courant, u.dtype), _checks.require_count(num_steps, "num_steps", where)


@functools.partial(jax.jit, static_argnums=2)
def _upwind(u, courant, num_steps):
    def step(_, u):
        return u - courant * (u - jnp.roll(u, 1))

    return jax.lax.fori_loop(0, num_steps, step, u)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _mpdata(u, courant, num_steps, passes):
    tiny = jnp.finfo(u.dtype).tiny

    def donor(u, c):
        """One donor-cell step; c[i] is the Courant number of the face between i and i+1, of either sign."""
        flux = jnp.maximum(c, 0) * u + jnp.minimum(c, 0) * jnp.roll(u, -1)
        return u - (flux - jnp.roll(flux, 1))

    def step(_, u):
        c = jnp.broadcast_to(courant, u.shape)
        u = donor(u, c)
        for _ in range(passes - 1):
            here, there = jnp.abs(u), jnp.abs(jnp.roll(u, -1))
            c = (jnp.abs(c) - c**2) * (there - here) / jnp.maximum(there + here, tiny)
            u = donor(u, c)
        return u

    return jax.lax.fori_loop(0, num_steps, step, u)
