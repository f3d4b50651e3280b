"""Grey radiation in cold matter: non-equilibrium diffusion, and transport that turns into it.

Both solve for w, the radiation's energy density, and v, what it would be in equilibrium with the matter, on cells
between two mirrors. The matter's heat capacity goes with the cube of its temperature, which makes the equations linear
(Pomraning 1979; Su and Olson 1997). The unit of time is that of length over the speed of light (at eps = 1).
"""

import functools
from typing import SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from diffbook import _checks

_GAMMA = 1 - 0.5**0.5  # of the two-stage, L-stable, second-order implicit Runge-Kutta method
_SAFE = 0.48  # of the von Neumann limit below, over all eps and the velocity sets tested


def diffusion(
    w: Shaped[ArrayLike, "..."],
    v: Shaped[ArrayLike, "..."],
    *,
    opacity: ArrayLike,
    absorption: ArrayLike,
    source: Shaped[ArrayLike, "..."],
    dx: ArrayLike,
    dt: ArrayLike,
    num_steps: SupportsIndex,
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    r"""Non-equilibrium diffusion, $w_t = (w_x/3\kappa)_x + \kappa_a (v - w) + q$, $v_t = \kappa_a (w - v)$.

    Two implicit stages a step, second order in dt and dx, damping for every dt.

    Args:
      w: radiation energy, shape `(n,)`.  v: matter's, in the same unit, shape `(n,)`.
      opacity: kappa > 0, one per length.  absorption: kappa_a >= 0, the part of it that exchanges energy.
      source: q, a number or shape `(n,)`, constant in time.  dx: cell size.  dt: time step.  num_steps: static integer.
    Returns: `(w, v)` at num_steps * dt; `(w + v).sum() * dx` grows by the source alone.
    Raises: ValueError: for other shapes, NaN, dx, dt or opacity not positive, absorption negative.
    References: Su and Olson 1997. Derived in chapter 5.

    >>> import jax.numpy as jnp
    >>> w, v = diffusion(jnp.ones(4), jnp.ones(4), opacity=1.0, absorption=1.0, source=0.0, dx=0.1, dt=9.0, num_steps=2)
    >>> bool(jnp.allclose(w, 1.0) and jnp.allclose(v, 1.0))
    True
    """
    where = "radiation.diffusion"
    w, v, source = _fields(w, v, source, where)
    for value, name in ((opacity, "opacity"), (dx, "dx"), (dt, "dt")):
        _checks.require_positive(value, name, where)
    _checks.require_nonnegative(absorption, "absorption", where)
    num_steps = _checks.require_count(num_steps, "num_steps", where)
    opacity, absorption, dx, dt = (jnp.asarray(x, w.dtype) for x in (opacity, absorption, dx, dt))
    return _diffusion(w, v, opacity, absorption, source, dx, dt, num_steps)


@functools.partial(jax.jit, static_argnums=7)
def _diffusion(w, v, opacity, absorption, source, dx, dt, num_steps):
    n = w.size
    k = _GAMMA * dt
    inner = 1 / (3 * opacity * dx**2) * (jnp.arange(1, n) > 0).astype(w.dtype)
    zero = jnp.zeros(1, w.dtype)
    left, right = jnp.concatenate([zero, inner]), jnp.concatenate([inner, zero])  # conductances of a cell's two faces
    trade = absorption / (1 + k * absorption)  # exchange once v is eliminated
    diagonal = 1 + k * (left + right + trade)

    def stage(w, v):
        """Slopes at the implicit stage that starts from (w, v)."""
        rhs = w + k * (trade * v + source)
        end = jax.lax.linalg.tridiagonal_solve(-k * left, diagonal, -k * right, rhs[:, None])[:, 0]
        v_end = (v + k * absorption * end) / (1 + k * absorption)
        return (end - w) / k, (v_end - v) / k

    def step(_, state):
        w, v = state
        w1, v1 = stage(w, v)
        w2, v2 = stage(w + (dt - k) * w1, v + (dt - k) * v1)
        return w + (dt - k) * w1 + k * w2, v + (dt - k) * v1 + k * v2

    return jax.lax.fori_loop(0, num_steps, step, (w, v))


def gauss_legendre(num):
    """Directions of S_N in a slab: cosines in (-1, 1) and weights of sum 1, each of shape `(num,)`; <mu^2> = 1/3.

    >>> mu, weights = gauss_legendre(4)
    >>> print(round(float(weights @ mu**2), 12))
    0.333333333333
    """
    num = _checks.require_count(num, "num", "gauss_legendre", least=2)
    mu, weights = np.polynomial.legendre.leggauss(num)
    return mu, weights / 2


def transport(
    w: Shaped[ArrayLike, "..."],
    v: Shaped[ArrayLike, "..."],
    g: Shaped[ArrayLike, "..."] | None = None,
    *,
    directions,
    opacity: ArrayLike,
    absorption: ArrayLike,
    source: Shaped[ArrayLike, "..."],
    eps: ArrayLike,
    dx: ArrayLike,
    dt: ArrayLike,
    num_steps: SupportsIndex,
) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, "faces directions"]]:
    r"""Transport of radiation in discrete directions, from streaming (eps = 1) to diffusion (eps -> 0).

    $\epsilon f_t + \mu f_x = \frac{\kappa}{\epsilon}(w - f) + \epsilon\kappa_a (v - w) + \epsilon q$ for the intensity
    f in direction mu, with $w = \langle f\rangle$ its mean, and $v_t = \kappa_a (w - v)$. Written as
    $f = w + \epsilon g$ with $\langle g\rangle = 0$ on the faces, w and v in the cells; collisions and exchange are
    implicit. As eps -> 0 it is an explicit scheme for `diffusion`, with the diffusivity <mu^2>/kappa that the
    directions give.

    Args:
      w, v: as in `diffusion`, shape `(n,)`.  g: anisotropic part, shape `(n + 1, directions)`; zero if left out.
      directions: `(mu, weights)`, symmetric, weights of sum 1: `gauss_legendre(num)` in slab geometry, or `([-1, 1],
        [.5, .5])`, which gives `goldstein_taylor`'s equations. The columns of g belong to rising mu.
      opacity, absorption, source: as in `diffusion`; eps**2 * absorption is at most opacity.
      eps: > 0, mean free path over length.  dx: cell size.
      dt: at most 0.48 (eps dx/max|mu| + kappa dx^2/(2 <mu^2>)).  num_steps: static integer.
    Returns: `(w, v, g)` at num_steps * dt; `(w + v).sum() * dx` grows by the source alone.
    Raises: ValueError: for other shapes, NaN, parameters out of range, unbalanced directions, dt above the bound.
      Traced parameters are not looked at.
    References: Lemou and Mieussens 2008. Derived in chapter 5.
    """
    where = "radiation.transport"
    w, v, source = _fields(w, v, source, where)
    mu, weights = (np.asarray(x, np.float64) for x in directions)
    balanced = mu.ndim == 1 and mu.shape == weights.shape and np.all(weights > 0)
    balanced = balanced and np.allclose([weights.sum(), weights @ mu], [1, 0], atol=1e-6)
    _checks.require(
        balanced and np.any(mu != 0) and np.allclose(*(np.sort_complex(x + 1j * weights) for x in (mu, -mu))),
        f"{where} needs directions (mu, weights) symmetric about 0 with weights > 0 of sum 1, got mu={mu}, "
        f"weights={weights}; take gauss_legendre(8)",
    )
    order = np.argsort(mu)
    mu, weights = mu[order], weights[order]
    g = jnp.zeros((w.size + 1, mu.size), w.dtype) if g is None else _checks.require_floating(g, "g", where)
    _checks.require(
        g.shape == (w.size + 1, mu.size),
        f"{where} needs g of shape (cells + 1, directions) = {(w.size + 1, mu.size)}, got {g.shape}; leave it out",
    )
    for value, name in ((opacity, "opacity"), (eps, "eps"), (dx, "dx"), (dt, "dt")):
        _checks.require_positive(value, name, where)
    _checks.require_nonnegative(absorption, "absorption", where)
    k, a, e, h, step = (_checks.static_float(x) for x in (opacity, absorption, eps, dx, dt))
    if None not in (k, a, e):
        _checks.require(
            e**2 * a <= k * (1 + 1e-6),
            f"{where} needs eps**2 * absorption <= opacity, got {e**2 * a:g} > {k:g}; raise opacity",
        )
    if None not in (k, e, h, step):
        limit = _SAFE * (e * h / np.abs(mu).max() + k * h**2 / (2 * weights @ mu**2))
        _checks.require(
            step <= limit * (1 + 1e-6),
            f"{where} needs dt <= 0.48*(eps*dx/max|mu| + opacity*dx**2/(2<mu**2>)) = {limit:.4g}, got dt={step:.4g}; "
            f"take dt {step / limit:.3g} times smaller",
        )
    num_steps = _checks.require_count(num_steps, "num_steps", where)
    mu, weights = jnp.asarray(mu, w.dtype), jnp.asarray(weights, w.dtype)
    opacity, absorption, eps, dx, dt = (jnp.asarray(x, w.dtype) for x in (opacity, absorption, eps, dx, dt))
    return _transport(w, v, g.astype(w.dtype), mu, weights, opacity, absorption, source, eps, dx, dt, num_steps)


