"""Transport that becomes diffusion: walkers of two directions who turn at random, and a step that keeps the limit.

Periodic, cell-centred.
"""

import functools
from typing import SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from diffbook import _checks


def goldstein_taylor(
    rho: Shaped[ArrayLike, "..."],
    j: Shaped[ArrayLike, "..."],
    *,
    sigma: Shaped[ArrayLike, "..."],
    eps: ArrayLike,
    dx: ArrayLike,
    dt: ArrayLike,
    num_steps: SupportsIndex,
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    r"""Asymptotic-preserving steps of $\rho_t + j_x = 0$, $\epsilon^2 j_t + \rho_x = -\sigma j$.

    A walker of speed 1/eps crosses from one cell centre to the next without a net turn with probability
    $T = 1/(1 + \sigma\,dx/2\epsilon)$, else it comes back into its cell; turning back is treated implicitly. All
    weights are probabilities while dt <= eps dx + sigma dx^2/2, a step that does not shrink with eps. As eps -> 0 the
    scheme *is* `heat.ftcs` with r = dt/(sigma dx^2); at sigma = 0 it is `advection.upwind` in both directions.

    Args:
      rho: density, shape `(n,)`, periodic.
      j: flux, shape `(n,)`, at the same cell centres. `|eps j| <= rho` where rho counts walkers.
      sigma: turning, >= 0, one number or one per face, shape `(n,)`, entry i between cells i and i + 1.
      eps: > 0; walkers fly 2 eps/sigma between turns.  dx: cell size.  dt: time step.  num_steps: static integer.
    Returns: `(rho, j)` at num_steps * dt. Keeps `rho.sum()`, and `rho >= |eps j|` where it held. The limit eps -> 0 is
      diffusion with D = 1/sigma and j = -rho_x/sigma.
    Raises: ValueError: for other shapes, NaN, eps <= 0 or sigma < 0, and for a dt above the bound. Traced parameters
      are not looked at: with dt too large the result grows without bound.
    References: Gosse and Toscani 2002. Derived in chapter 5.

    >>> import jax.numpy as jnp
    >>> rho, j = jnp.array([0.0, 1, 0, 0]), jnp.zeros(4)
    >>> print(goldstein_taylor(rho, j, sigma=1.0, eps=1e-9, dx=1.0, dt=0.25, num_steps=1)[0])
    [0.25 0.5  0.25 0.  ]
    """
    where = "goldstein_taylor"
    rho, j = (_checks.require_floating(x, name, where) for x, name in ((rho, "rho"), (j, "j")))
    _checks.require(
        rho.ndim == 1 and rho.size >= 1 and rho.shape == j.shape and rho.dtype == j.dtype,
        f"{where} needs rho and j of one shape (n,), n >= 1, and one dtype, got {rho.shape} {rho.dtype} and "
        f"{j.shape} {j.dtype}; map over other axes with jax.vmap",
    )
    _checks.require_finite(rho, "rho", where)
    _checks.require_finite(j, "j", where)
    for value, name in ((eps, "eps"), (dx, "dx"), (dt, "dt")):
        _checks.require_positive(value, name, where)
    _checks.require_nonnegative(sigma, "sigma", where)
    sigma = jnp.asarray(sigma)
    _checks.require(
        sigma.shape in ((), rho.shape),
        f"{where} needs sigma as one number or one per face, shape {rho.shape}, got {sigma.shape}; pass either",
    )
    values = [_checks.static_value(x) for x in (sigma, eps, dx, dt)]
    if all(value is not None for value in values):
        s, e, h, k = (np.asarray(value, np.float64) for value in values)
        limit = float(e * h + s.min() * h**2 / 2)
        _checks.require(
            k <= limit * (1 + 1e-6),
            f"{where} needs dt <= eps*dx + sigma*dx**2/2 = {limit:.4g}, got dt={float(k):.4g}; "
            f"take dt {float(k) / limit:.3g} times smaller",
        )
    sigma, eps, dx, dt = (jnp.asarray(x, rho.dtype) for x in (sigma, eps, dx, dt))
    num_steps = _checks.require_count(num_steps, "num_steps", where)
    return _goldstein_taylor(rho, j, jnp.broadcast_to(sigma, rho.shape), eps, dx, dt, num_steps)


@functools.partial(jax.jit, static_argnums=6)
def _goldstein_taylor(rho, j, sigma, eps, dx, dt, num_steps):
    # Everything in (rho, j) and not in (rho +- eps j)/2, so that a tiny eps costs no digits.
    near = eps + sigma * dx / 2
    right = dt / (dx * near)  # chance to cross the face on the right in one step: speed * dt/dx * T
    left = jnp.roll(right, 1)
    back = dt * sigma / (2 * near)  # eps * (chance to be turned back there)
    stay = eps + back + jnp.roll(back, 1)

    def step(_, state):
        rho, j = state
        a, b = (rho + eps * j) / 2, (rho - eps * j) / 2  # moving right, moving left
        a = (1 - right) * a + left * jnp.roll(a, 1)
        b = (1 - left) * b + right * jnp.roll(b, -1)
        rho = a + b
        return rho, ((a - b) + (right - left) * rho) / stay

    return jax.lax.fori_loop(0, num_steps, step, (rho, j))