@functools.partial(jax.jit, static_argnums=11)
def _transport(w, v, g, mu, weights, opacity, absorption, source, eps, dx, dt, num_steps):
    forth, back = jnp.maximum(mu, 0)[None], jnp.minimum(mu, 0)[None]
    gain = dt * absorption / (1 + dt * absorption)

    def step(_, state):
        w, v, g = state
        slope = jnp.concatenate([jnp.zeros(1, w.dtype), jnp.diff(w), jnp.zeros(1, w.dtype)])[:, None] / dx
        steep = jnp.diff(g, axis=0) / dx
        mirrored = -steep[:1, ::-1], -steep[-1:, ::-1]  # beyond a mirror the same field runs the other way
        stream = forth * jnp.concatenate([mirrored[0], steep]) + back * jnp.concatenate([steep, mirrored[1]])
        stream = stream - (stream @ weights)[:, None]
        g = (eps**2 * g - dt * (eps * stream + mu[None] * slope)) / (eps**2 + dt * opacity)
        flux = g @ (weights * mu)
        arrived = w - dt * jnp.diff(flux) / dx + dt * source
        w = (arrived + gain * v) / (1 + gain)
        v = v + gain * (w - v)
        return w, v, g

    return jax.lax.fori_loop(0, num_steps, step, (w, v, g))


def _fields(w, v, source, where):
    w, v = (_checks.require_floating(x, name, where) for x, name in ((w, "w"), (v, "v")))
    _checks.require(
        w.ndim == 1 and w.size >= 1 and w.shape == v.shape and w.dtype == v.dtype,
        f"{where} needs w and v of one shape (n,), n >= 1, and one dtype, got {w.shape} {w.dtype} and "
        f"{v.shape} {v.dtype}; map over other axes with jax.vmap",
    )
    source = jnp.asarray(source, w.dtype)
    _checks.require(
        source.shape in ((), w.shape),
        f"{where} needs source as one number or one per cell, shape {w.shape}, got {source.shape}; pass either",
    )
    for x, name in ((w, "w"), (v, "v"), (source, "source")):
        _checks.require_finite(x, name, where)
    return w, v, jnp.broadcast_to(source, w.shape)
